//! `AnnounceNode`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::NodeName;
use crate::outcome::Refusal;
use crate::record::Addresses;

/// A data node was started and says where it listens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnounceNode {
    /// Its name.
    pub name: NodeName,
    /// Where it listens.
    pub addresses: Addresses,
}

impl AnnounceNode {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
