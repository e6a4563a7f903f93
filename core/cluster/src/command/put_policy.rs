//! `PutPolicy`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::{Generation, PolicyName};
use crate::outcome::Refusal;
use crate::policy::Document;
use crate::text::Note;

/// Puts a policy document in force, in place of the one with its name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutPolicy {
    /// Its name.
    pub name: PolicyName,
    /// The generation that there is, as whoever decided knew it; 0 for none.
    pub expect_generation: Generation,
    /// What it says.
    pub document: Document,
    /// What is said about it.
    pub note: Option<Note>,
}

impl PutPolicy {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
