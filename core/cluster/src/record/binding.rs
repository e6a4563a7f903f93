//! What a published version is bound to, for good: a name never gets other content, whoever publishes it again.

use serde::{Deserialize, Serialize};

use super::Marked;
use crate::text::{Hash, Name};
use crate::time::Timestamp;

/// Versions that may be published.
pub const BINDINGS_MAX: usize = 200_000;

/// A version that was published here, and its content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The version.
    pub version: Marked,
    /// What its zip hashes to, as `h1:` has it.
    pub zip_h1: Hash,
    /// What its go.mod hashes to, as `h1:` has it.
    pub go_mod_h1: Hash,
    /// Since when.
    pub since: Timestamp,
    /// Who published it.
    pub by: Name,
}
