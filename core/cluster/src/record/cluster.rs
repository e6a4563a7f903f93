//! What the cluster is, how it is set, and what it counts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ClusterId, Datacenter, Generation, JobId, MemberId, TokenId, Zone};
use crate::layout::ReplicationFactor;
use crate::time::Timestamp;

/// Bound of [`Settings::removals_per_zone`].
pub const REMOVALS_PER_ZONE_MAX: u32 = 10;
/// Bounds of [`Settings::suspect_after_ms`]: below, a pause of the kernel is a suspicion.
const SUSPECT_AFTER_MS: std::ops::RangeInclusive<u64> = 100..=600_000;
/// Bound of the longer times, in milliseconds: a day.
const LONG_MS_MAX: u64 = 86_400_000;

/// The cluster itself. There is one from the bootstrap on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// What tells it from every other.
    pub id: ClusterId,
    /// The region that it is in.
    pub datacenter: Datacenter,
    /// When it was made.
    pub created: Timestamp,
    /// How it is set.
    pub settings: Settings,
    /// How often it went on from one member after its majority was lost. Whoever knows of more recoveries than another takes
    /// nothing from him: his members were left behind.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub recovery: Generation,
}

/// Clusters that never lost a majority are written as they were before there was recovery.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_none_yet(recovery: &Generation) -> bool {
    *recovery == Generation::default()
}

/// What an operator may set for the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many replicas each slot should have from the next layout on.
    pub replication: ReplicationFactor,
    /// Silence after which a node is suspected and routed around, in milliseconds.
    pub suspect_after_ms: u64,
    /// Silence after which a node is taken for dead and marked down, in milliseconds.
    pub dead_after_ms: u64,
    /// Nodes of one zone that may be marked down by themselves within the window.
    pub removals_per_zone: u32,
    /// That window, in milliseconds.
    pub removal_window_ms: u64,
    /// Pulled by an operator, or by the leader in a storm: no node is marked down by itself at all.
    pub storm_brake: bool,
}

impl Settings {
    /// What a cluster begins with.
    pub const DEFAULT: Self = Self {
        replication: ReplicationFactor::ONE,
        suspect_after_ms: 3_000,
        dead_after_ms: 120_000,
        removals_per_zone: 1,
        removal_window_ms: 600_000,
        storm_brake: false,
    };

    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !SUSPECT_AFTER_MS.contains(&self.suspect_after_ms) {
            problems.push("suspect_after is not between 100 ms and 10 min".to_owned());
        }
        if self.dead_after_ms <= self.suspect_after_ms || self.dead_after_ms > LONG_MS_MAX {
            problems.push("dead_after is not between suspect_after and a day".to_owned());
        }
        if self.removals_per_zone > REMOVALS_PER_ZONE_MAX {
            problems.push(format!("removals_per_zone is above {REMOVALS_PER_ZONE_MAX}"));
        }
        if self.removal_window_ms == 0 || self.removal_window_ms > LONG_MS_MAX {
            problems.push("removal_window is not between 1 ms and a day".to_owned());
        }
        problems
    }

    /// [`Self::suspect_after_ms`] as a duration.
    pub const fn suspect_after(&self) -> Duration {
        Duration::from_millis(self.suspect_after_ms)
    }

    /// [`Self::dead_after_ms`] as a duration.
    pub const fn dead_after(&self) -> Duration {
        Duration::from_millis(self.dead_after_ms)
    }

    /// [`Self::removal_window_ms`] as a duration.
    pub const fn removal_window(&self) -> Duration {
        Duration::from_millis(self.removal_window_ms)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What moves with nearly every command. It is apart from [`Cluster`], which all nodes are told of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// The cluster's time: the latest that any accepted command brought along.
    pub clock: Timestamp,
    /// The number that the next control node gets.
    pub next_member: MemberId,
    /// The number that the next credential gets.
    pub next_token: TokenId,
    /// The number that the next job gets.
    pub next_job: JobId,
    /// When nodes of a zone were last marked down by themselves, oldest first, within the window.
    pub removals: BTreeMap<Zone, Vec<Timestamp>>,
}
