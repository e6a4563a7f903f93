//! `DrainNode`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::NodeName;
use crate::outcome::Refusal;

/// A data node is to give away what it has, by the next layout.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainNode {
    /// Its name.
    pub name: NodeName,
}

impl DrainNode {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
