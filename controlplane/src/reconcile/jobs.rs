//! Jobs of what takes long are kept up to date: drains, which end when the node is empty, after which one that is removed is gone;
//! moves to another layout and changes of the authority, which the state machine ends. A pure plan.

use std::collections::BTreeSet;

use cluster::command::{AdvanceJob, FinishJob, RemoveNode, StartJob};
use cluster::record::{AuthorityState, Before, Certificate, Job, JobState, Node, NodeState, Progress};
use cluster::{Command, JobKind, Name, NodeName, Note, Tables};

use crate::observed::Observed;
use crate::placement::current;

/// Nodes that are named of those that are behind.
const NAMED_MAX: usize = 3;

/// What is to be proposed.
pub(super) fn plan(tables: &Tables, observed: &Observed) -> Vec<Command> {
    let running = tables.jobs.values().filter(|job| job.state == JobState::Running);
    let begun = tables.nodes.values().filter(|node| drains(node)).filter_map(|node| begin(tables, node));
    let emptied = tables.nodes.values().filter(|node| is_emptied(tables, node));
    let removed = emptied.map(|node| {
        Command::RemoveNode(RemoveNode { name: node.name.clone(), force: false, counts_on: BTreeSet::new() })
    });
    let gone_on = running.filter_map(|job| match job.kind.as_str() {
        JobKind::DRAIN => drain(tables, job),
        JobKind::LAYOUT => moved(tables, observed, job),
        JobKind::AUTHORITY => renewed(tables, job),
        _ => None,
    });
    gone_on.chain(begun).chain(removed).collect()
}

/// Whether a node that is being removed holds nothing any more, and its job has ended.
fn is_emptied(tables: &Tables, node: &Node) -> bool {
    let has_job = tables.jobs.values().any(|job| {
        job.kind.as_str() == JobKind::DRAIN
            && job.target.as_str() == node.name.as_str()
            && job.state != JobState::Running
            && job.started >= node.since
    });
    node.state == NodeState::Removing && has_job && tables.slots_held(&node.name) == 0
}

fn drains(node: &Node) -> bool {
    matches!(
        node.state,
        NodeState::Draining | NodeState::Down { before: Before::Draining } | NodeState::Removing
    )
}

/// A drain that could not be followed when it was asked for, since too many were.
fn begin(tables: &Tables, node: &Node) -> Option<Command> {
    let target = Name::parse(node.name.as_str()).ok()?;
    // One for each drain: the node is in its state since it was asked to.
    let there = tables.jobs.values().any(|job| {
        job.kind.as_str() == JobKind::DRAIN
            && job.target == target
            && (job.state == JobState::Running || job.started >= node.since)
    });
    let kind = JobKind::parse(JobKind::DRAIN).ok()?;
    (!there).then_some(Command::StartJob(StartJob { kind, target }))
}

fn drain(tables: &Tables, job: &Job) -> Option<Command> {
    let node = tables.nodes.values().find(|node| node.name.as_str() == job.target.as_str());
    let Some(node) = node.filter(|node| drains(node)) else {
        let message = Note::lossy("the node drains no more");
        return Some(Command::FinishJob(FinishJob { id: job.id, state: JobState::Cancelled, message }));
    };
    let left = u64::from(tables.slots_held(&node.name));
    if left == 0 && current(tables).is_some() {
        return Some(Command::FinishJob(FinishJob { id: job.id, state: JobState::Done, message: None }));
    }
    let message = match &tables.transition {
        Some(transition) if transition.paused => Note::lossy("the layout is paused"),
        _ => None,
    };
    advance(job, left, message)
}

/// Bytes that the nodes of the layout have still to fetch, and who has not said yet that it has everything.
fn moved(tables: &Tables, observed: &Observed, job: &Job) -> Option<Command> {
    let layout = current(tables)?;
    let lags = |name: &&NodeName| tables.syncs.get(*name).is_none_or(|sync| sync.epoch < layout.epoch());
    let behind: Vec<&NodeName> = layout.nodes().iter().filter(lags).collect();
    let left = |name: &&NodeName| observed.of_node(name).map_or(0, |seen| seen.report.bytes_left);
    let message = Note::lossy(&format!("{} still copying", named(behind.iter().map(|name| name.as_str()))));
    advance(job, behind.iter().map(left).sum(), message.filter(|_| !behind.is_empty()))
}

/// Certificates that another authority than the current one has signed.
fn renewed(tables: &Tables, job: &Job) -> Option<Command> {
    let current = tables.authorities.values().find(|authority| authority.state == AuthorityState::Current)?;
    if current.generation.to_string() != job.target.as_str() {
        return advance(job, job.progress.total, Note::lossy("it signs when all have heard of it"));
    }
    let is_former = |held: &Certificate| held.authority != current.generation;
    let members = tables.members.values().filter(|member| member.certificate.as_ref().is_some_and(is_former));
    let nodes = tables.nodes.values().filter(|node| node.certificate.as_deref().is_some_and(is_former));
    let names = members.map(|member| member.name.as_str()).chain(nodes.map(|node| node.name.as_str()));
    let former: Vec<&str> = names.collect();
    let message = Note::lossy(&format!("{} still to renew", named(former.iter().copied())));
    advance(job, former.len() as u64, message.filter(|_| !former.is_empty()))
}

/// The first few of those who are behind.
fn named<'a>(behind: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = behind.len().saturating_sub(NAMED_MAX);
    let few = behind.take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{few} and {more} more") } else { few }
}

/// How far it has come with so much left, if that is news.
fn advance(job: &Job, left: u64, message: Option<Note>) -> Option<Command> {
    let total = job.progress.total.max(left);
    let progress = Progress { done: total - left, total };
    let message = message.or_else(|| job.message.clone());
    (progress != job.progress || message != job.message).then_some(Command::AdvanceJob(AdvanceJob {
        id: job.id,
        progress,
        message,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cluster::record::Sync;
    use cluster::{Epoch, Timestamp};

    use super::super::bed::{clock, job, layout, node, said, tables};
    use super::*;

    /// What each command says: done, total and message; or the end.
    fn told(commands: &[Command]) -> Vec<String> {
        let told = commands.iter().map(|command| {
            if let Command::AdvanceJob(AdvanceJob { progress: Progress { done, total }, message, .. }) =
                command
            {
                let message = message.as_ref().map(ToString::to_string).unwrap_or_default();
                return format!("{done}/{total} {message}");
            }
            if let Command::FinishJob(finish) = command {
                return finish.state.name().to_owned();
            }
            command.name().to_owned()
        });
        told.collect()
    }

    /// The tables after the commands that only concern jobs.
    fn after(tables: &mut Tables, commands: &[Command]) {
        for command in commands {
            if let Command::AdvanceJob(advance) = command {
                let job = tables.jobs.get_mut(&advance.id).unwrap();
                (job.progress, job.message) = (advance.progress, advance.message.clone());
            }
        }
    }

    #[test]
    fn a_move_tells_what_is_left_and_who_is_behind() {
        let clock = clock(Duration::from_secs(10));
        let mut tables = tables();
        let names = ["a", "b"].map(|name| node(&mut tables, name, NodeState::Active));
        layout(&mut tables, 1, &names[..1]);
        layout(&mut tables, 2, &names);
        job(&mut tables, JobKind::LAYOUT, "2");
        let mut observed = Observed::new(clock.start);
        said(&mut observed, &names[0], 0, clock.now);
        said(&mut observed, &names[1], 900, clock.now);
        let first = plan(&tables, &observed);
        assert_eq!(told(&first), ["0/900 a, b still copying"]);
        after(&mut tables, &first);
        assert!(plan(&tables, &observed).is_empty(), "no news");
        let sync = Sync { node: names[0].clone(), epoch: Epoch::new(2), at: Timestamp::default() };
        tables.syncs.insert(names[0].clone(), sync);
        said(&mut observed, &names[1], 300, clock.now);
        assert_eq!(told(&plan(&tables, &observed)), ["600/900 b still copying"]);
    }

    #[test]
    fn a_drain_ends_when_no_layout_has_the_node() {
        let clock = clock(Duration::from_secs(10));
        let observed = Observed::new(clock.start);
        let mut tables = tables();
        let names = ["a", "b"].map(|name| node(&mut tables, name, NodeState::Active));
        layout(&mut tables, 1, &names);
        tables.nodes.get_mut(&names[0]).unwrap().state = NodeState::Draining;
        job(&mut tables, JobKind::DRAIN, "a");
        let first = plan(&tables, &observed);
        assert_eq!(told(&first), ["0/2048 "]);
        after(&mut tables, &first);
        layout(&mut tables, 2, &names[1..]);
        assert!(plan(&tables, &observed).is_empty(), "the layout before still has it");
        tables.layouts.remove(&Epoch::new(1));
        assert_eq!(told(&plan(&tables, &observed)), ["done"]);
        tables.nodes.get_mut(&names[0]).unwrap().state = NodeState::Active;
        assert_eq!(told(&plan(&tables, &observed)), ["cancelled"]);
    }

    #[test]
    fn a_drain_that_nothing_follows_is_followed() {
        let clock = clock(Duration::from_secs(10));
        let observed = Observed::new(clock.start);
        let mut tables = tables();
        let name = node(&mut tables, "a", NodeState::Draining);
        layout(&mut tables, 1, &[name]);
        assert_eq!(told(&plan(&tables, &observed)), ["start-job"]);
    }
}
