//! `ReportSync`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::{Epoch, NodeName};
use crate::outcome::Refusal;

/// A data node has everything that a layout gives it. When all have, the layout before is retired.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSync {
    /// The node.
    pub node: NodeName,
    /// The layout's epoch.
    pub epoch: Epoch,
}

impl ReportSync {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
