//! Who did what, when and why.

use serde::{Deserialize, Serialize};

use crate::ids::{RequestId, Revision};
use crate::proposal::Actor;
use crate::text::Note;
use crate::time::Timestamp;

/// Entries that are kept; the oldest are dropped.
pub const AUDIT_MAX: usize = 10_000;

/// A command that was carried out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// The state that it made.
    pub revision: Revision,
    /// When, by the cluster's time.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// The request that asked for it.
    pub request: RequestId,
    /// The command's name.
    pub command: String,
    /// What it was about.
    pub subject: Option<Note>,
    /// Why, if it was said.
    pub why: Option<Note>,
    /// How it was, in short.
    pub before: Option<Note>,
    /// How it is, in short.
    pub after: Option<Note>,
}
