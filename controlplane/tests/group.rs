//! Real members together: elections, writes, restarts, snapshots, changes of members, reads everywhere.

mod group_bed;

use std::time::{Duration, Instant};

use bytes::Bytes;
use controlplane::raft::{
    ChangeError, Fatal, Limits, MemberChange, ProposeError, ReadError, RequestId, Role, TransferError,
};
use group_bed::{Bed, deadline, log_of, member};

/// Three threads for members, and some for the test.
macro_rules! run {
    ($name:ident, $body:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let body: fn() -> _ = $body;
            tokio::time::timeout(Duration::from_mins(2), body()).await.expect("in time");
        }
    };
}

run!(what_is_written_is_read_everywhere, || async {
    let mut bed = Bed::new(3, Limits::default());
    for number in 0..50 {
        let answered = bed.write(&format!("k{number}"), "v").await;
        assert_eq!(answered.answer, number + 1);
    }
    for id in (1..=3).map(member) {
        let index = bed.handle(id).read_index(deadline()).await.unwrap();
        assert!(bed.view(id).index() >= index);
        assert_eq!(bed.view(id).get(b"k49").as_deref(), Some(&b"v"[..]), "at member {id}");
    }
});

run!(a_follower_says_who_leads_and_forwards_nothing, || async {
    let mut bed = Bed::new(3, Limits::default());
    bed.write("a", "1").await;
    let leader = bed.leader().await;
    let follower = (1..=3).map(member).find(|id| *id != leader).unwrap();
    bed.handle(follower).read_index(deadline()).await.unwrap();
    let refused =
        bed.handle(follower).propose(Bytes::from_static(b"a=2"), RequestId::new(99), deadline()).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(leader) }));
    let refused = bed.handle(follower).transfer_leader(follower, deadline()).await;
    assert_eq!(refused, Err(TransferError::NotLeader { leader: Some(leader) }));
    let change = vec![MemberChange::Remove { member: follower }];
    let refused = bed.handle(follower).change_membership(change, RequestId::new(98), deadline()).await;
    assert_eq!(refused, Err(ChangeError::Propose(ProposeError::NotLeader { leader: Some(leader) })));
    bed.write("b", "1").await;
    assert_eq!(bed.view(leader).get(b"a").as_deref(), Some(&b"1"[..]));
});

run!(refusals_say_why, || async {
    let bed = Bed::new(1, Limits::default());
    let leader = bed.leader().await;
    let large = Bytes::from(vec![b'='; 2 * 1024 * 1024]);
    let refused = bed.handle(leader).propose(large, RequestId::new(1), deadline()).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    let alone = vec![MemberChange::Remove { member: leader }];
    let refused = bed.handle(leader).change_membership(alone, RequestId::new(2), deadline()).await;
    assert!(matches!(refused, Err(ChangeError::Refused { .. })), "{refused:?}");
    let unknown = vec![MemberChange::Promote { member: member(9) }];
    let refused = bed.handle(leader).change_membership(unknown, RequestId::new(3), deadline()).await;
    assert!(matches!(refused, Err(ChangeError::Refused { .. })), "{refused:?}");
    let refused = bed.handle(leader).transfer_leader(member(9), deadline()).await;
    assert_eq!(refused, Err(TransferError::NotVoter { member: member(9) }));
});

run!(everybody_restarted_remembers_everything, || async {
    let mut bed = Bed::new(3, Limits::default());
    let last = bed.write("a", "1").await.index;
    for id in (1..=3).map(member) {
        bed.stop(id).unwrap();
    }
    for id in (1..=3).map(member) {
        bed.start(id);
    }
    let next = bed.write("b", "2").await;
    assert!(next.index > last && next.answer == 2);
    for id in (1..=3).map(member) {
        bed.reaches(id, next.index).await;
        assert_eq!(bed.view(id).all(), bed.view(member(1)).all());
    }
});

/// How long it takes from a leader's end to the next write that is committed. More rounds under SOAK.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_ends_is_replaced_soon() {
    let rounds = std::env::var("SOAK").ok().and_then(|soak| soak.parse().ok()).unwrap_or(8).min(200);
    let mut bed = Bed::new(3, Limits::default());
    bed.write("a", "0").await;
    let mut gaps = Vec::new();
    for round in 0..rounds {
        let leader = bed.leader().await;
        let begun = Instant::now();
        bed.stop(leader).unwrap();
        let written = bed.write("a", &round.to_string()).await;
        gaps.push(begun.elapsed());
        bed.start(leader);
        bed.reaches(leader, written.index).await;
    }
    gaps.sort();
    let at = |percent: usize| gaps[(gaps.len() * percent / 100).min(gaps.len() - 1)];
    println!("leader ended, next write after: p50 {:?}, p99 {:?}, of {rounds}", at(50), at(99));
    // The aim is 0.6 s and 1.5 s; a machine that runs other tests beside gets more.
    assert!(at(50) < Duration::from_secs(3), "{gaps:?}");
}

run!(leadership_is_handed_over_without_a_gap_that_matters, || async {
    let mut bed = Bed::new(3, Limits::default());
    bed.write("a", "0").await;
    let mut worst = Duration::ZERO;
    for round in 0..6 {
        let leader = bed.leader().await;
        let next = member(leader.get() % 3 + 1);
        let begun = Instant::now();
        bed.handle(leader).transfer_leader(next, deadline()).await.unwrap();
        bed.write("a", &round.to_string()).await;
        worst = worst.max(begun.elapsed());
    }
    println!("handed over, next write after at most {worst:?}");
    assert!(worst < Duration::from_secs(2), "{worst:?}");
});

/// Logs that are cut soon, so that whoever comes late needs a snapshot.
fn short_logs() -> Limits {
    Limits {
        log_entries_max: 40,
        log_entries_kept: 10,
        frame_bytes: 256,
        digest_interval: 20,
        ..Limits::default()
    }
}

run!(a_learner_is_brought_up_by_a_snapshot_and_takes_a_voters_place, || async {
    let mut bed = Bed::new(3, short_logs());
    for number in 0..120 {
        bed.write(&format!("key {number}"), &"v".repeat(40)).await;
    }
    let joiner = member(4);
    bed.create(joiner, log_of(4), None);
    bed.start(joiner);
    let leader = bed.leader().await;
    assert!(bed.handle(leader).status().await.unwrap().first_index > 50, "the log was cut");
    let add = vec![MemberChange::Add { member: joiner, log: log_of(4) }];
    let request = bed.request();
    let members = bed.handle(leader).change_membership(add, request, deadline()).await.unwrap();
    assert!(members.learners.contains(&4) && !members.voters.contains(&4));
    let written = bed.write("after", "1").await;
    bed.reaches(joiner, written.index).await;
    assert_eq!(bed.view(joiner).all(), bed.view(leader).all());
    assert_eq!(bed.handle(joiner).status().await.unwrap().members, members);
    let give_up = deadline();
    loop {
        let progress = bed.handle(leader).status().await.unwrap().progress;
        if progress.iter().any(|one| one.member == joiner && one.matched >= written.index && one.active) {
            break;
        }
        assert!(Instant::now() < give_up, "{progress:?}");
        // waits for: the learner's answer to the leader
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let leader = bed.leader().await;
    let removed = (1..=3).map(member).find(|id| *id != leader).unwrap();
    let swap = vec![MemberChange::Promote { member: joiner }, MemberChange::Remove { member: removed }];
    let request = bed.request();
    let members = bed.handle(leader).change_membership(swap, request, deadline()).await.unwrap();
    assert!(members.voters.contains(&4) && !members.voters.contains(&removed.get()) && !members.is_joint());
    assert_eq!(members.voters.len(), 3);
    assert!(!members.logs.contains_key(&removed.get()));
    bed.stop(removed).unwrap();
    bed.handle(leader).transfer_leader(joiner, deadline()).await.unwrap();
    let written = bed.write("led by", "four").await;
    for id in bed.running.keys() {
        bed.reaches(*id, written.index).await;
    }
    // What it was told of the group it knows after a restart.
    bed.stop(joiner).unwrap();
    bed.start(joiner);
    let written = bed.write("again", "1").await;
    bed.reaches(joiner, written.index).await;
    assert_eq!(bed.handle(joiner).status().await.unwrap().members, members);
});

run!(a_member_that_was_away_for_long_is_brought_up_by_a_snapshot, || async {
    let mut bed = Bed::new(3, short_logs());
    bed.write("first", "1").await;
    let leader = bed.leader().await;
    let away = (1..=3).map(member).find(|id| *id != leader).unwrap();
    bed.stop(away).unwrap();
    let mut last = 0;
    for number in 0..100 {
        last = bed.write(&format!("key {number}"), "v").await.index;
    }
    bed.start(away);
    bed.reaches(away, last).await;
    assert_eq!(bed.view(away).all(), bed.view(bed.leader().await).all());
});

run!(a_leader_that_is_cut_off_steps_down, || async {
    let mut bed = Bed::new(3, Limits::default());
    bed.write("a", "1").await;
    let old = bed.leader().await;
    let others: Vec<_> = (1..=3).map(member).filter(|id| *id != old).collect();
    for other in &others {
        bed.network.cut(old, *other);
        bed.network.cut(*other, old);
    }
    let lonely = bed.handle(old);
    let late = tokio::spawn(async move {
        lonely.propose(Bytes::from_static(b"a=lonely"), RequestId::new(1 << 90), deadline()).await
    });
    let mut leadership = bed.handle(old).leadership();
    leadership.wait_for(|now| now.role != Role::Leader).await.unwrap();
    let outcome = late.await.unwrap();
    assert!(
        matches!(outcome, Err(ProposeError::OutcomeUnknown | ProposeError::NotLeader { .. })),
        "{outcome:?}"
    );
    let read = bed.handle(old).read_index(Instant::now() + Duration::from_millis(300)).await;
    assert_eq!(read, Err(ReadError::Deadline), "no majority, no read");
    let mut written = None;
    for id in others {
        let mut leadership = bed.handle(id).leadership();
        leadership.wait_for(|now| now.leader.is_some_and(|leader| leader != old)).await.unwrap();
        let leader = leadership.borrow().leader.unwrap();
        let request = bed.request();
        let command = Bytes::from_static(b"a=2");
        written = bed.handle(leader).propose(command, request, deadline()).await.ok().or(written);
    }
    bed.network.heal();
    bed.reaches(old, written.unwrap().index).await;
    assert_eq!(bed.view(old).get(b"a").as_deref(), Some(&b"2"[..]));
});

run!(a_member_that_lost_its_log_is_refused, || async {
    let mut bed = Bed::new(3, Limits::default());
    bed.write("a", "1").await;
    let leader = bed.leader().await;
    let victim = (1..=3).map(member).find(|id| *id != leader).unwrap();
    bed.stop(victim).unwrap();
    std::fs::remove_dir_all(bed.dir_of(victim)).unwrap();
    bed.create(victim, log_of(77), None);
    bed.start(victim);
    let mut halted = bed.handle(victim).halted();
    let why = halted.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(matches!(*why, Fatal::Disowned { .. }), "{why:?}");
    bed.write("b", "1").await;
});

run!(a_member_that_comes_to_another_state_stops_and_the_others_go_on, || async {
    let mut bed = Bed::new(3, short_logs());
    bed.write("a", "1").await;
    let leader = bed.leader().await;
    let wrong = (1..=3).map(member).find(|id| *id != leader).unwrap();
    bed.stop(wrong).unwrap();
    bed.start_with(wrong, |machine| machine.wrong_from = 10);
    let mut halted = bed.handle(wrong).halted();
    let mut number = 0;
    while halted.borrow().is_none() {
        bed.write("a", &number.to_string()).await;
        number += 1;
        assert!(number < 500, "never noticed");
    }
    let why = halted.borrow_and_update().clone().unwrap();
    assert!(matches!(*why, Fatal::Diverged(_)), "{why:?}");
    bed.write("b", "1").await;
});

run!(many_writers_share_a_sync, || async {
    let bed = Bed::new(3, Limits::default());
    let leader = bed.leader().await;
    let (begun, writers, each) = (Instant::now(), 64_u128, 30_u128);
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let handle = bed.handle(leader);
            tokio::spawn(async move {
                for number in 0..each {
                    let request = RequestId::new(writer * 1000 + number + 1);
                    let command = Bytes::from(format!("{writer}={}", "x".repeat(200)));
                    handle.propose(command, request, deadline()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let total = writers * each;
    println!("{total} commits in {:?}", begun.elapsed());
    assert_eq!(bed.view(leader).all().len() as u128, writers);
});
