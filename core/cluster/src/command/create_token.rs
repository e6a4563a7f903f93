//! `CreateToken`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::TokenName;
use crate::outcome::Refusal;
use crate::proposal::Role;
use crate::text::Hash;
use crate::time::Timestamp;

/// Makes an operator's credential.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Its name.
    pub name: TokenName,
    /// What its bearer may do.
    pub role: Role,
    /// The hash of its secret.
    pub hash: Hash,
    /// When it ceases to be good; never, if none.
    pub expires: Option<Timestamp>,
}

impl CreateToken {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
