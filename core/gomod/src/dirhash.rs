//! The `h1:` hash of a file tree, as go.sum and the checksum database carry it.
//!
//! Owns the hash and its text form; knows nothing of zips or of how contents are read. Invariant: an
//! [`H1`] is always 32 bytes, so its text is always `h1:` and 44 base64 characters.
//!
//! Source: golang.org/x/mod/sumdb/dirhash, `Hash1`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use thiserror::Error;

const PREFIX: &str = "h1:";

/// The `h1:` hash of a set of files: SHA-256 over one line per file, sorted by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct H1([u8; 32]);

impl H1 {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes behind the base64.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses `h1:` followed by the padded standard base64 of 32 bytes, and nothing else.
    pub fn parse(text: &str) -> Result<Self, H1Error> {
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(H1Error::Algorithm);
        };
        // 44 characters are 32 bytes; longer input is not even decoded.
        if encoded.len() != 44 {
            return Err(H1Error::Encoding);
        }
        let bytes = BASE64.decode(encoded).map_err(|_| H1Error::Encoding)?;
        let bytes = bytes.try_into().map_err(|_| H1Error::Encoding)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for H1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for H1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for H1 {
    type Err = H1Error;

    fn from_str(text: &str) -> Result<Self, H1Error> {
        Self::parse(text)
    }
}

/// Why a text is no `h1:` hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum H1Error {
    /// Another algorithm, or none: such a go.sum line is to be passed over, not refused.
    #[error("hash does not start with h1:")]
    Algorithm,
    /// The part after `h1:` is not the base64 of 32 bytes.
    #[error("hash is not the base64 of 32 bytes")]
    Encoding,
}

/// The hash of a set of files given as name and SHA-256 of the content, in any order.
///
/// Names must not hold a newline: two different sets could then have one hash. Both callers (zip rules,
/// `go.mod`) exclude it, so it is not an error here.
pub fn hash1<'a>(files: impl IntoIterator<Item = (&'a str, [u8; 32])>) -> H1 {
    let mut files: Vec<(&str, [u8; 32])> = files.into_iter().collect();
    files.sort_by(|a, b| a.0.cmp(b.0));
    let mut hasher = Sha256::new();
    let mut line = Vec::with_capacity(256);
    for (name, digest) in files {
        line.clear();
        for byte in digest {
            line.extend([byte >> 4, byte & 0xf].map(hex_digit));
        }
        line.extend_from_slice(b"  ");
        line.extend_from_slice(name.as_bytes());
        line.push(b'\n');
        hasher.update(&line);
    }
    H1(hasher.finalize().into())
}

/// The hash that go.sum carries on its `/go.mod` lines: [`hash1`] of the one file `go.mod`.
pub fn go_mod_h1(content: &[u8]) -> H1 {
    hash1([("go.mod", Sha256::digest(content).into())])
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(content: &[u8]) -> [u8; 32] {
        Sha256::digest(content).into()
    }

    #[test]
    fn order_of_the_files_does_not_matter() {
        let forward = hash1([("abc", sha(b"data for abc")), ("xyz", sha(b"data for xyz"))]);
        let backward = hash1([("xyz", sha(b"data for xyz")), ("abc", sha(b"data for abc"))]);
        assert_eq!(forward, backward);
        // sha256sum of the two lines, computed with coreutils.
        assert_eq!(forward.to_string(), "h1:EP6WfDoQTSk9klnxcjriWJOGztueJUywHNmWeq+efB8=");
    }

    #[test]
    fn no_files_hash_to_the_empty_sha256() {
        assert_eq!(hash1([]).to_string(), "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn go_mod_of_a_real_module() {
        // go.sum: rsc.io/quote v1.5.2/go.mod
        let go_mod = b"module \"rsc.io/quote\"\n\nrequire \"rsc.io/sampler\" v1.3.0\n";
        assert_eq!(go_mod_h1(go_mod).to_string(), "h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=");
    }

    #[test]
    fn text_round_trips_and_odd_texts_are_refused() {
        let hash = go_mod_h1(b"module m\n");
        assert_eq!(H1::parse(&hash.to_string()), Ok(hash));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let text = hash.to_string();
        assert_eq!(H1::parse(&text[1..]), Err(H1Error::Algorithm));
        assert_eq!(H1::parse(&text.replace("h1:", "h2:")), Err(H1Error::Algorithm));
        assert_eq!(H1::parse(&text[..text.len() - 1]), Err(H1Error::Encoding));
        assert_eq!(H1::parse(&format!("{text}=")), Err(H1Error::Encoding));
        assert_eq!(H1::parse("h1:!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!="), Err(H1Error::Encoding));
        // 33 bytes also take 44 characters, but without padding.
        assert_eq!(H1::parse(&format!("h1:{}", BASE64.encode([7; 33]))), Err(H1Error::Encoding));
    }
}
