//! `StageNode`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::{LabelKey, NodeName, Zone};
use crate::outcome::Refusal;
use crate::text::{Hash, Name};
use crate::time::Timestamp;

/// Lets a data node join, once, with a secret. One that has not joined may be staged anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageNode {
    /// Its name.
    pub name: NodeName,
    /// What it fails together with.
    pub zone: Zone,
    /// Its share in proportion to the weights of the others.
    pub weight: u32,
    /// Whatever it is to be found by.
    pub labels: BTreeMap<LabelKey, Name>,
    /// Whether it is taken into the layout as soon as it has joined.
    pub apply_on_join: bool,
    /// The hash of the secret.
    pub secret: Hash,
    /// When the secret ceases to be good.
    pub expires: Timestamp,
}

impl StageNode {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
