//! Putting a layout in force, and retiring the one before: what several commands have in common.
//!
//! Two layouts are in force while slots move. One that is put in force before the move has ended takes the place of the current
//! one; the one before stays, since everything that is stored is where that one says: writes go to the replicas of both.

use std::sync::Arc;

use super::context::{Context, invalid};
use super::work::Work;
use crate::ids::{Epoch, JobKind};
use crate::layout::{Layout, ReplicationFactor, Severity, check};
use crate::outcome::Refusal;
use crate::record::{
    Change, Cluster, JobState, Key, LAYOUT_HISTORY_MAX, LayoutRecord, NodeState, Record, Settings,
    TransitionRecord,
};
use crate::text::Note;

/// What is wrong with a layout and told at once.
const FINDINGS_MAX: usize = 10;

impl Context<'_> {
    /// The changes that put a layout in force, and the job that follows the move to it.
    pub(super) fn install(
        &self,
        layout: Arc<Layout>,
        note: Option<Note>,
        work: &mut Work<'_>,
    ) -> Result<Vec<Change>, Refusal> {
        self.put_in_force(layout, note, self.cluster.settings.replication, work)
    }

    /// The same for a layout that decides how many replicas there are from now on. Both change at once or not at all: a cluster that
    /// wants other replicas than its layout has would be moved to them by whatever layout comes next.
    pub(super) fn install_with_replication(
        &self,
        layout: Arc<Layout>,
        note: Option<Note>,
        work: &mut Work<'_>,
    ) -> Result<Vec<Change>, Refusal> {
        let replication = layout.replication();
        let mut changes = self.put_in_force(layout, note, replication, work)?;
        if self.cluster.settings.replication != replication {
            let settings = Settings { replication, ..self.cluster.settings };
            changes.push(Change::Put(Record::Cluster(Cluster { settings, ..self.cluster.clone() })));
        }
        Ok(changes)
    }

    fn put_in_force(
        &self,
        layout: Arc<Layout>,
        note: Option<Note>,
        replication: ReplicationFactor,
        work: &mut Work<'_>,
    ) -> Result<Vec<Change>, Refusal> {
        if self.transition.paused {
            return Err(Refusal::Paused);
        }
        self.check_layout(&layout, replication)?;
        let TransitionRecord { current, previous, .. } = self.transition;
        let mut changes = Vec::new();
        if previous.is_some() {
            changes.extend(self.put_away(current));
        }
        let previous = previous.or_else(|| (current != Epoch::default()).then_some(current));
        let epoch = layout.epoch();
        let follows = format!("epoch {epoch} took its place");
        work.end_those(JobKind::LAYOUT, |_| true, JobState::Cancelled, &follows);
        // Nothing moves to the first layout.
        if previous.is_some() {
            work.begin(JobKind::LAYOUT, &epoch.to_string());
        }
        for node in self.tables.nodes.values() {
            if node.state == NodeState::Joining && layout.nodes().binary_search(&node.name).is_ok() {
                changes.push(Change::Put(Record::Node(self.moved(node, NodeState::Active))));
            }
        }
        changes.push(Change::Put(Record::Transition(TransitionRecord {
            current: epoch,
            previous,
            paused: false,
            since: self.now,
        })));
        changes.push(Change::Put(Record::Layout(LayoutRecord {
            layout,
            made: self.now,
            by: self.by(),
            base: current,
            note,
        })));
        Ok(changes)
    }

    /// What the audit trail has of a layout beside its number, if it has other replicas than the cluster had.
    pub(super) fn other_replication(&self, layout: &Layout) -> String {
        let replication = layout.replication();
        if replication == self.cluster.settings.replication {
            return String::new();
        }
        format!(", {replication} replicas")
    }

    /// The changes that end a move, and the end of its job.
    pub(super) fn retire(&self, previous: Epoch, work: &mut Work<'_>) -> Vec<Change> {
        work.end_those(JobKind::LAYOUT, |_| true, JobState::Done, "everything is where it belongs");
        let settled = TransitionRecord { previous: None, since: self.now, ..self.transition };
        let mut changes = self.put_away(previous);
        changes.push(Change::Put(Record::Transition(settled)));
        changes
    }

    fn check_layout(&self, layout: &Layout, replication: ReplicationFactor) -> Result<(), Refusal> {
        let next = self.transition.current.next();
        if layout.epoch() != next {
            return Err(invalid(format!("the layout has epoch {} instead of {next}", layout.epoch())));
        }
        if layout.replication() != replication {
            let found = layout.replication();
            return Err(invalid(format!("the layout is for {found} replicas instead of {replication}")));
        }
        let findings = check(layout, &self.tables.candidates());
        let errors = findings.iter().filter(|finding| finding.severity() == Severity::Error);
        let problems: Vec<String> = errors.take(FINDINGS_MAX).map(ToString::to_string).collect();
        if problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid { problems }) }
    }

    /// Moves a layout from those in force to those that were.
    fn put_away(&self, epoch: Epoch) -> Vec<Change> {
        let history = &self.tables.layout_history;
        let mut changes = vec![Change::Delete(Key::Layout(epoch))];
        let Some(record) = self.tables.layouts.get(&epoch) else { return changes };
        let over = (history.len() + 1).saturating_sub(LAYOUT_HISTORY_MAX);
        changes.push(Change::Put(Record::LayoutHistory(record.clone())));
        // The one that is put away may itself be the oldest.
        let mut epochs: Vec<Epoch> = history.keys().copied().chain([epoch]).collect();
        epochs.sort_unstable();
        changes.extend(epochs.into_iter().take(over).map(|epoch| Change::Delete(Key::LayoutHistory(epoch))));
        changes
    }
}
