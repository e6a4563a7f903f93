//! Secrets drawn from the system's random source, and the hashes by which they are known to whoever only has to recognise them.

use std::fmt;

use cluster::ClusterId;
use ring::digest::{SHA256, digest};
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Bytes of a secret: too many to be guessed, so that a plain hash hides them.
pub(crate) const SECRET_BYTES: usize = 32;

/// 32 random bytes. `Debug` does not show them, and memory is wiped when they are dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

impl Secret {
    /// Draws one. Fails only where the system has no random source.
    pub fn random() -> Result<Self, Unspecified> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        SystemRandom::new().fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// The secret with these bytes; `None` unless they are 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// Its bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// What it is recognised by.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_slice())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// SHA-256 of a secret. Two are compared in a time that says nothing of where they differ.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of `secret`.
    pub fn of(secret: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self(hash)
    }

    /// The hash with these bytes, as they were recorded; `None` unless they are 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes, to be recorded.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Draws the id of a new cluster.
pub fn random_cluster_id() -> Result<ClusterId, Unspecified> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(ClusterId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognised_by_its_hash_and_shown_nowhere() {
        let (secret, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(secret, other);
        assert_eq!(secret.hash(), SecretHash::of(secret.expose()));
        assert_ne!(secret.hash(), other.hash());
        assert_eq!(Secret::from_slice(secret.expose()), Some(secret.clone()));
        assert_eq!(Secret::from_slice(b"short"), None);
        assert_eq!(format!("{secret:?}{:?}", secret.hash()), "[redacted][hash]");
        assert_ne!(random_cluster_id().unwrap(), random_cluster_id().unwrap());
    }
}
