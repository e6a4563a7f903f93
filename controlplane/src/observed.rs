//! What the leader has seen of nodes and members: in memory, gone with the leadership, never replicated.
//!
//! Times are monotonic and handed in. Invariant: somebody of whom nothing was heard since this member leads counts as heard of
//! when it began to lead, so that a new leader takes nobody for dead for want of memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use cluster::{AlarmCode, Epoch, MemberId, NodeName};

/// What a data node says of itself with each heartbeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeReport {
    /// What it runs.
    pub(crate) version: String,
    /// Bytes that the disk under its data directory has.
    pub(crate) disk_bytes: u64,
    /// Bytes of it that are free.
    pub(crate) disk_free_bytes: u64,
    /// Bytes that its store takes.
    pub(crate) store_bytes: u64,
    /// Versions that it holds.
    pub(crate) version_count: u64,
    /// Requests a second.
    pub(crate) requests_per_second: f64,
    /// The layout that it is in sync with.
    pub(crate) synced_epoch: Epoch,
    /// Bytes that it has still to fetch.
    pub(crate) bytes_left: u64,
    /// The state of the records that it goes by.
    pub(crate) revision: u64,
    /// What it says is wrong with it.
    pub(crate) alarms: Vec<AlarmCode>,
}

/// What a control node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberReport {
    /// What it runs.
    pub(crate) version: String,
    /// The last entry that it has applied.
    pub(crate) applied: u64,
    /// The last entry that it is known to hold.
    pub(crate) matched: u64,
    /// How far its clock is ahead of ours, in milliseconds.
    pub(crate) clock_offset_ms: i64,
    /// Whether its disk is slow.
    pub(crate) disk_is_slow: bool,
}

/// Something said, and when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen<T> {
    /// What.
    pub(crate) report: T,
    /// When, by the monotonic clock.
    pub(crate) at: Instant,
    /// When, by the wall clock.
    pub(crate) wall: SystemTime,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    since: Instant,
    nodes: BTreeMap<NodeName, Seen<NodeReport>>,
    members: BTreeMap<MemberId, Seen<MemberReport>>,
    /// Nodes that are down, since this leader has seen that they are.
    down: BTreeMap<NodeName, Instant>,
}

impl Observed {
    /// Nothing seen yet, by a leader that leads since `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, nodes: BTreeMap::new(), members: BTreeMap::new(), down: BTreeMap::new() }
    }

    /// A node was heard of.
    pub(crate) fn node(&mut self, name: NodeName, seen: Seen<NodeReport>) {
        self.nodes.insert(name, seen);
    }

    /// A member was heard of.
    pub(crate) fn member(&mut self, id: MemberId, seen: Seen<MemberReport>) {
        self.members.insert(id, seen);
    }

    /// What a node said last.
    pub(crate) fn of_node(&self, name: &NodeName) -> Option<&Seen<NodeReport>> {
        self.nodes.get(name)
    }

    /// What a member said last.
    pub(crate) fn of_member(&self, id: MemberId) -> Option<&Seen<MemberReport>> {
        self.members.get(&id)
    }

    /// These nodes are down.
    pub(crate) fn are_down<'a>(&mut self, down: impl Iterator<Item = &'a NodeName>, now: Instant) {
        let mut before = std::mem::take(&mut self.down);
        self.down = down.map(|name| (name.clone(), before.remove(name).unwrap_or(now))).collect();
    }

    /// Whether a node that is down was heard of since: what it said before tells nothing.
    pub(crate) fn is_heard_again(&self, name: &NodeName) -> bool {
        let seen = self.nodes.get(name);
        seen.is_some_and(|seen| self.down.get(name).is_some_and(|down| seen.at > *down))
    }

    /// All nodes that were heard of.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&NodeName, &Seen<NodeReport>)> {
        self.nodes.iter()
    }

    /// All members that were heard of.
    pub(crate) fn members(&self) -> impl Iterator<Item = (MemberId, &Seen<MemberReport>)> {
        self.members.iter().map(|(id, seen)| (*id, seen))
    }

    /// For how long this member leads.
    pub(crate) fn leading(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// For how long nothing was heard of a node.
    pub(crate) fn node_silence(&self, name: &NodeName, now: Instant) -> Duration {
        let last = self.nodes.get(name).map_or(self.since, |seen| seen.at.max(self.since));
        now.saturating_duration_since(last)
    }

    /// For how long nothing was heard of a member.
    pub(crate) fn member_silence(&self, id: MemberId, now: Instant) -> Duration {
        let last = self.members.get(&id).map_or(self.since, |seen| seen.at.max(self.since));
        now.saturating_duration_since(last)
    }

    /// Forgets nodes and members that are no more, so that memory does not grow with those that were.
    pub(crate) fn retain(&mut self, node: impl Fn(&NodeName) -> bool, member: impl Fn(MemberId) -> bool) {
        self.nodes.retain(|name, _| node(name));
        self.members.retain(|id, _| member(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_takes_nobody_for_silent() {
        let start = Instant::now();
        let name = NodeName::parse("data-1").unwrap();
        let mut observed = Observed::new(start + Duration::from_secs(100));
        let now = start + Duration::from_secs(101);
        assert_eq!(observed.node_silence(&name, now), Duration::from_secs(1));
        let seen = Seen { report: NodeReport::default(), at: now, wall: SystemTime::UNIX_EPOCH };
        observed.node(name.clone(), seen);
        assert_eq!(observed.node_silence(&name, now + Duration::from_secs(5)), Duration::from_secs(5));
        observed.retain(|_| false, |_| true);
        assert!(observed.of_node(&name).is_none());
    }
}
