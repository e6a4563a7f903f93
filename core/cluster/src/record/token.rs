//! Operators' credentials. The secrets themselves are kept nowhere.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{TokenId, TokenName};
use crate::proposal::Role;
use crate::text::{Hash, Name};
use crate::time::Timestamp;

/// Credentials that may be good at one time.
pub const TOKENS_MAX: usize = 1_000;
/// Groups of one credential.
pub const TOKEN_GROUPS_MAX: usize = 32;
/// Revoked credentials that are remembered.
pub const TOKENS_REVOKED_MAX: usize = 200;

/// An operator's credential.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// Its name, unique among those that are not revoked.
    pub name: TokenName,
    /// What its bearer may do.
    pub role: Role,
    /// The hash of the secret.
    pub hash: Hash,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub by: Name,
    /// When it ceases to be good; never, if none.
    pub expires: Option<Timestamp>,
    /// The secret before the last rotation, while it is still good.
    pub previous: Option<PreviousSecret>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// Groups whose rules apply to its bearer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<Name>,
}

/// A secret that was replaced and stays good for a while.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousSecret {
    /// The hash of the secret.
    pub hash: Hash,
    /// When it ceases to be good.
    pub until: Timestamp,
}

impl Token {
    /// Whether it is neither revoked nor expired.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether it is good and this is the hash of its secret, or of the one before while that is good.
    pub fn accepts(&self, hash: &Hash, now: Timestamp) -> bool {
        let previous = self
            .previous
            .as_ref()
            .is_some_and(|previous| now < previous.until && previous.hash.matches(hash));
        self.is_good(now) && (self.hash.matches(hash) || previous)
    }
}
