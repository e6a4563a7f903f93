//! `AddAuthority`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::outcome::Refusal;
use crate::text::Blob;

/// Adds the certificate authority that is to sign next. All trust it from now on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddAuthority {
    /// Its certificate (DER).
    pub certificate: Blob,
    /// Its private key, sealed.
    pub sealed_key: Blob,
}

impl AddAuthority {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
