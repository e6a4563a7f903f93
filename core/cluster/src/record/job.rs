//! Long work, and how far it has come.

use serde::{Deserialize, Serialize};

use crate::ids::{JobId, JobKind};
use crate::text::{Name, Note};
use crate::time::Timestamp;

/// Jobs that may run at one time.
pub const JOBS_RUNNING_MAX: usize = 256;
/// Ended jobs that are remembered.
pub const JOBS_ENDED_MAX: usize = 500;

impl JobKind {
    /// A data node gives away what it has; the job's target is its name, its unit a slot.
    pub const DRAIN: &str = "drain";
    /// Slots move to another layout; the job's target is its epoch, its unit a byte.
    pub const LAYOUT: &str = "layout";
    /// Another authority takes over; the job's target is its generation, its unit a certificate.
    pub const AUTHORITY: &str = "authority";
}

/// Long work that somebody asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// What it does it to.
    pub target: Name,
    /// Whether it runs.
    pub state: JobState,
    /// How far it has come.
    pub progress: Progress,
    /// When it began.
    pub started: Timestamp,
    /// When it last said something, or ended.
    pub updated: Timestamp,
    /// Who asked for it.
    pub by: Name,
    /// What it said last, or why it failed.
    pub message: Option<Note>,
}

/// Whether a job runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It runs.
    Running,
    /// It is done.
    Done,
    /// It could not be done.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl JobState {
    /// The state in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How far a job has come, in units of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all; 0 while that is not known.
    pub total: u64,
}
