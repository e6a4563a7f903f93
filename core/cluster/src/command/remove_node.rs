//! `RemoveNode`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::NodeName;
use crate::outcome::Refusal;

/// Removes a data node that holds nothing. Its name may be staged again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveNode {
    /// Its name.
    pub name: NodeName,
}

impl RemoveNode {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
