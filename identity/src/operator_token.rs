//! The text that operators and programs show: `gpt1.`, the token's id, a dot, and its secret in base64url.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::error::Unspecified;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::secret::Secret;

/// Kind and version of the token, so that it is recognised wherever it turns up.
const PREFIX: &str = "gpt1.";

/// Bytes of an id, half as many as it has digits.
const ID_BYTES: usize = 8;

/// A token's id: by it the token is found, listed and revoked. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; ID_BYTES]);

impl TokenId {
    /// Draws one. Fails only where the system has no random source.
    pub fn random() -> Result<Self, Unspecified> {
        let mut bytes = [0; ID_BYTES];
        SystemRandom::new().fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = OperatorTokenError;

    fn from_str(text: &str) -> Result<Self, OperatorTokenError> {
        let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 2 * ID_BYTES || !plain {
            return Err(OperatorTokenError::Form);
        }
        let value = u64::from_str_radix(text, 16).map_err(|_| OperatorTokenError::Form)?;
        Ok(Self(value.to_be_bytes()))
    }
}

/// Why a text is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OperatorTokenError {
    /// It begins otherwise.
    #[error("token does not begin with {PREFIX:?}")]
    Prefix,
    /// A part of it is missing or changed.
    #[error("token is not whole")]
    Form,
}

/// An operator's or a program's token. `Debug` does not show its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperatorToken {
    /// By what it is found.
    pub id: TokenId,
    /// What proves it; the cluster knows its hash.
    pub secret: Secret,
}

impl OperatorToken {
    /// Draws one. Fails only where the system has no random source.
    pub fn random() -> Result<Self, Unspecified> {
        Ok(Self { id: TokenId::random()?, secret: Secret::random()? })
    }

    /// The one with this secret; its id follows from it.
    pub fn of(secret: Secret) -> Self {
        let mut about = b"goproxy token id".to_vec();
        about.extend_from_slice(secret.expose());
        let mut id = [0; ID_BYTES];
        for (byte, hashed) in id.iter_mut().zip(digest(&SHA256, &about).as_ref()) {
            *byte = *hashed;
        }
        Self { id: TokenId(id), secret }
    }

    /// The text, to be shown once.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}.{}", self.id, URL_SAFE_NO_PAD.encode(self.secret.expose()))
    }
}

impl FromStr for OperatorToken {
    type Err = OperatorTokenError;

    fn from_str(text: &str) -> Result<Self, OperatorTokenError> {
        let text = text.strip_prefix(PREFIX).ok_or(OperatorTokenError::Prefix)?;
        let (id, secret) = text.split_once('.').ok_or(OperatorTokenError::Form)?;
        // 32 bytes in base64 without padding.
        if secret.len() != 43 {
            return Err(OperatorTokenError::Form);
        }
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| OperatorTokenError::Form)?;
        let secret = Secret::from_slice(&secret).ok_or(OperatorTokenError::Form)?;
        Ok(Self { id: id.parse()?, secret })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_stays_as_it_is() {
        let id = "00000000000000ff".parse().unwrap();
        let token = OperatorToken { id, secret: Secret::from_slice(&[2; 32]).unwrap() };
        assert_eq!(token.text(), "gpt1.00000000000000ff.AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI");
        assert_eq!(format!("{token:?}"), "OperatorToken { id: 00000000000000ff, secret: [redacted] }");
    }

    #[test]
    fn half_a_token_is_none() {
        let token = OperatorToken::random().unwrap();
        let text = token.text();
        assert_eq!(text.parse(), Ok(token.clone()));
        for end in 0..text.len() {
            assert!(text[..end].parse::<OperatorToken>().is_err(), "{end}");
        }
        for wrong in
            [format!("{text}A"), format!("{text}\n"), text.to_uppercase(), text.replace("gpt1", "gpj1")]
        {
            assert!(wrong.parse::<OperatorToken>().is_err(), "{wrong:?}");
        }
        let other = OperatorToken::random().unwrap();
        assert!(other.id != token.id && other.secret != token.secret);
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC{0,80}|gpt1\\.[0-9a-f]{15,17}\\.[A-Za-z0-9_-]{42,44}") {
            if let Ok(token) = text.parse::<OperatorToken>() {
                prop_assert_eq!(token.text(), text);
            }
        }
    }
}
