//! Jobs: begun by the command that somebody asked for, ended by the one that brings it about.

use std::collections::BTreeSet;

use cluster::command::{
    AddAuthority, AdvanceJob, ApplyLayout, DrainNode, FinishJob, RemoveNode, ReplaceNode, RetireAuthority,
    StartJob, SwitchAuthority, UncordonNode,
};
use cluster::record::{JOBS_RUNNING_MAX, JobState, Progress};
use cluster::{Blob, Command, Epoch, Generation, JobId};

use crate::support::{Cluster, replicas, t};

fn cluster() -> Cluster {
    let mut cluster = Cluster::with(replicas(2));
    for name in ["n0", "n1", "n2"] {
        cluster.join(name, "z");
    }
    cluster.settle();
    cluster
}

/// Each job with its number: kind, target and state.
fn jobs(cluster: &Cluster) -> Vec<String> {
    let jobs = cluster.state.tables().jobs.values();
    jobs.map(|job| format!("{} {} {} {}", job.id, job.kind, job.target, job.state.name())).collect()
}

fn drain(name: &str) -> Command {
    Command::DrainNode(DrainNode { name: t(name) })
}

#[test]
fn the_first_layout_moves_nothing() {
    assert!(jobs(&cluster()).is_empty());
}

#[test]
fn a_move_is_followed_until_the_old_layout_retires() {
    let mut cluster = cluster();
    cluster.join("n3", "z");
    cluster.done(cluster.apply_plan());
    assert_eq!(jobs(&cluster), ["1 layout 2 running"]);
    let progress = Progress { done: 3, total: 9 };
    cluster.done(Command::AdvanceJob(AdvanceJob { id: JobId::new(1), progress, message: None }));
    cluster.report_all();
    assert_eq!(jobs(&cluster), ["1 layout 2 done"]);
    let job = &cluster.state.tables().jobs[&JobId::new(1)];
    assert_eq!(job.progress, Progress { done: 9, total: 9 });
}

#[test]
fn a_layout_that_takes_the_place_of_another_ends_its_job() {
    let mut cluster = cluster();
    cluster.join("n3", "z");
    cluster.done(cluster.apply_plan());
    let layout = cluster.planned().unwrap();
    let apply = ApplyLayout {
        expect_epoch: Epoch::new(2),
        layout: layout.into(),
        note: None,
        sets_replication: false,
    };
    cluster.done(Command::ApplyLayout(apply));
    assert_eq!(jobs(&cluster), ["1 layout 2 cancelled", "2 layout 3 running"]);
}

#[test]
fn a_drain_is_one_job_however_often_it_is_asked_for() {
    let mut cluster = cluster();
    cluster.done(drain("n1"));
    assert_eq!(jobs(&cluster), ["1 drain n1 running"]);
    cluster.refused(drain("n1"));
    cluster.done(Command::RemoveNode(RemoveNode { name: t("n1"), force: true, counts_on: BTreeSet::new() }));
    assert_eq!(jobs(&cluster), ["1 drain n1 running"]);
    cluster.done(drain("n2"));
    cluster.done(Command::UncordonNode(UncordonNode { name: t("n2") }));
    assert_eq!(jobs(&cluster), ["1 drain n1 running", "2 drain n2 cancelled"]);
    cluster.done(drain("n2"));
    assert_eq!(jobs(&cluster).last().unwrap(), "3 drain n2 running");
}

#[test]
fn a_replacement_is_a_move_and_a_drain() {
    let mut cluster = cluster();
    cluster.join("n3", "z");
    let (name, by, expect_epoch) = (t("n1"), t("n3"), Epoch::new(1));
    cluster.done(Command::ReplaceNode(ReplaceNode { name, by, expect_epoch }));
    assert_eq!(jobs(&cluster), ["1 layout 2 running", "2 drain n1 running"]);
    cluster.report_all();
    // Whoever is quicker than the leader ends the drain by removing the node.
    cluster.done(Command::RemoveNode(RemoveNode { name: t("n1"), force: false, counts_on: BTreeSet::new() }));
    assert_eq!(jobs(&cluster), ["1 layout 2 done", "2 drain n1 done"]);
}

#[test]
fn another_authority_has_taken_over_when_none_is_left_from_before() {
    let mut cluster = cluster();
    let add = |text: &str| {
        let (certificate, sealed_key) = (Blob::new(text.as_bytes()), Blob::new(b"sealed"));
        Command::AddAuthority(AddAuthority { certificate, sealed_key })
    };
    let switch = |to| Command::SwitchAuthority(SwitchAuthority { to: Generation::new(to) });
    let retire =
        |generation| Command::RetireAuthority(RetireAuthority { generation: Generation::new(generation) });
    // Certificates of the first are in use for a year.
    cluster.clock_ms = 2 * crate::support::YEAR_MS;
    cluster.done(add("second"));
    cluster.done(switch(2));
    cluster.done(add("third"));
    cluster.done(switch(3));
    cluster.done(retire(2));
    assert_eq!(jobs(&cluster), ["1 authority 2 running", "2 authority 3 running"]);
    cluster.done(retire(1));
    assert_eq!(jobs(&cluster), ["1 authority 2 done", "2 authority 3 done"]);
}

#[test]
fn what_cannot_be_followed_is_done_all_the_same() {
    let mut cluster = cluster();
    for _ in 0..JOBS_RUNNING_MAX {
        cluster.done(Command::StartJob(StartJob { kind: t("scrub"), target: t("n0") }));
    }
    cluster.done(drain("n1"));
    assert!(!jobs(&cluster).iter().any(|job| job.contains("drain")));
    let first = FinishJob { id: JobId::new(1), state: JobState::Done, message: None };
    cluster.done(Command::FinishJob(first));
    cluster.done(drain("n2"));
    assert!(jobs(&cluster).last().unwrap().ends_with("drain n2 running"));
}
