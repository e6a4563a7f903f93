//! The check finds what never may be. Without this, that it finds nothing would say nothing.

use cluster::record::{
    AuthorityState, Before, Key, MemberState, NodeState, PreviousSecret, Record, Sync, TransitionRecord,
};
use cluster::{Address, Epoch, Generation, LoadError, MemberId, NodeName, Revision, State, Tables, TokenId};

use crate::support::{Cluster, at, replicas, secret, t};
use crate::tour::tour;

/// What the check says of the tour's records once something was done to them.
fn found(damage: impl FnOnce(&mut Tables)) -> Vec<String> {
    let state = tour().state;
    let mut tables = state.tables().clone();
    damage(&mut tables);
    match State::load(state.revision(), tables.records()) {
        Ok(_) => Vec::new(),
        Err(LoadError::Unsound { violations }) => violations.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

fn assert_found(what: &str, damage: impl FnOnce(&mut Tables)) {
    let found = found(damage);
    assert!(found.iter().any(|found| found == what), "{what:?} is not in {found:?}");
}

fn member(tables: &mut Tables, number: u64) -> &mut cluster::record::Member {
    tables.members.get_mut(&MemberId::new(number).unwrap()).unwrap()
}

fn node<'a>(tables: &'a mut Tables, name: &str) -> &'a mut cluster::record::Node {
    tables.nodes.get_mut(&t::<NodeName>(name)).unwrap()
}

#[test]
fn the_tour_is_sound() {
    assert_eq!(found(|_| {}), Vec::<String>::new());
    let records: Vec<Record> = tour().state.records().collect();
    let twice = State::load(Revision::new(999), records.iter().chain(&records[..1]).cloned());
    assert_eq!(twice, Err(LoadError::Twice(Key::Cluster)));
}

#[test]
fn members() {
    assert_found("nobody votes", |tables| {
        for number in 1..=2 {
            member(tables, number).state = MemberState::Learner;
        }
    });
    assert_found("member/2 has the address of another", |tables| {
        member(tables, 2).rpc = Some(t::<Address>("10.0.0.1:8083"));
    });
    assert_found("member/3 has the name of another", |tables| member(tables, 3).name = t("control-1"));
    assert_found("member/5 has a number that was not given out", |tables| {
        tables.counters.as_mut().unwrap().next_member = MemberId::new(5).unwrap();
    });
    let against = "member/1 has an address and a certificate, or lacks them, against its state";
    assert_found(against, |tables| member(tables, 1).certificate = None);
}

#[test]
fn nodes() {
    assert_found("node/a may hold slots and has no address", |tables| node(tables, "a").addresses = None);
    assert_found("node/c has the address of another", |tables| {
        node(tables, "c").addresses = node(tables, "a").addresses.clone();
    });
    assert_found("node/a has a certificate, or lacks one, against its state", |tables| {
        node(tables, "a").certificate = None;
    });
    assert_found("layout/4 places slots on node a, which is not for it", |tables| {
        node(tables, "a").state = NodeState::Joining;
    });
    // One that is down may share an address.
    let down = found(|tables| {
        node(tables, "c").addresses = node(tables, "a").addresses.clone();
        node(tables, "c").state = NodeState::Down { before: Before::Active };
    });
    assert_eq!(down, Vec::<String>::new());
}

#[test]
fn layouts() {
    let transition = |tables: &mut Tables, current, previous: Option<u64>| {
        tables.transition = Some(TransitionRecord {
            current: Epoch::new(current),
            previous: previous.map(Epoch::new),
            paused: false,
            since: at(0),
        });
    };
    assert_found("transition names other layouts than there are", |tables| transition(tables, 4, None));
    assert_found("transition moves from a layout that is not before the current one", |tables| {
        transition(tables, 3, Some(4));
    });
    assert_found("layouts between 1 and 3 are missing", |tables| {
        tables.layout_history.remove(&Epoch::new(2));
    });
    assert_found("layout-history/4 is in force", |tables| {
        let record = tables.layouts[&Epoch::new(4)].clone();
        tables.layout_history.insert(Epoch::new(4), record);
    });
    assert_found("transition is not at the latest layout", |tables| {
        let mut record = tables.layouts[&Epoch::new(4)].clone();
        record.layout = std::sync::Arc::new(record.layout.renumbered(Epoch::new(5)));
        tables.layout_history.insert(Epoch::new(5), record);
    });
    assert_found("sync/a is of a layout that is to come", |tables| {
        tables.syncs.get_mut(&t::<NodeName>("a")).unwrap().epoch = Epoch::new(9);
    });
    assert_found("transition keeps a layout from which nothing moves any more", |tables| {
        for node in tables.layouts[&Epoch::new(4)].layout.nodes().to_vec() {
            tables.syncs.insert(node.clone(), Sync { node, epoch: Epoch::new(4), at: at(0) });
        }
    });
    assert_found("sync/f is of a node that has not joined", |tables| {
        let node: NodeName = t("f");
        tables.syncs.insert(node.clone(), Sync { node, epoch: Epoch::new(1), at: at(0) });
    });
}

#[test]
fn the_rest() {
    assert_found("there are records without all of cluster, counters and transition", |tables| {
        tables.counters = None;
    });
    assert_found("0 authorities sign", |tables| {
        for authority in tables.authorities.values_mut() {
            authority.state = AuthorityState::Retiring;
        }
    });
    assert_found("authority/3 has no private key", |tables| {
        tables.authorities.get_mut(&Generation::new(3)).unwrap().sealed_key = None;
    });
    assert_found("no credential is an admin's", |tables| {
        tables.tokens.remove(&TokenId::new(1));
    });
    assert_found("token/2 has the secret of another", |tables| {
        let previous = PreviousSecret { hash: secret("admin"), until: at(1) };
        tables.tokens.get_mut(&TokenId::new(2)).unwrap().previous = Some(previous);
    });
    assert_found("policy-history/access/1 is of a policy that is not known", |tables| {
        tables.policies.remove(&t("access"));
    });
    assert_found("policy/access has a generation that was before", |tables| {
        tables.policies.get_mut(&t("access")).unwrap().generation = Generation::new(1);
    });
    assert_found("job/11 has a number that was not given out", |tables| {
        tables.counters.as_mut().unwrap().next_job = cluster::JobId::new(11);
    });
    assert_found("cluster removals_per_zone is above 10", |tables| {
        tables.cluster.as_mut().unwrap().settings.removals_per_zone = 11;
    });
    let state = Cluster::with(replicas(1)).state;
    let early = State::load(Revision::new(0), state.records()).unwrap_err();
    assert_eq!(early.to_string(), "the state is not sound: audit/1 is of a state that is to come");
}
