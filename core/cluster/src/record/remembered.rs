//! Requests that were carried out, so that asking twice does once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::Revision;
use crate::outcome::Answer;
use crate::text::{Hash, IdempotencyKey};
use crate::time::Timestamp;

/// Requests that are remembered; the oldest are forgotten.
pub const REMEMBERED_MAX: usize = 10_000;
/// How long one is remembered.
pub const REMEMBERED_FOR: Duration = Duration::from_hours(24);

/// A request that was carried out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    /// The key that the client gave it.
    pub key: IdempotencyKey,
    /// The hash of who asked for what: the same key with another request is refused.
    pub request: Hash,
    /// The state that it made.
    pub revision: Revision,
    /// When, by the cluster's time.
    pub at: Timestamp,
    /// What was answered.
    pub answer: Answer,
}
