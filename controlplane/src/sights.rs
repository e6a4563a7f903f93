//! What was seen of nodes and members, as answers to operators have it: on the leader from its own memory, elsewhere as the leader
//! told it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::{MemberId, NodeName, ReplicationFactor, Slot};
use proto::control::v1::NodeUsage;
use proto::raft::v1::{GetObservationsResponse, MemberObservation, NodeObservation};

use crate::observed::Observed;
use crate::services::convert::wall_time;

/// What was seen of a data node.
#[derive(Clone, Debug)]
pub(crate) struct NodeSight {
    /// For how long nothing was heard of it.
    pub(crate) silence: Duration,
    /// When it was last heard of.
    pub(crate) last_seen: Option<prost_types::Timestamp>,
    /// What it runs.
    pub(crate) version: String,
    /// How much of its machine it uses.
    pub(crate) usage: NodeUsage,
    /// The layout that it is in sync with.
    pub(crate) synced_epoch: u64,
    /// Bytes that it has still to fetch.
    pub(crate) bytes_left: u64,
    /// The state of the records that it goes by.
    pub(crate) revision: u64,
}

/// What was seen of a control node.
#[derive(Clone, Debug)]
pub(crate) struct MemberSight {
    /// For how long nothing was heard of it.
    pub(crate) silence: Duration,
    /// When it was last heard of.
    pub(crate) last_seen: Option<prost_types::Timestamp>,
    /// What it runs.
    pub(crate) version: String,
    /// The last entry that it has applied.
    pub(crate) applied: u64,
    /// The last entry that it is known to hold.
    pub(crate) matched: u64,
    /// How far its clock is ahead of the leader's, in milliseconds.
    pub(crate) clock_offset_ms: i64,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sights {
    nodes: BTreeMap<NodeName, NodeSight>,
    members: BTreeMap<MemberId, MemberSight>,
    /// For how long the leader leads; none if there is none that told.
    leading: Option<Duration>,
}

impl Sights {
    /// What this leader has seen.
    pub(crate) fn of(observed: &Observed, now: Instant) -> Self {
        let nodes = observed.nodes().map(|(name, seen)| {
            let report = &seen.report;
            let usage = NodeUsage {
                disk_bytes: report.disk_bytes,
                disk_free_bytes: report.disk_free_bytes,
                store_bytes: report.store_bytes,
                version_count: report.version_count,
                requests_per_second: report.requests_per_second,
            };
            let sight = NodeSight {
                silence: observed.node_silence(name, now),
                last_seen: Some(wall_time(seen.wall)),
                version: report.version.clone(),
                usage,
                synced_epoch: report.synced_epoch.get(),
                bytes_left: report.bytes_left,
                revision: report.revision,
            };
            (name.clone(), sight)
        });
        let members = observed.members().map(|(id, seen)| {
            let sight = MemberSight {
                silence: observed.member_silence(id, now),
                last_seen: Some(wall_time(seen.wall)),
                version: seen.report.version.clone(),
                applied: seen.report.applied,
                matched: seen.report.matched,
                clock_offset_ms: seen.report.clock_offset_ms,
            };
            (id, sight)
        });
        let leading = Some(observed.leading(now));
        Self { nodes: nodes.collect(), members: members.collect(), leading }
    }

    /// What the leader told.
    pub(crate) fn told(told: GetObservationsResponse) -> Self {
        let node = |seen: NodeObservation| {
            let usage = NodeUsage {
                disk_bytes: seen.disk_bytes,
                disk_free_bytes: seen.disk_free_bytes,
                store_bytes: seen.store_bytes,
                version_count: seen.version_count,
                requests_per_second: seen.requests_per_second,
            };
            let sight = NodeSight {
                silence: Duration::from_millis(seen.silence_ms),
                last_seen: seen.last_seen_time,
                version: seen.version,
                usage,
                synced_epoch: seen.synced_epoch,
                bytes_left: seen.bytes_left,
                revision: seen.revision,
            };
            Some((NodeName::parse(&seen.name).ok()?, sight))
        };
        let member = |seen: MemberObservation| {
            let sight = MemberSight {
                silence: Duration::from_millis(seen.silence_ms),
                last_seen: seen.last_seen_time,
                version: seen.version,
                applied: seen.applied_index,
                matched: seen.matched_index,
                clock_offset_ms: seen.clock_offset_ms,
            };
            Some((MemberId::new(seen.id)?, sight))
        };
        Self {
            nodes: told.nodes.into_iter().filter_map(node).collect(),
            members: told.members.into_iter().filter_map(member).collect(),
            leading: Some(Duration::from_millis(told.leading_ms)),
        }
    }

    /// For telling it to another member.
    pub(crate) fn tell(self) -> GetObservationsResponse {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let node = |(name, sight): (NodeName, NodeSight)| NodeObservation {
            name: name.to_string(),
            last_seen_time: sight.last_seen,
            silence_ms: millis(sight.silence),
            version: sight.version,
            disk_bytes: sight.usage.disk_bytes,
            disk_free_bytes: sight.usage.disk_free_bytes,
            store_bytes: sight.usage.store_bytes,
            version_count: sight.usage.version_count,
            requests_per_second: sight.usage.requests_per_second,
            synced_epoch: sight.synced_epoch,
            bytes_left: sight.bytes_left,
            revision: sight.revision,
        };
        let member = |(id, sight): (MemberId, MemberSight)| MemberObservation {
            id: id.get(),
            last_seen_time: sight.last_seen,
            silence_ms: millis(sight.silence),
            matched_index: sight.matched,
            applied_index: sight.applied,
            version: sight.version,
            clock_offset_ms: sight.clock_offset_ms,
        };
        GetObservationsResponse {
            nodes: self.nodes.into_iter().map(node).collect(),
            members: self.members.into_iter().map(member).collect(),
            leading_ms: millis(self.leading.unwrap_or_default()),
        }
    }

    /// What was seen of a node.
    pub(crate) fn node(&self, name: &NodeName) -> Option<&NodeSight> {
        self.nodes.get(name)
    }

    /// What was seen of a member.
    pub(crate) fn member(&self, id: MemberId) -> Option<&MemberSight> {
        self.members.get(&id)
    }

    /// For how long nothing was heard of a node; since the leader leads, if it never heard of it. None when that is not known.
    pub(crate) fn node_silence(&self, name: &NodeName) -> Option<Duration> {
        self.node(name).map(|sight| sight.silence).or(self.leading)
    }

    /// For how long the leader leads that told this.
    pub(crate) fn leading(&self) -> Option<Duration> {
        self.leading
    }

    /// Bytes that a slot holds on average, by what all stores take.
    pub(crate) fn bytes_of_slot(&self, replication: ReplicationFactor) -> u64 {
        let stored: u64 = self.nodes.values().map(|sight| sight.usage.store_bytes).sum();
        stored / (Slot::all().len() as u64 * u64::from(replication.get()).max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::observed::{NodeReport, Seen};

    #[test]
    fn what_the_leader_tells_is_what_it_has_seen() {
        let now = Instant::now();
        let name = NodeName::parse("data-1").unwrap();
        let mut observed = Observed::new(now);
        let report = NodeReport { bytes_left: 3, revision: 7, ..NodeReport::default() };
        observed.node(name.clone(), Seen { report, at: now, wall: SystemTime::UNIX_EPOCH });
        let told = Sights::told(Sights::of(&observed, now).tell());
        let sight = told.node(&name).unwrap();
        assert_eq!((sight.bytes_left, sight.revision), (3, 7));
    }
}
