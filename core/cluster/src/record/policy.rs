//! Policy documents, the one in force of each name and those before it.

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, PolicyName};
use crate::policy::Document;
use crate::text::{Name, Note};
use crate::time::Timestamp;

/// Documents of different names that there may be, deleted ones that are still remembered included.
pub const POLICIES_MAX: usize = 256;
/// Former generations that are kept of each name.
pub const POLICY_HISTORY_MAX: usize = 50;

/// One generation of a policy document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRecord {
    /// The document's name.
    pub name: PolicyName,
    /// The how-manieth of this name it is.
    pub generation: Generation,
    /// What it says; none if this generation deleted it.
    pub document: Option<Document>,
    /// When it was put.
    pub made: Timestamp,
    /// Who put it.
    pub by: Name,
    /// What was said about it.
    pub note: Option<Note>,
}
