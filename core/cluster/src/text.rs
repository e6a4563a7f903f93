//! Texts and bytes that commands bring along: remarks, addresses, keys, serial numbers, hashes.
//!
//! Invariant: each is parsed once, at the edge, and bounded. Whatever can be built can be encoded and read back, so that no
//! proposal that a member could make stops another member.

use core::net::SocketAddr;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::ids::as_text;

/// Bound of a remark in bytes: a reason, a message, a note.
pub const NOTE_BYTES_MAX: usize = 500;
/// Bound of a label's value, a principal's or an operator's name, or an alarm's subject in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Bound of an address in bytes: a DNS name of full length and a port.
pub const ADDRESS_BYTES_MAX: usize = 259;
/// Bound of an idempotency key in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// Bound of a certificate's serial number in hexadecimal digits (RFC 5280: 20 octets).
pub const SERIAL_DIGITS_MAX: usize = 40;

/// Why a text is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TextError {
    /// No character at all.
    #[error("text is empty")]
    Empty,
    /// Longer than its bound.
    #[error("text of {bytes} bytes is over the limit of {max}")]
    TooLong {
        /// The length met.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// A control character, or one that the kind of text does not have.
    #[error("character {0:?} is not allowed here")]
    Character(char),
    /// An address without a host, or with a port that is none.
    #[error("not an address of the form HOST:PORT")]
    Address,
    /// Hexadecimal digits in lower case are all there is, in the number that is wanted.
    #[error("not {digits} lower-case hexadecimal digits")]
    Hexadecimal {
        /// How many digits are wanted, as a text.
        digits: &'static str,
    },
}

fn check_length(text: &str, max: usize) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if text.len() > max {
        return Err(TextError::TooLong { bytes: text.len(), max });
    }
    Ok(())
}

fn check_characters(text: &str, allowed: impl Fn(char) -> bool) -> Result<(), TextError> {
    text.chars().find(|&c| !allowed(c)).map_or(Ok(()), |refused| Err(TextError::Character(refused)))
}

/// Texts of different grammars, each of which prints as it was read.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads the text.
            pub fn parse(text: &str) -> Result<Self, TextError> {
                let check: fn(&str) -> Result<(), TextError> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::parse(text)
            }
        }

        as_text!($name);
    )*};
}

texts! {
    /// A remark of an operator or about a state: 1 to [`NOTE_BYTES_MAX`] bytes in one line. Cheap to clone.
    Note, |text| {
        check_length(text, NOTE_BYTES_MAX)?;
        check_characters(text, |c| !c.is_control())
    };
    /// The name of somebody or something outside the cluster's own grammar: 1 to [`NAME_BYTES_MAX`] bytes without white space.
    Name, |text| {
        check_length(text, NAME_BYTES_MAX)?;
        check_characters(text, |c| !c.is_control() && !c.is_whitespace())
    };
    /// What a client gives a request so that asking twice does once: printable ASCII without spaces.
    IdempotencyKey, |text| {
        check_length(text, IDEMPOTENCY_KEY_BYTES_MAX)?;
        check_characters(text, |c| c.is_ascii_graphic())
    };
    /// Where something listens, as others reach it: `HOST:PORT`, the host a name, an IPv4 address or an IPv6 address in brackets.
    Address, check_address;
    /// A certificate's serial number, in lower-case hexadecimal digits without leading zeros.
    Serial, |text| {
        let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.is_empty() || text.len() > SERIAL_DIGITS_MAX || !plain || text.starts_with('0') {
            return Err(TextError::Hexadecimal { digits: "1 to 40" });
        }
        Ok(())
    };
}

impl Note {
    /// A remark of whatever text: what is over the bound is cut off, control characters become spaces. `None` if nothing is left.
    pub fn lossy(text: &str) -> Option<Self> {
        let mut kept: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        kept.truncate(kept.floor_char_boundary(NOTE_BYTES_MAX));
        Self::parse(&kept).ok()
    }
}

impl Address {
    /// Whether only the machine itself reaches it: a loopback address, or `localhost`. Of other names nobody is asked what they stand for.
    pub fn is_loopback(&self) -> bool {
        match self.socket() {
            Some(socket) => socket.ip().to_canonical().is_loopback(),
            None => self.0.rsplit_once(':').is_some_and(|(host, _)| host.eq_ignore_ascii_case("localhost")),
        }
    }

    /// Whether its host is an IPv6 address.
    pub fn is_ipv6(&self) -> bool {
        self.socket().is_some_and(|socket| socket.is_ipv6())
    }

    /// It as a socket; `None` where the host is a name.
    fn socket(&self) -> Option<SocketAddr> {
        self.0.parse().ok()
    }
}

fn check_address(text: &str) -> Result<(), TextError> {
    check_length(text, ADDRESS_BYTES_MAX)?;
    let (host, port) = text.rsplit_once(':').ok_or(TextError::Address)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(address) => check_characters(address, |c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'))?,
        None => check_characters(host, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))?,
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    let number = port.parse::<u16>().is_ok_and(|port| port > 0);
    let host = bracketed.unwrap_or(host);
    if host.is_empty() || !digits || !number { Err(TextError::Address) } else { Ok(()) }
}

/// A SHA-256 hash, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of something.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether two are equal, in a time that does not tell where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::Hexadecimal { digits: "64" };
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let digits: Vec<u8> = text.bytes().map(digit).collect::<Option<_>>().ok_or_else(wrong)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        let bytes = bytes.try_into().map_err(|_| wrong())?;
        if rest.is_empty() { Ok(Self(bytes)) } else { Err(wrong()) }
    }
}

as_text!(Hash);

/// Bytes of somebody else's making, such as a certificate; written in base64. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(Arc<[u8]>);

impl Blob {
    /// Takes bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    /// Its size only: it may be a sealed key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for fine in ["a:1", "data-1.example.com:65535", "10.0.0.1:8083", "[fd00::1]:8083", "a_b:80"] {
            assert_eq!(Address::parse(fine).unwrap().as_str(), fine);
        }
        for bad in [
            ":80",
            "a",
            "a:",
            "a:0",
            "a:080",
            "a:+80",
            "a:65536",
            "[]:80",
            "fd00::1:80",
            "a b:80",
            "a/b:80",
            "http://a:80",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        assert!(Address::parse(&format!("{}:80", "a".repeat(ADDRESS_BYTES_MAX))).is_err());
    }

    #[test]
    fn loopback_is_told_by_the_address_alone() {
        let address = |text: &str| Address::parse(text).unwrap();
        for here in ["127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "LocalHost:1"] {
            assert!(address(here).is_loopback(), "{here}");
        }
        for elsewhere in ["10.0.0.1:1", "0.0.0.0:1", "[fd00::1]:1", "data-1:1", "localhost.example.com:1"] {
            assert!(!address(elsewhere).is_loopback(), "{elsewhere}");
        }
        assert!(address("[fd00::1]:1").is_ipv6());
        assert!(!address("10.0.0.1:1").is_ipv6() && !address("data-1:1").is_ipv6());
    }

    #[test]
    fn texts_are_bounded_and_in_one_line() {
        assert_eq!(Note::parse(""), Err(TextError::Empty));
        assert_eq!(Note::parse("a\nb"), Err(TextError::Character('\n')));
        assert!(Note::parse(&"ä".repeat(251)).is_err() && Note::parse(&"ä".repeat(250)).is_ok());
        assert_eq!(Note::lossy(&"ä\t".repeat(300)).unwrap().as_str(), "ä ".repeat(167).get(..500).unwrap());
        assert_eq!(Note::lossy(""), None);
        assert_eq!(Name::parse("a b"), Err(TextError::Character(' ')));
        assert!(IdempotencyKey::parse("k!~").is_ok() && IdempotencyKey::parse("ä").is_err());
        assert!(Serial::parse("0a").is_err() && Serial::parse("A").is_err() && Serial::parse("a0").is_ok());
    }

    #[test]
    fn hashes_are_compared_whole() {
        let hash = Hash::of(b"abc");
        assert!(hash.to_string().starts_with("ba7816bf") && hash.matches(&hash.to_string().parse().unwrap()));
        for at in [0, 31] {
            let mut bytes = *hash.as_bytes();
            bytes[at] ^= 1;
            assert!(!hash.matches(&Hash::from_bytes(bytes)));
        }
        for bad in ["", "ba", &"A".repeat(64), &"a".repeat(63), &"a".repeat(66)] {
            assert!(bad.parse::<Hash>().is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_read_prints_back(text in "\\PC{0,40}|[a-z0-9.\\[\\]:-]{1,30}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(address.to_string(), text.clone());
            }
            if let Ok(note) = Note::parse(&text) {
                prop_assert_eq!(note.to_string(), text.clone());
            }
            if let Ok(name) = Name::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn bytes_read_back(bytes: Vec<u8>) {
            let blob = Blob::new(&bytes);
            let text = serde_json::to_string(&blob).unwrap();
            prop_assert_eq!(serde_json::from_str::<Blob>(&text).unwrap(), blob);
        }
    }
}
