//! `MarkNode`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::NodeName;
use crate::outcome::Refusal;

/// The failure detector, or an operator, says that a data node is dead, or back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkNode {
    /// Its name.
    pub name: NodeName,
    /// How it is.
    pub health: NodeHealth,
}

/// How a data node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeHealth {
    /// It answers.
    Up,
    /// It is taken for dead.
    Down,
}

impl MarkNode {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
