//! `RetireAuthority`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::Generation;
use crate::outcome::Refusal;

/// Ends the trust in an authority of which nobody has a certificate any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetireAuthority {
    /// Its generation.
    pub generation: Generation,
}

impl RetireAuthority {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
