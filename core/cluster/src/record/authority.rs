//! The cluster's own certificate authority, more than one of it while they change.

use serde::{Deserialize, Serialize};

use crate::ids::Generation;
use crate::text::Blob;
use crate::time::Timestamp;

/// Bound of a certificate in bytes (DER).
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// Bound of a sealed private key in bytes.
pub const SEALED_KEY_BYTES_MAX: usize = 16 << 10;
/// Authorities that may be trusted at one time.
pub const AUTHORITIES_MAX: usize = 8;

/// A certificate authority that the cluster trusts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// The how-manieth it is.
    pub generation: Generation,
    /// Whether it signs.
    pub state: AuthorityState,
    /// Its certificate (DER).
    pub certificate: Blob,
    /// Its private key, sealed so that only control nodes can open it; none on a data node.
    pub sealed_key: Option<Blob>,
    /// When it was added.
    pub created: Timestamp,
    /// Since when it is in its state.
    pub since: Timestamp,
}

/// Whether an authority signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityState {
    /// It is trusted and will sign.
    Next,
    /// It signs.
    Current,
    /// It is trusted until nobody has a certificate of it any more.
    Retiring,
}

impl AuthorityState {
    /// The state in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Retiring => "retiring",
        }
    }
}
