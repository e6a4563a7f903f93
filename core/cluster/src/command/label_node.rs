//! `LabelNode`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::{LabelKey, NodeName, Zone};
use crate::outcome::Refusal;
use crate::text::Name;

/// Changes what a data node is to be found by, its zone or its weight. Zone and weight count from the next layout on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelNode {
    /// Its name.
    pub name: NodeName,
    /// Labels to put, or to take away.
    pub labels: BTreeMap<LabelKey, Option<Name>>,
    /// Another zone.
    pub zone: Option<Zone>,
    /// Another weight.
    pub weight: Option<u32>,
}

impl LabelNode {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
