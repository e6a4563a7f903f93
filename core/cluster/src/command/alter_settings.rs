//! `AlterSettings`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::layout::ReplicationFactor;
use crate::outcome::Refusal;

/// Sets the cluster otherwise; what is none stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
