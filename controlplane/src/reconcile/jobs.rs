//! Jobs for what takes long: one is begun for each node that drains or is removed by force, kept up to date, and ended when the node is
//! empty, after which one that is removed is gone. A pure plan.

use cluster::command::{AdvanceJob, FinishJob, RemoveNode, StartJob};
use cluster::record::{Before, Job, JobState, Node, NodeState, Progress};
use cluster::{Command, JobKind, Layout, Name, Note, Slot, Tables};

use crate::placement::current;

const DRAIN: &str = "drain";

/// What is to be proposed.
pub(super) fn plan(tables: &Tables) -> Vec<Command> {
    let running =
        tables.jobs.values().filter(|job| job.state == JobState::Running && job.kind.as_str() == DRAIN);
    let begun = tables.nodes.values().filter(|node| drains(node)).filter_map(|node| begin(tables, node));
    let emptied = tables.nodes.values().filter(|node| is_emptied(tables, node));
    let removed =
        emptied.map(|node| Command::RemoveNode(RemoveNode { name: node.name.clone(), force: false }));
    running.filter_map(|job| go_on(tables, job)).chain(begun).chain(removed).collect()
}

/// Whether a node that is being removed holds nothing any more, and its job has ended.
fn is_emptied(tables: &Tables, node: &Node) -> bool {
    let has_job = tables.jobs.values().any(|job| {
        job.kind.as_str() == DRAIN
            && job.target.as_str() == node.name.as_str()
            && job.state != JobState::Running
            && job.started >= node.since
    });
    node.state == NodeState::Removing && has_job && slots_left(tables, node) == 0
}

/// Slots that a node holds by a layout in force.
fn slots_left(tables: &Tables, node: &Node) -> u64 {
    let layouts: Vec<&Layout> = tables.layouts.values().map(|record| record.layout.as_ref()).collect();
    let held =
        Slot::all().filter(|slot| layouts.iter().any(|layout| layout.replicas(*slot).contains(&node.name)));
    held.count() as u64
}

fn drains(node: &Node) -> bool {
    matches!(
        node.state,
        NodeState::Draining | NodeState::Down { before: Before::Draining } | NodeState::Removing
    )
}

fn begin(tables: &Tables, node: &Node) -> Option<Command> {
    let target = Name::parse(node.name.as_str()).ok()?;
    // One for each drain: the node is in its state since it was asked to.
    let there = tables.jobs.values().any(|job| {
        job.kind.as_str() == DRAIN
            && job.target == target
            && (job.state == JobState::Running || job.started >= node.since)
    });
    let kind = JobKind::parse(DRAIN).ok()?;
    (!there).then_some(Command::StartJob(StartJob { kind, target }))
}

fn go_on(tables: &Tables, job: &Job) -> Option<Command> {
    let node = tables.nodes.values().find(|node| node.name.as_str() == job.target.as_str());
    let Some(node) = node.filter(|node| drains(node)) else {
        let message = Note::lossy("the node drains no more");
        return Some(Command::FinishJob(FinishJob { id: job.id, state: JobState::Cancelled, message }));
    };
    let left = slots_left(tables, node);
    if left == 0 && current(tables).is_some() {
        return Some(Command::FinishJob(FinishJob { id: job.id, state: JobState::Done, message: None }));
    }
    let total = job.progress.total.max(left);
    let progress = Progress { done: total - left, total };
    (progress != job.progress).then_some(Command::AdvanceJob(AdvanceJob {
        id: job.id,
        progress,
        message: None,
    }))
}
