//! What an operator should know until it is over.

use serde::{Deserialize, Serialize};

use crate::ids::AlarmCode;
use crate::text::{Name, Note};
use crate::time::Timestamp;

/// Alarms that may be raised at one time.
pub const ALARMS_MAX: usize = 2_000;

/// An alarm that is raised. One that is cleared is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// What it is about.
    pub code: AlarmCode,
    /// Whom it is about: a node, a member, the cluster.
    pub subject: Name,
    /// How bad it is.
    pub severity: AlarmSeverity,
    /// Since when.
    pub since: Timestamp,
    /// What to know and to do.
    pub message: Note,
}

/// How bad an alarm is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmSeverity {
    /// Good to know.
    Notice,
    /// Should be looked at.
    Warning,
    /// Needs somebody now.
    Critical,
}
