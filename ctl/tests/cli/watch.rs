//! `--watch` and `--wait`: one object a line, an end when it is done, a stream that breaks and goes on.

use proto::ErrorCode;
use proto::control::v1::*;

use crate::bed::Bed;
use crate::data;
use crate::fake::Reply;

const LAYOUT: &str = "LayoutService/WatchLayoutStatus";
const JOB: &str = "OperationService/WatchJob";

fn layouts(left: &[u64]) -> Vec<WatchLayoutStatusResponse> {
    left.iter().map(|left| WatchLayoutStatusResponse { status: Some(data::moving(*left)) }).collect()
}

fn jobs(states: &[(JobState, u64)]) -> Vec<WatchJobResponse> {
    states.iter().map(|(state, done)| WatchJobResponse { job: Some(data::job(*state, *done)) }).collect()
}

fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_move_is_watched_to_its_end() {
    let bed = Bed::new();
    // What comes after the end is not waited for.
    bed.fake.on(LAYOUT, vec![Reply::stream(&layouts(&[2 << 30, 1 << 30, 0, 5]))]);
    let json = bed.run(&["layout", "status", "--watch", "-o", "json"]);
    assert_eq!(json.code, 0, "{}", json.stderr);
    let states: Vec<_> = objects(&json.stdout).iter().map(|object| object["state"].clone()).collect();
    assert_eq!(states, ["moving", "moving", "stable"]);
    insta::assert_snapshot!(bed.run(&["layout", "status", "--watch"]).transcript());
    let yaml = bed.run(&["layout", "status", "--watch", "-o", "yaml"]);
    assert_eq!(yaml.stdout.matches("---\n").count(), 3);
}

#[test]
fn a_stream_that_breaks_is_taken_up_again() {
    let bed = Bed::new();
    bed.fake.on(
        LAYOUT,
        vec![Reply::broken(&layouts(&[3 << 30])), Reply::Cut, Reply::stream(&layouts(&[1 << 30, 0]))],
    );
    let run = bed.run(&["layout", "status", "--watch", "-o", "json"]);
    assert_eq!((run.code, objects(&run.stdout).len()), (0, 3), "{}", run.stderr);
}

#[test]
fn a_stream_that_is_refused_is_not() {
    let bed = Bed::new();
    bed.fake.on("NodeService/WatchNode", vec![Reply::refuse(ErrorCode::NotFound, "there is no node data-9")]);
    let run = bed.run(&["node", "show", "data-9", "--watch"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
}

#[test]
fn a_node_is_watched_until_it_has_settled() {
    let bed = Bed::new();
    let states = [NodeState::Staged, NodeState::Joining, NodeState::Active, NodeState::Draining];
    let states: Vec<_> =
        states.iter().map(|state| WatchNodeResponse { node: Some(data::node(1, *state)) }).collect();
    bed.fake.on("NodeService/WatchNode", vec![Reply::stream(&states)]);
    let run = bed.run(&["node", "show", "data-1", "--watch", "-o", "json"]);
    let states: Vec<_> = objects(&run.stdout).iter().map(|object| object["state"].clone()).collect();
    assert_eq!((run.code, states), (0, vec!["staged".into(), "joining".into(), "active".into()]));
}

#[test]
fn a_drain_is_watched_until_nothing_is_held() {
    let bed = Bed::new();
    let draining = |slot_count: u32| WatchNodeResponse {
        node: Some(Node { slot_count, ..data::node(1, NodeState::Draining) }),
    };
    let steps = [4096, 7, 0, 0].map(draining);
    bed.fake.on("NodeService/WatchNode", vec![Reply::stream(&steps)]);
    let run = bed.run(&["node", "show", "data-1", "--watch", "-o", "json"]);
    assert_eq!((run.code, objects(&run.stdout).len()), (0, 3), "{}", run.stderr);
}

#[test]
fn a_drain_is_waited_for() {
    let bed = Bed::new();
    data::well(&bed);
    let steps = [(JobState::Running, 1 << 30), (JobState::Running, 2 << 30), (JobState::Succeeded, 3 << 30)];
    bed.fake.on(JOB, vec![Reply::stream(&jobs(&steps))]);
    let run = bed.run(&["node", "drain", "data-1", "--wait", "-o", "json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let job: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((job["id"].as_str(), job["state"].as_str()), (Some("j-17"), Some("succeeded")));
    assert_eq!(run.stderr, "", "no bar without a terminal");
    let run = bed.run(&["node", "drain", "data-1", "--watch", "-o", "json"]);
    assert_eq!((run.code, objects(&run.stdout).len()), (0, 3));
    let run = bed.run(&["cluster", "jobs", "show", "j-17", "--watch", "-o", "json"]);
    assert_eq!((run.code, objects(&run.stdout).len()), (0, 3));
}

#[test]
fn a_job_that_fails_fails_the_command() {
    let bed = Bed::new();
    data::well(&bed);
    bed.fake.on(JOB, vec![Reply::stream(&jobs(&[(JobState::Running, 1), (JobState::Failed, 1)]))]);
    insta::assert_snapshot!(bed.run(&["node", "drain", "data-1", "--wait"]).transcript());
    bed.fake.on(JOB, vec![Reply::stream(&jobs(&[(JobState::Cancelled, 1)]))]);
    assert_eq!(bed.run(&["node", "drain", "data-1", "--wait"]).code, 1);
}

#[test]
fn the_cluster_is_watched_until_somebody_stops_it() {
    use std::io::{BufRead as _, BufReader};
    let bed = Bed::new();
    let one = WatchStatusResponse { status: Some(data::status()) };
    bed.fake.on("ClusterService/WatchStatus", vec![Reply::broken(&[one.clone(), one])]);
    let mut command = bed.command(&["cluster", "status", "--watch", "-o", "json"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = lines.next().unwrap().unwrap();
        assert_eq!(objects(&line)[0]["leader"], "control-1");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // What it was writing has to go somewhere meanwhile.
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
