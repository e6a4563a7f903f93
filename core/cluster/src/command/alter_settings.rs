//! `AlterSettings`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::layout::ReplicationFactor;
use crate::outcome::{Answer, Refusal};
use crate::record::{Cluster, Record, Settings};

/// Sets the cluster otherwise; what is none stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlterSettings {
    /// How many replicas each slot should have from the next layout on.
    pub replication: Option<ReplicationFactor>,
    /// Silence after which a node is suspected, in milliseconds.
    pub suspect_after_ms: Option<u64>,
    /// Silence after which a node is taken for dead, in milliseconds.
    pub dead_after_ms: Option<u64>,
    /// Nodes of one zone that may be marked down by themselves within the window.
    pub removals_per_zone: Option<u32>,
    /// That window, in milliseconds.
    pub removal_window_ms: Option<u64>,
    /// Whether no node is marked down by itself at all.
    pub storm_brake: Option<bool>,
}

impl AlterSettings {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let before = context.cluster.settings;
        let after = Settings {
            replication: self.replication.unwrap_or(before.replication),
            suspect_after_ms: self.suspect_after_ms.unwrap_or(before.suspect_after_ms),
            dead_after_ms: self.dead_after_ms.unwrap_or(before.dead_after_ms),
            removals_per_zone: self.removals_per_zone.unwrap_or(before.removals_per_zone),
            removal_window_ms: self.removal_window_ms.unwrap_or(before.removal_window_ms),
            storm_brake: self.storm_brake.unwrap_or(before.storm_brake),
        };
        let problems = after.problems();
        if !problems.is_empty() {
            return Err(Refusal::Invalid { problems });
        }
        let effect = Effect::new(Answer::Done, "settings").was(describe(&before)).is(describe(&after));
        if before == after {
            return Ok(effect);
        }
        Ok(effect.put(Record::Cluster(Cluster { settings: after, ..context.cluster.clone() })))
    }
}

fn describe(settings: &Settings) -> String {
    format!(
        "replication {}, suspect after {} ms, dead after {} ms, {} removals a zone in {} ms, brake {}",
        settings.replication,
        settings.suspect_after_ms,
        settings.dead_after_ms,
        settings.removals_per_zone,
        settings.removal_window_ms,
        if settings.storm_brake { "pulled" } else { "loose" },
    )
}
