//! Sealing what the cluster records and only its members may read: AES-256-GCM under a key that each keeps in a file.
//!
//! Form: a version byte, 12 random bytes, the sealed bytes with their tag. What it is sealed for is bound to it, so that a
//! sealed record cannot stand in another's place.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::secret::{SECRET_BYTES, Secret};

/// The first form.
const VERSION: u8 = 1;

/// Why bytes were not sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// The system has no random source, or too much was to be sealed.
    #[error("seal")]
    Seal,
    /// A form of a later release.
    #[error("sealed form {0} is not known")]
    Version(u8),
    /// Another key sealed it, or for something else, or it was changed.
    #[error("sealed bytes do not open with this key")]
    Open,
}

/// The key that members seal with. The bytes of each sealing are drawn anew, which is safe for as many as a cluster ever
/// makes: one for each authority and key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealingKey(Secret);

impl SealingKey {
    /// Draws one. Fails only where the system has no random source.
    pub fn random() -> Result<Self, SealError> {
        Secret::random().map(Self).map_err(|_| SealError::Seal)
    }

    /// The key with these bytes; `None` unless they are 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Secret::from_slice(bytes).map(Self)
    }

    /// Its bytes, for its file and for a member that joins.
    pub fn expose(&self) -> &[u8; SECRET_BYTES] {
        self.0.expose()
    }

    /// Seals `plain` for `purpose`.
    pub fn seal(&self, plain: &[u8], purpose: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Seal)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend(nonce);
        let mut body = plain.to_vec();
        self.cipher(SealError::Seal)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound(purpose)),
                &mut body,
            )
            .map_err(|_| SealError::Seal)?;
        sealed.extend(body);
        Ok(sealed)
    }

    /// Opens what was sealed for `purpose`.
    pub fn open(&self, sealed: &[u8], purpose: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (&version, rest) = sealed.split_first().ok_or(SealError::Open)?;
        if version != VERSION {
            return Err(SealError::Version(version));
        }
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Open)?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .cipher(SealError::Open)?
            .open_in_place(nonce, Aad::from(bound(purpose)), &mut body)
            .map_err(|_| SealError::Open)?;
        Ok(Zeroizing::new(plain.to_vec()))
    }

    /// The secret that every member makes of this key for the same `parts` (HKDF, RFC 5869), and nobody else can.
    pub fn derive(&self, parts: &[&[u8]]) -> Result<Secret, SealError> {
        let mut about = Vec::new();
        for part in parts {
            // With its length before it, so that no two lists of parts are the same bytes.
            about.extend((part.len() as u64).to_be_bytes());
            about.extend_from_slice(part);
        }
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        let extracted = Salt::new(HKDF_SHA256, b"goproxy derived secret").extract(self.expose());
        let about = [about.as_slice()];
        let expanded = extracted.expand(&about, HKDF_SHA256).map_err(|_| SealError::Seal)?;
        expanded.fill(bytes.as_mut_slice()).map_err(|_| SealError::Seal)?;
        Secret::from_slice(bytes.as_slice()).ok_or(SealError::Seal)
    }

    fn cipher(&self, error: SealError) -> Result<LessSafeKey, SealError> {
        UnboundKey::new(&AES_256_GCM, self.expose()).map(LessSafeKey::new).map_err(|_| error)
    }
}

/// What is authenticated beside the sealed bytes.
fn bound(purpose: &[u8]) -> Vec<u8> {
    let mut bound = vec![VERSION];
    bound.extend(purpose);
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_and_the_purpose_open_it() {
        let key = SealingKey::random().unwrap();
        let sealed = key.seal(b"private key", b"authority 1").unwrap();
        assert_eq!(key.open(&sealed, b"authority 1").unwrap().as_slice(), b"private key");
        assert_eq!(key.open(&sealed, b"authority 2"), Err(SealError::Open));
        assert_eq!(SealingKey::random().unwrap().open(&sealed, b"authority 1"), Err(SealError::Open));
        assert_ne!(sealed, key.seal(b"private key", b"authority 1").unwrap(), "drawn anew each time");
        assert!(!sealed.windows(7).any(|window| window == b"private"));
    }

    #[test]
    fn what_is_derived_depends_on_the_key_and_on_each_part() {
        let key = SealingKey::random().unwrap();
        let of = |parts: &[&[u8]]| *key.derive(parts).unwrap().expose();
        assert_eq!(of(&[b"a", b"bc"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"a", b"bc"]), of(&[b"ab", b"c"]));
        assert_ne!(of(&[b"a"]), of(&[b"a", b""]));
        assert_ne!(of(&[b"a"]), *SealingKey::random().unwrap().derive(&[b"a"]).unwrap().expose());
        assert_ne!(of(&[]), *key.expose());
    }

    #[test]
    fn no_bit_of_it_can_be_changed_or_left_out() {
        let key = SealingKey::random().unwrap();
        let sealed = key.seal(b"x", b"").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&changed, b"").is_err(), "byte {at}");
            assert!(key.open(&sealed[..at], b"").is_err(), "up to {at}");
        }
        assert_eq!(key.open(&[9, 0], b""), Err(SealError::Version(9)));
        assert_eq!(key.open(b"", b""), Err(SealError::Open));
    }
}
