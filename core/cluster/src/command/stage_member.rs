//! `StageMember`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::NodeName;
use crate::outcome::Refusal;
use crate::text::Hash;
use crate::time::Timestamp;

/// Lets a control node join, once, with a secret. Staged anew before it has joined, it keeps its number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageMember {
    /// Its name.
    pub name: NodeName,
    /// The hash of the secret.
    pub secret: Hash,
    /// When the secret ceases to be good.
    pub expires: Timestamp,
}

impl StageMember {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
