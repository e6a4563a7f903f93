//! What grows by use is bounded, and the oldest goes first.

use std::collections::BTreeSet;

use cluster::command::CreateToken;
use cluster::command::{
    AdvanceJob, ClearAlarm, FinishJob, RaiseAlarm, RemoveMember, RemoveNode, RevokeToken, StageMember,
    StartJob,
};
use cluster::record::{
    ALARMS_MAX, AUDIT_MAX, AlarmSeverity, JOBS_ENDED_MAX, JOBS_RUNNING_MAX, JobState, MEMBERS_MAX,
    MEMBERS_REMOVED_MAX, NODES_REMOVED_MAX, Progress, REMEMBERED_MAX, TOKENS_REVOKED_MAX,
};
use cluster::{Answer, Command, MemberId, Proposal, Refusal, RefusalCode, Revision, Role};

use crate::support::{Cluster, HOUR_MS, actor, at, secret, stage, t};

/// Proposes without looking at everything each time, since it is thousands of times.
fn quickly(cluster: &mut Cluster, proposal: &Proposal) -> Result<Answer, Refusal> {
    cluster.index += 1;
    let outcome = cluster.state.apply(Revision::new(cluster.index), proposal);
    cluster.state.commit(Revision::new(cluster.index), outcome.changes);
    outcome.result
}

fn finish(cluster: &mut Cluster, command: Command) -> Answer {
    let proposal = cluster.proposal(cluster::ActorRole::Admin, command);
    quickly(cluster, &proposal).unwrap()
}

fn assert_sound(cluster: &Cluster) {
    assert_eq!(cluster.state.check(), []);
    cluster.assert_digest();
}

#[test]
fn audit_and_remembered_requests() {
    let mut cluster = Cluster::new();
    let alarm = |severity| {
        let (code, subject, message) = (t("disk-full"), t("a"), t("make room"));
        Command::RaiseAlarm(RaiseAlarm { code, subject, severity, message })
    };
    let turns = AUDIT_MAX.max(REMEMBERED_MAX) + 7;
    for turn in 0..turns {
        let severity = if turn % 2 == 0 { AlarmSeverity::Notice } else { AlarmSeverity::Critical };
        let proposal = Proposal {
            key: Some(t(&format!("key-{turn}"))),
            ..cluster.proposal(cluster::ActorRole::Operator, alarm(severity))
        };
        quickly(&mut cluster, &proposal).unwrap();
    }
    let tables = cluster.state.tables();
    assert_eq!((tables.audit.len(), tables.remembered.len()), (AUDIT_MAX, REMEMBERED_MAX));
    assert!(!tables.remembered.contains_key(&t("key-6")) && tables.remembered.contains_key(&t("key-7")));
    assert_eq!(tables.audit.last_key_value().unwrap().0.get(), cluster.index);
    assert_eq!(tables.audit.first_key_value().unwrap().0.get(), cluster.index - AUDIT_MAX as u64 + 1);
    assert_sound(&cluster);
}

#[test]
fn jobs() {
    let mut cluster = Cluster::new();
    let start = || Command::StartJob(StartJob { kind: t("scrub"), target: t("a") });
    let done = |id| Command::FinishJob(FinishJob { id, state: JobState::Done, message: None });
    for _ in 0..JOBS_ENDED_MAX + 3 {
        let Answer::Job { id } = finish(&mut cluster, start()) else { panic!("a job") };
        let progress = Progress { done: 3, total: 4 };
        finish(&mut cluster, Command::AdvanceJob(AdvanceJob { id, progress, message: None }));
        finish(&mut cluster, done(id));
    }
    assert_eq!(cluster.state.tables().jobs.len(), JOBS_ENDED_MAX);
    let last = *cluster.state.tables().jobs.last_key_value().unwrap().0;
    assert_eq!(cluster.refused(done(last)).code(), RefusalCode::Precondition);
    for _ in 0..JOBS_RUNNING_MAX {
        finish(&mut cluster, start());
    }
    assert!(matches!(cluster.refused(start()), Refusal::Limit { max: JOBS_RUNNING_MAX, .. }));
    let running = Command::FinishJob(FinishJob {
        id: *cluster.state.tables().jobs.last_key_value().unwrap().0,
        state: JobState::Running,
        message: None,
    });
    assert_eq!(cluster.refused(running).code(), RefusalCode::Invalid);
    assert_sound(&cluster);
}

#[test]
fn alarms() {
    let mut cluster = Cluster::new();
    let raise = |number: usize| {
        let (code, subject, message) = (t("disk-full"), t(&format!("n{number}")), t("make room"));
        Command::RaiseAlarm(RaiseAlarm { code, subject, severity: AlarmSeverity::Warning, message })
    };
    for number in 0..ALARMS_MAX {
        finish(&mut cluster, raise(number));
    }
    assert!(matches!(cluster.refused(raise(ALARMS_MAX)), Refusal::Limit { .. }));
    let clear = |subject| Command::ClearAlarm(ClearAlarm { code: t("disk-full"), subject: t(subject) });
    cluster.done(clear("n0"));
    assert_eq!(cluster.refused(clear("n0")).code(), RefusalCode::NotFound);
    cluster.done(raise(ALARMS_MAX));
}

#[test]
fn what_is_gone_is_remembered_for_a_while() {
    let mut cluster = Cluster::new();
    let stage_member = |name: &str| {
        let expires = at(HOUR_MS);
        Command::StageMember(StageMember { name: t(name), secret: secret(name), expires })
    };
    for number in 0..MEMBERS_REMOVED_MAX + 3 {
        finish(&mut cluster, stage_member("control-2"));
        let id = MemberId::new(number as u64 + 2).unwrap();
        finish(&mut cluster, Command::RemoveMember(RemoveMember { id }));
    }
    assert_eq!(cluster.state.tables().members.len(), MEMBERS_REMOVED_MAX + 1);
    for number in 1..MEMBERS_MAX {
        finish(&mut cluster, stage_member(&format!("x{number}")));
    }
    assert!(matches!(cluster.refused(stage_member("one-more")), Refusal::Limit { .. }));
    for number in 0..NODES_REMOVED_MAX + 3 {
        let name = format!("n{number}");
        finish(&mut cluster, stage(&name, "x", 0));
        finish(
            &mut cluster,
            Command::RemoveNode(RemoveNode { name: t(&name), force: false, counts_on: BTreeSet::new() }),
        );
    }
    assert_eq!(cluster.state.tables().nodes.len(), NODES_REMOVED_MAX);
    for number in 0..TOKENS_REVOKED_MAX + 3 {
        let (hash, role) = (secret(&number.to_string()), Role::Admin);
        let answer = finish(
            &mut cluster,
            Command::CreateToken(CreateToken {
                name: t("x"),
                role,
                hash,
                expires: None,
                groups: std::collections::BTreeSet::new(),
            }),
        );
        let Answer::Token { id } = answer else { panic!("a token") };
        finish(&mut cluster, Command::RevokeToken(RevokeToken { id }));
    }
    assert_eq!(cluster.state.tables().tokens.len(), TOKENS_REVOKED_MAX + 1);
    assert_eq!(actor(cluster::ActorRole::Admin).name.as_str(), "ada");
    assert_sound(&cluster);
}
