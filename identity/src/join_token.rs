//! The text that lets one new process in, once: `gpj1.` and base64url of what it needs to know before it trusts anybody.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cluster::{ClusterId, NodeName};

use crate::certificate::Fingerprint;
use crate::secret::{SECRET_BYTES, Secret};

/// Kind and version of the token, so that it is recognised wherever it turns up.
const PREFIX: &str = "gpj1.";

/// Bytes of a text that is looked at; no token has more.
const TEXT_BYTES_MAX: usize = 512;

/// What the token's holder becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinKind {
    /// A data node.
    Node,
    /// A control node.
    Member,
}

impl JoinKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Node => 1,
            Self::Member => 2,
        }
    }
}

/// Why a text is no join token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinTokenError {
    /// It begins otherwise.
    #[error("join token does not begin with {PREFIX:?}")]
    Prefix,
    /// A part of it is missing or changed: it was not copied whole.
    #[error("join token is not whole")]
    Form,
}

/// What a new process joins with. `Debug` shows neither its secret nor its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinToken {
    /// The cluster to join.
    pub cluster: ClusterId,
    /// As what.
    pub kind: JoinKind,
    /// Under which name.
    pub name: NodeName,
    /// What proves that it was let in; the cluster knows its hash.
    pub secret: Secret,
    /// The key of the authority that the member called has to show.
    pub fingerprint: Fingerprint,
}

impl JoinToken {
    /// The text, to be shown once.
    pub fn text(&self) -> String {
        let name = self.name.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(TEXT_BYTES_MAX);
        bytes.extend(self.cluster.as_bytes());
        bytes.push(self.kind.byte());
        bytes.push(name.len() as u8); // a label has 63 at most
        bytes.extend(name);
        bytes.extend(self.secret.expose());
        bytes.extend(self.fingerprint.as_bytes());
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let text = text.strip_prefix(PREFIX).ok_or(JoinTokenError::Prefix)?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(JoinTokenError::Form);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| JoinTokenError::Form)?;
        parse(&bytes).ok_or(JoinTokenError::Form)
    }
}

fn parse(bytes: &[u8]) -> Option<JoinToken> {
    let (cluster, rest) = bytes.split_first_chunk::<16>()?;
    let (&[kind, name_bytes], rest) = rest.split_first_chunk::<2>()?;
    let kind = [JoinKind::Node, JoinKind::Member].into_iter().find(|known| known.byte() == kind)?;
    let (name, rest) = rest.split_at_checked(usize::from(name_bytes))?;
    let (secret, rest) = rest.split_first_chunk::<SECRET_BYTES>()?;
    let fingerprint: [u8; 32] = rest.try_into().ok()?;
    Some(JoinToken {
        cluster: ClusterId::from_bytes(*cluster),
        kind,
        name: NodeName::parse(std::str::from_utf8(name).ok()?).ok()?,
        secret: Secret::from_slice(secret)?,
        fingerprint: Fingerprint::from_bytes(fingerprint),
    })
}

impl fmt::Display for JoinKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Node => "node",
            Self::Member => "member",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(name: &str, kind: JoinKind) -> JoinToken {
        JoinToken {
            cluster: ClusterId::from_bytes([1; 16]),
            kind,
            name: name.parse().unwrap(),
            secret: Secret::from_slice(&[2; 32]).unwrap(),
            fingerprint: Fingerprint::from_bytes([3; 32]),
        }
    }

    #[test]
    fn the_text_stays_as_it_is() {
        let text = token("data-1", JoinKind::Node).text();
        assert_eq!(
            text,
            "gpj1.AQEBAQEBAQEBAQEBAQEBAQEGZGF0YS0xAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"
        );
        assert_eq!(text.parse(), Ok(token("data-1", JoinKind::Node)));
    }

    #[test]
    fn half_a_token_is_none() {
        let text = token("control-2", JoinKind::Member).text();
        for end in 0..text.len() {
            assert!(text[..end].parse::<JoinToken>().is_err(), "{end}");
        }
        assert_eq!(format!("{text}A").parse::<JoinToken>(), Err(JoinTokenError::Form));
        assert_eq!(format!(" {text}").parse::<JoinToken>(), Err(JoinTokenError::Prefix));
        assert_eq!(text.replace("gpj1", "gpj2").parse::<JoinToken>(), Err(JoinTokenError::Prefix));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", token("data-1", JoinKind::Node));
        assert!(
            shown.contains("data-1") && shown.contains("[redacted]") && !shown.contains("2, 2"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn tokens_read_back(name in "[a-z0-9]{1,63}", member: bool) {
            let kind = if member { JoinKind::Member } else { JoinKind::Node };
            let token = token(&name, kind);
            prop_assert_eq!(token.text().parse(), Ok(token));
        }

        #[test]
        fn no_text_is_too_much(text in "\\PC{0,80}|gpj1\\.[A-Za-z0-9_-]{0,200}") {
            if let Ok(token) = text.parse::<JoinToken>() {
                prop_assert_eq!(token.text(), text);
            }
        }
    }
}
