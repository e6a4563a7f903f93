//! `SwitchAuthority`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::Generation;
use crate::outcome::Refusal;

/// Lets the next authority sign; the current one is trusted until nobody has a certificate of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchAuthority {
    /// The generation of the next one, as whoever decided knew it.
    pub to: Generation,
}

impl SwitchAuthority {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
