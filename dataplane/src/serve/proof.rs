//! What is known of a zip that is whole and verified.

use gomod::H1;

use crate::store::{Class, Verified};

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// The `h1:` hash of its content.
    pub h1: H1,
    /// Who vouches for that.
    pub verified: Verified,
    /// Where it came from.
    pub origin: String,
    /// How much a copy is worth: whether it may be nowhere else.
    pub class: Class,
}
