//! Asking twice does once; and what was done stands in the audit trail.

use cluster::command::{
    ApplyLayout, CreateToken, PutPolicy, RaiseAlarm, RemoveNode, RotateToken, StageMember, StartJob,
};
use cluster::policy::Document;
use cluster::record::{AlarmSeverity, REMEMBERED_FOR};
use cluster::{ActorRole, Answer, Command, Epoch, Generation, MemberId, Proposal, Refusal, Revision, Role};

use crate::support::{Cluster, HOUR_MS, START_MS, at, replicas, report, secret, stage as stage_node, t};

fn keyed(cluster: &Cluster, key: &str, command: Command) -> Proposal {
    let why = Some(t("because of it"));
    Proposal { key: Some(t(key)), why, ..cluster.proposal(ActorRole::Admin, command) }
}

fn stage(name: &str) -> Command {
    let expires = at(48 * HOUR_MS);
    Command::StageMember(StageMember { name: t(name), secret: secret(name), expires })
}

#[test]
fn a_request_that_is_asked_again_is_answered_again() {
    let mut cluster = Cluster::new();
    let first = cluster.commit(keyed(&cluster, "key-1", stage("control-2")));
    assert_eq!(first.result, Ok(Answer::Member { id: MemberId::new(2).unwrap() }));
    cluster.done(stage("control-3"));
    cluster.pass(HOUR_MS);
    let digest = cluster.state.digest();
    let again = cluster.commit(keyed(&cluster, "key-1", stage("control-2")));
    assert_eq!((again.result, again.changes), (first.result, Vec::new()));
    assert_eq!(cluster.state.digest(), digest);
    // Another command under the key, or another's key, is another request.
    let other = cluster.commit(keyed(&cluster, "key-1", stage("control-4")));
    assert_eq!(other.result, Err(Refusal::KeyReused { key: t("key-1") }));
    let mut stolen = keyed(&cluster, "key-1", stage("control-2"));
    stolen.actor = crate::support::actor(ActorRole::Operator);
    assert_eq!(cluster.commit(stolen).result, Err(Refusal::KeyReused { key: t("key-1") }));
}

#[test]
fn what_a_server_adds_anew_makes_no_other_request() {
    let mut cluster = Cluster::new();
    let token = |drawn: &str, role| {
        Command::CreateToken(CreateToken {
            name: t("x"),
            role,
            groups: std::collections::BTreeSet::new(),
            hash: secret(drawn),
            expires: None,
        })
    };
    let first = cluster.commit(keyed(&cluster, "key-1", token("one", Role::Viewer)));
    let again = cluster.commit(keyed(&cluster, "key-1", token("two", Role::Viewer)));
    assert_eq!((again.result, again.changes), (first.result, Vec::new()));
    let other = cluster.commit(keyed(&cluster, "key-1", token("two", Role::Admin)));
    assert_eq!(other.result, Err(Refusal::KeyReused { key: t("key-1") }));
    // Asked again without naming a generation: the server finds the one that the first attempt made.
    let put = |name: &str, found| {
        let (name, expect_generation) = (t(name), Generation::new(found));
        Command::PutPolicy(PutPolicy { name, expect_generation, document: Document::default(), note: None })
    };
    let first = cluster.commit(keyed(&cluster, "key-2", put("p", 0)));
    let again = cluster.commit(keyed(&cluster, "key-2", put("p", 1)));
    assert_eq!((again.result, again.changes), (first.result, Vec::new()));
    let other = cluster.commit(keyed(&cluster, "key-2", put("q", 0)));
    assert_eq!(other.result, Err(Refusal::KeyReused { key: t("key-2") }));
}

/// Once a node is gone nobody is asked any more who has copies of what it had.
#[test]
fn a_removal_that_is_asked_again_may_count_on_others() {
    let mut cluster = Cluster::new();
    for name in ["a", "b"] {
        cluster.join(name, "x");
    }
    let remove = |counts_on: &[&str], force| {
        let counts_on = counts_on.iter().map(|name| t(name)).collect();
        Command::RemoveNode(RemoveNode { name: t("a"), force, counts_on })
    };
    let first = cluster.commit(keyed(&cluster, "key-1", remove(&["b"], false)));
    assert_eq!(first.result, Ok(Answer::Done));
    let again = cluster.commit(keyed(&cluster, "key-1", remove(&[], false)));
    assert_eq!((again.result, again.changes), (first.result, Vec::new()));
    let other = cluster.commit(keyed(&cluster, "key-1", remove(&[], true)));
    assert_eq!(other.result, Err(Refusal::KeyReused { key: t("key-1") }));
}

#[test]
fn a_layout_with_other_replicas_is_another_request() {
    let mut cluster = Cluster::with(replicas(1));
    for name in ["a", "b"] {
        cluster.join(name, name);
    }
    cluster.settle();
    let apply = |cluster: &Cluster, sets_replication| {
        let Command::ApplyLayout(planned) = cluster.apply_plan() else { panic!("a layout") };
        // Whoever asks again names the epoch of before; the server plans from what is there now.
        Command::ApplyLayout(ApplyLayout { expect_epoch: Epoch::new(1), sets_replication, ..planned })
    };
    let first = cluster.commit(keyed(&cluster, "key-1", apply(&cluster, true)));
    assert_eq!(first.result, Ok(Answer::Layout { epoch: Epoch::new(2) }));
    let again = cluster.commit(keyed(&cluster, "key-1", apply(&cluster, true)));
    assert_eq!((again.result, again.changes), (first.result, Vec::new()));
    let other = cluster.commit(keyed(&cluster, "key-1", apply(&cluster, false)));
    assert_eq!(other.result, Err(Refusal::KeyReused { key: t("key-1") }));
}

#[test]
fn a_later_end_of_what_is_given_out_makes_no_other_request() {
    let mut cluster = Cluster::new();
    let member = |hours| {
        let (secret, expires) = (secret("same"), at(hours * HOUR_MS));
        Command::StageMember(StageMember { name: t("control-2"), secret, expires })
    };
    let token = cluster.state.tables().tokens.values().next().unwrap().id;
    let rotate = |hours| {
        let previous_until = Some(at(hours * HOUR_MS));
        Command::RotateToken(RotateToken { id: token, hash: secret("fresh"), previous_until })
    };
    let makers: [(&str, &dyn Fn(u64) -> Command); 3] =
        [("key-1", &member), ("key-2", &|hours| stage_node("n", "z", hours * HOUR_MS)), ("key-3", &rotate)];
    for (key, make) in makers {
        let first = cluster.commit(keyed(&cluster, key, make(30)));
        assert!(!first.changes.is_empty(), "{key}: {first:?}");
        let again = cluster.commit(keyed(&cluster, key, make(31)));
        assert_eq!((again.result, again.changes), (first.result, Vec::new()), "{key}");
    }
    let other = cluster.commit(keyed(&cluster, "key-2", stage_node("n", "elsewhere", HOUR_MS)));
    assert_eq!(other.result, Err(Refusal::KeyReused { key: t("key-2") }));
}

#[test]
fn a_refusal_is_not_remembered() {
    let mut cluster = Cluster::new();
    let token = |hash: &str| {
        Command::CreateToken(CreateToken {
            name: t("x"),
            role: Role::Viewer,
            hash: secret(hash),
            expires: None,
            groups: std::collections::BTreeSet::new(),
        })
    };
    assert!(cluster.commit(keyed(&cluster, "key-1", token("admin"))).result.is_err());
    assert!(cluster.state.tables().remembered.is_empty());
    cluster.commit(keyed(&cluster, "key-1", token("fresh"))).result.unwrap();
}

#[test]
fn after_a_day_a_request_is_forgotten() {
    let mut cluster = Cluster::new();
    cluster.commit(keyed(&cluster, "key-1", stage("control-2")));
    cluster.pass(REMEMBERED_FOR.as_millis() as u64);
    // It is a new request, and a member of that name may be staged anew.
    let again = cluster.commit(keyed(&cluster, "key-1", stage("control-2")));
    assert!(!again.changes.is_empty());
    cluster.pass(REMEMBERED_FOR.as_millis() as u64);
    cluster.done(Command::StartJob(StartJob { kind: t("drain"), target: t("a") }));
    assert!(cluster.state.tables().remembered.is_empty());
    cluster.assert_digest();
}

#[test]
fn the_audit_trail_says_who_did_what_when_and_why() {
    let mut cluster = Cluster::new();
    cluster.pass(5);
    cluster.commit(keyed(&cluster, "key-1", stage("control-2")));
    let (revision, entry) = cluster.state.tables().audit.last_key_value().unwrap();
    assert_eq!((*revision, entry.at.millis()), (Revision::new(2), START_MS + 5));
    assert_eq!((entry.actor.name.as_str(), entry.command.as_str()), ("ada", "stage-member"));
    let text = |note: &Option<cluster::Note>| note.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!(text(&entry.subject), "control-2 2");
    assert_eq!(text(&entry.why), "because of it");
    assert_eq!(text(&entry.after), "staged");
    // What comes by itself all the time is not worth an entry, unless an operator asks for it.
    let alarm = || {
        let (code, subject, message) = (t("disk-full"), t("a"), t("make room"));
        Command::RaiseAlarm(RaiseAlarm { code, subject, severity: AlarmSeverity::Warning, message })
    };
    cluster.propose(ActorRole::System, alarm()).result.unwrap();
    assert_eq!(cluster.state.tables().audit.len(), 2);
    cluster.done(Command::ClearAlarm(cluster::command::ClearAlarm { code: t("disk-full"), subject: t("a") }));
    cluster.propose(ActorRole::Operator, alarm()).result.unwrap();
    assert_eq!(cluster.state.tables().audit.len(), 4);
}

#[test]
fn the_clusters_time_does_not_go_back() {
    let mut cluster = Cluster::with(replicas(1));
    cluster.pass(HOUR_MS);
    cluster.join("a", "x");
    assert_eq!(cluster.state.now(), at(HOUR_MS));
    // A leader whose clock is behind.
    cluster.clock_ms = 0;
    cluster.settle();
    cluster.done(report("a", 1));
    assert_eq!(cluster.state.now(), at(HOUR_MS));
    assert_eq!(cluster.state.tables().transition.unwrap().since, at(HOUR_MS));
}
