//! Control nodes: they join once, are promoted, moved and removed, and one of them always votes.

use cluster::command::{
    AdmitMember, Bootstrap, MoveMember, PromoteMember, RecoverCluster, RemoveMember, StageMember,
};
use cluster::record::{MEMBERS_REMOVED_MAX, MemberState, Settings};
use cluster::{Answer, Command, Generation, MemberId, Refusal, RefusalCode};

use crate::support::{Cluster, HOUR_MS, at, bootstrap, certificate, log_id, secret, t};

fn id(number: u64) -> MemberId {
    MemberId::new(number).unwrap()
}

fn stage(name: &str, now_ms: u64) -> Command {
    Command::StageMember(StageMember { name: t(name), secret: secret(name), expires: at(now_ms + HOUR_MS) })
}

fn admit(number: u64, text: &str, rpc: &str) -> Command {
    let certificate = certificate("e1", 0);
    Command::AdmitMember(AdmitMember {
        id: id(number),
        secret: secret(text),
        rpc: t(rpc),
        log: log_id(number),
        certificate,
        key: None,
    })
}

fn promote(number: u64) -> Command {
    Command::PromoteMember(PromoteMember { id: id(number) })
}

fn remove(number: u64) -> Command {
    Command::RemoveMember(RemoveMember { id: id(number) })
}

#[test]
fn a_cluster_is_made_once_and_nothing_is_before_it() {
    let mut cluster = Cluster::default();
    assert_eq!(cluster.refused(stage("control-2", 0)), Refusal::NotBootstrapped);
    let broken = Bootstrap {
        settings: Settings { suspect_after_ms: 1, removals_per_zone: 11, ..Settings::DEFAULT },
        ..bootstrap(Settings::DEFAULT)
    };
    let Refusal::Invalid { problems } = cluster.refused(Command::Bootstrap(Box::new(broken))) else {
        panic!("it is invalid");
    };
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(cluster.state.tables().is_empty());
    let first = Command::Bootstrap(Box::new(bootstrap(Settings::DEFAULT)));
    assert_eq!(cluster.done(first.clone()), Answer::Member { id: id(1) });
    assert_eq!(cluster.refused(first), Refusal::Bootstrapped);
}

#[test]
fn a_secret_is_good_once_and_in_time() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.done(stage("control-2", 0)), Answer::Member { id: id(2) });
    let wrong = cluster.refused(admit(2, "guessed", "10.0.0.2:8083"));
    assert_eq!(wrong.code(), RefusalCode::Denied);
    cluster.pass(HOUR_MS);
    let late = cluster.refused(admit(2, "control-2", "10.0.0.2:8083"));
    assert!(matches!(late, Refusal::SecretExpired { .. }), "{late}");
    // Staged anew it keeps its number.
    assert_eq!(cluster.done(stage("control-2", HOUR_MS)), Answer::Member { id: id(2) });
    cluster.done(admit(2, "control-2", "10.0.0.2:8083"));
    let again = cluster.refused(admit(2, "control-2", "10.0.0.2:8083"));
    assert!(matches!(again, Refusal::WrongState { state: "learner", .. }), "{again}");
    assert_eq!(cluster.refused(stage("control-2", HOUR_MS)).code(), RefusalCode::AlreadyThere);
}

#[test]
fn a_lost_answer_is_given_again_to_the_same_key() {
    let mut cluster = Cluster::new();
    cluster.done(stage("control-2", 0));
    let admit_with = |key: &str, log, serial: &str| {
        Command::AdmitMember(AdmitMember {
            id: id(2),
            secret: secret("control-2"),
            rpc: t("10.0.0.2:8083"),
            log: log_id(log),
            certificate: certificate(serial, 0),
            key: Some(secret(key)),
        })
    };
    cluster.done(admit_with("key", 2, "e1"));
    assert_eq!(cluster.done(admit_with("key", 2, "e2")), Answer::Member { id: id(2) });
    let member = &cluster.state.tables().members[&id(2)];
    assert_eq!(member.certificate.as_ref().unwrap().serial, t("e2"));
    assert_eq!(member.state, MemberState::Learner);
    cluster.done(promote(2));
    cluster.done(admit_with("key", 2, "e3"));
    assert_eq!(cluster.state.tables().members[&id(2)].state, MemberState::Voter, "it stays what it is");
    for other in
        [admit_with("another", 2, "e4"), admit_with("key", 3, "e4"), admit(2, "control-2", "10.0.0.2:8083")]
    {
        assert!(matches!(cluster.refused(other), Refusal::WrongState { .. }));
    }
    cluster.pass(HOUR_MS);
    assert!(matches!(cluster.refused(admit_with("key", 2, "e5")), Refusal::SecretExpired { .. }));
    cluster.done(remove(2));
    assert!(matches!(cluster.refused(admit_with("key", 2, "e6")), Refusal::WrongState { .. }));
    cluster.assert_digest();
}

#[test]
fn members_come_and_go_and_one_votes() {
    let mut cluster = Cluster::new();
    assert!(matches!(cluster.refused(remove(1)), Refusal::Last { what: "voter", .. }));
    cluster.done(stage("control-2", 0));
    assert!(matches!(cluster.refused(promote(2)), Refusal::WrongState { state: "staged", .. }));
    let taken = cluster.refused(admit(2, "control-2", "10.0.0.1:8083"));
    assert!(matches!(taken, Refusal::AddressTaken { .. }), "{taken}");
    cluster.done(admit(2, "control-2", "10.0.0.2:8083"));
    let moving = |rpc: &str| Command::MoveMember(MoveMember { id: id(2), rpc: t(rpc) });
    assert_eq!(cluster.refused(moving("10.0.0.1:8083")).code(), RefusalCode::AlreadyThere);
    cluster.done(moving("[fd00::2]:8083"));
    cluster.done(promote(2));
    assert_eq!(cluster.refused(promote(2)).code(), RefusalCode::AlreadyThere);
    cluster.done(remove(1));
    assert_eq!(cluster.state.tables().members[&id(1)].state, MemberState::Removed);
    assert_eq!(cluster.refused(remove(1)).code(), RefusalCode::AlreadyThere);
    // The name is free, the number is not.
    assert_eq!(cluster.done(stage("control-1", 0)), Answer::Member { id: id(3) });
    assert_eq!(cluster.refused(remove(9)).code(), RefusalCode::NotFound);
}

#[test]
fn a_cluster_goes_on_from_one_member_and_everything_but_the_others_stays() {
    let mut cluster = Cluster::new();
    for number in 2..=4 {
        let name = format!("control-{number}");
        cluster.done(stage(&name, 0));
    }
    cluster.done(admit(2, "control-2", "10.0.0.2:8083"));
    cluster.done(admit(3, "control-3", "10.0.0.3:8083"));
    cluster.done(promote(2));
    cluster.join("data-1", "x");
    let before = cluster.state.tables().clone();
    let recover = |number| Command::RecoverCluster(RecoverCluster { member: id(number) });
    assert_eq!(cluster.refused(recover(4)).code(), RefusalCode::Precondition);
    assert_eq!(cluster.refused(recover(9)).code(), RefusalCode::NotFound);
    // A learner will do, if it is all that is left.
    assert_eq!(cluster.done(recover(3)), Answer::Member { id: id(3) });
    let tables = cluster.state.tables();
    for (number, state) in [
        (1, MemberState::Removed),
        (2, MemberState::Removed),
        (3, MemberState::Voter),
        (4, MemberState::Removed),
    ] {
        assert_eq!(tables.members[&id(number)].state, state, "{number}");
    }
    assert_eq!(tables.cluster.as_ref().unwrap().recovery, Generation::new(1));
    assert_eq!((&tables.nodes, &tables.tokens), (&before.nodes, &before.tokens));
    assert_eq!((&tables.authorities, &tables.transition), (&before.authorities, &before.transition));
    let audit = tables.audit.last_key_value().unwrap().1;
    assert_eq!(
        audit.before.as_ref().unwrap().as_str(),
        "with control-1 1 voter, control-2 2 voter, control-4 4 staged"
    );
    assert_eq!(audit.after.as_ref().unwrap().as_str(), "control-3 3 alone, recovery 1");
    // The lost ones may have given out the next numbers to others.
    assert_eq!(cluster.done(stage("control-2", 0)), Answer::Member { id: id(21) });
    cluster.done(recover(3));
    assert_eq!(cluster.state.tables().cluster.as_ref().unwrap().recovery, Generation::new(2));
    assert!(cluster.state.tables().members.len() <= MEMBERS_REMOVED_MAX);
    cluster.assert_digest();
}
