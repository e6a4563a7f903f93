//! Single faults on purpose, in a group in which nothing else goes wrong; each for a number of seeds.

use cluster::MemberId;
use controlplane::raft::{ReadId, RequestId, Role, Status};

use super::world::World;

const SEEDS: std::ops::Range<u64> = 0..40;

fn status(world: &World, id: MemberId) -> Status {
    world.nodes[&id].peer.as_ref().unwrap().status()
}

/// The leader, and the two others.
fn roles(world: &World) -> (MemberId, [MemberId; 2]) {
    let (leader, _) = world.group().unwrap();
    let others: Vec<_> = world.ids().into_iter().filter(|id| *id != leader).collect();
    (leader, [others[0], others[1]])
}

/// Commits something new: how long it took, or nothing within the time.
fn commits(world: &mut World, within_ms: u64) -> Option<u64> {
    let begun = world.now;
    let acknowledged = world.report.acknowledged;
    while world.now < begun + within_ms {
        world.client_writes();
        world.pass(10);
        if world.report.acknowledged > acknowledged {
            return Some(world.now - begun);
        }
    }
    None
}

#[test]
fn an_isolated_leader_is_replaced_and_steps_down() {
    for seed in SEEDS {
        let mut world = World::quiet(seed);
        let (old, others) = roles(&world);
        for other in others {
            world.net.cut(old, other);
            world.net.cut(other, old);
        }
        // Election timeouts are 0.3 to 0.6 s here.
        world.pass(1_500);
        assert_ne!(status(&world, old).leadership.role, Role::Leader, "seed {seed}");
        assert!(others.iter().any(|id| status(&world, *id).leadership.role == Role::Leader), "seed {seed}");
        assert!(commits(&mut world, 500).is_some(), "seed {seed}");
        world.net.heal();
        world.pass(500);
        assert_eq!(status(&world, old).applied, status(&world, others[0]).applied, "seed {seed}");
    }
}

#[test]
fn a_follower_that_hears_nothing_raises_no_term() {
    for seed in SEEDS {
        let mut world = World::quiet(seed);
        let (leader, [deaf, other]) = roles(&world);
        let term = status(&world, leader).leadership.term;
        world.net.cut(leader, deaf);
        world.net.cut(other, deaf);
        world.pass(10_000);
        world.net.heal();
        world.pass(2_000);
        let after = status(&world, leader).leadership;
        assert_eq!((after.term, after.role), (term, Role::Leader), "seed {seed}");
        assert_eq!(status(&world, deaf).leadership.leader, Some(leader), "seed {seed}");
    }
}

#[test]
fn a_bridge_between_two_that_do_not_hear_each_other_makes_progress() {
    for seed in SEEDS {
        let mut world = World::quiet(seed);
        let (leader, [bridge, cut]) = roles(&world);
        world.net.cut(leader, cut);
        world.net.cut(cut, leader);
        let elections = world.report.elections;
        world.pass(5_000);
        assert!(commits(&mut world, 1_000).is_some(), "seed {seed}: bridge {bridge}");
        // No livelock: whoever leads stays, with at most a change to one that reaches more.
        assert!(
            world.report.elections - elections <= 3,
            "seed {seed}: {} elections",
            world.report.elections - elections
        );
    }
}

#[test]
fn without_a_majority_nothing_is_promised_and_with_it_all_goes_on() {
    for seed in SEEDS {
        let mut world = World::quiet(seed);
        let (leader, others) = roles(&world);
        for other in others {
            world.kill(other);
        }
        world.pass(1_000);
        assert_eq!(commits(&mut world, 3_000), None, "seed {seed}");
        assert_ne!(status(&world, leader).leadership.role, Role::Leader, "seed {seed}");
        for other in others {
            world.revive(other);
        }
        assert!(commits(&mut world, 3_000).is_some(), "seed {seed}");
    }
}

#[test]
fn a_leader_that_was_stopped_answers_no_old_read() {
    for seed in SEEDS {
        let mut world = World::quiet(seed);
        let (old, _) = roles(&world);
        // Asked just before it is stopped: the answer may come after others have written.
        world.read(old, ReadId(1 << 40));
        let asked = RequestId::new(1 << 80);
        let command = world.wish(old, asked).unwrap();
        world.with(old, |peer| drop(peer.propose(asked, &command)));
        world.pause(old, 10_000);
        assert!(commits(&mut world, 3_000).is_some(), "seed {seed}");
        world.pass(12_000);
        // What it was asked while it was stopped is read by the invariants: nothing is old, nothing there twice.
        world.read(old, ReadId((1 << 40) + 1));
        world.pass(1_000);
        assert_eq!(world.group().unwrap().1.voters.len(), 3, "seed {seed}");
    }
}
