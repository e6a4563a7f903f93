//! Identity: the names and numbers by which members, nodes, places and states of the cluster are told apart.
//!
//! Invariant: each is parsed once and printed back as it was read, so that equal texts and equal values are the same thing.
//! Who hands ids out, and what they belong to, is not known here.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Bound of a name in bytes: that of a DNS label, so that a name can be a host name and stand in a certificate.
pub const LABEL_BYTES_MAX: usize = 63;

/// Bytes of an id that is drawn at random.
const DRAWN_BYTES: usize = 16;

/// Why a text is no name of a node, zone or datacenter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LabelError {
    /// No character at all.
    #[error("name is empty")]
    Empty,
    /// Longer than [`LABEL_BYTES_MAX`].
    #[error("name of {bytes} bytes is over the limit of {LABEL_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// Lower-case letters, digits and dashes are all there is.
    #[error("character {0:?} is not allowed in a name, only a to z, 0 to 9 and dashes")]
    Character(char),
    /// A dash first is read as an option by a command line, a dash last is no DNS label.
    #[error("name begins or ends with a dash")]
    OuterDash,
}

/// The one grammar of names.
fn check_label(text: &str) -> Result<(), LabelError> {
    if text.is_empty() {
        return Err(LabelError::Empty);
    }
    if text.len() > LABEL_BYTES_MAX {
        return Err(LabelError::TooLong { bytes: text.len() });
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(refused) = text.chars().find(|&c| !allowed(c)) {
        return Err(LabelError::Character(refused));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(LabelError::OuterDash);
    }
    Ok(())
}

/// Encodes a type as the text that it prints and reads.
macro_rules! as_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(<D::Error as serde::de::Error>::custom)
            }
        }
    };
}
pub(crate) use as_text;

/// Names of one grammar that must not be taken for one another.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts 1 to [`LABEL_BYTES_MAX`] of a to z, 0 to 9 and inner dashes.
            pub fn parse(text: &str) -> Result<Self, LabelError> {
                check_label(text)?;
                Ok(Self(text.into()))
            }

            /// The name as it is written.
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
            type Err = LabelError;

            fn from_str(text: &str) -> Result<Self, LabelError> {
                Self::parse(text)
            }
        }

        as_text!($name);
    )*};
}

labels! {
    /// The name of a node, unique in its cluster for as long as the node is in it. Cheap to clone.
    NodeName;
    /// What fails together: a rack, a room, an availability zone. Cheap to clone.
    Zone;
    /// A region with a cluster of its own. Cheap to clone.
    Datacenter;
    /// The name of a policy document. Cheap to clone.
    PolicyName;
    /// The name of a role within a policy document. Cheap to clone.
    RoleName;
    /// The name of an operator's credential. Cheap to clone.
    TokenName;
    /// What an alarm is about, such as `node-down`. Cheap to clone.
    AlarmCode;
    /// What a job does, such as `drain`. Cheap to clone.
    JobKind;
    /// The name of a label on a node. Cheap to clone.
    LabelKey;
}

/// Why a text is no number of the wanted kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NumberError {
    /// Decimal digits without sign and leading zeros are all there is, within 64 bits.
    #[error("not a number in plain decimal digits")]
    Decimal,
    /// The number has another range.
    #[error("{value} is not between {min} and {max}")]
    Range {
        /// The number met.
        value: u64,
        /// The least that is accepted.
        min: u64,
        /// The greatest that is accepted.
        max: u64,
    },
    /// A drawn id is 32 lower-case hexadecimal digits.
    #[error("not 32 lower-case hexadecimal digits")]
    Hexadecimal,
}

/// Reads decimal digits in their one spelling: no sign, no leading zeros.
pub(crate) fn parse_decimal(text: &str) -> Result<u64, NumberError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !plain {
        return Err(NumberError::Decimal);
    }
    text.parse().map_err(|_| NumberError::Decimal)
}

/// Counters that must not be taken for one another.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The counter with this value.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// Its value.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after it. The last one has none after it and stays: a million a second reach it in 500 000 years.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NumberError;

            fn from_str(text: &str) -> Result<Self, NumberError> {
                parse_decimal(text).map(Self)
            }
        }
    )*};
}

counters! {
    /// The number of a layout. Layouts of one cluster are numbered from 1 without gaps; 0 stands for none yet.
    Epoch;
    /// The number of a state of the replicated truth: the index of the log entry that made it.
    Revision;
    /// How often something was made anew: a policy document, an authority. From 1; 0 stands for none yet.
    Generation;
    /// How often a node was started since it was admitted. From 1; 0 stands for not yet.
    Incarnation;
    /// The number of an operator's credential, never given out twice.
    TokenId;
    /// The number of a job, never given out twice.
    JobId;
}

/// A control node's number in the Raft group. Never 0, which Raft uses for nobody, and never given out twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(NonZeroU64);

impl MemberId {
    /// The first member.
    pub const ONE: Self = Self(NonZeroU64::MIN);

    /// The member with this number; `None` for 0.
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The one after it. The last one has none after it and stays.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for MemberId {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        Self::new(parse_decimal(text)?).ok_or(NumberError::Range { value: 0, min: 1, max: u64::MAX })
    }
}

/// 16 bytes drawn at random, written as 32 hexadecimal digits.
macro_rules! drawn {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name([u8; DRAWN_BYTES]);

        impl $name {
            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; DRAWN_BYTES]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; DRAWN_BYTES] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl FromStr for $name {
            type Err = NumberError;

            fn from_str(text: &str) -> Result<Self, NumberError> {
                let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if text.len() != 2 * DRAWN_BYTES || !plain {
                    return Err(NumberError::Hexadecimal);
                }
                let value = u128::from_str_radix(text, 16).map_err(|_| NumberError::Hexadecimal)?;
                Ok(Self(value.to_be_bytes()))
            }
        }

        as_text!($name);
    )*};
}

drawn! {
    /// What tells one cluster from every other, also from the one that it was restored from. Its maker draws it at random.
    ClusterId;
    /// What tells the log of a control node from every other that a member with the same number could come with. Its maker draws
    /// it at random.
    LogId;
    /// What tells one proposal from every other while its answer is waited for. Its proposer draws it at random.
    RequestId;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_have_one_grammar() {
        for fine in ["a", "0", "node-1", "eu-central-1a", "a--b", &"x".repeat(LABEL_BYTES_MAX)] {
            assert_eq!(NodeName::parse(fine).unwrap().as_str(), fine);
            assert_eq!(Zone::parse(fine).unwrap().to_string(), fine);
        }
        let refused = |text: &str| Datacenter::parse(text).unwrap_err();
        assert_eq!(refused(""), LabelError::Empty);
        assert_eq!(refused(&"x".repeat(64)), LabelError::TooLong { bytes: 64 });
        assert_eq!((refused("-a"), refused("a-")), (LabelError::OuterDash, LabelError::OuterDash));
        for (text, character) in [("Node", 'N'), ("a.b", '.'), ("a b", ' '), ("a_b", '_'), ("ä", 'ä')] {
            assert_eq!(refused(text), LabelError::Character(character));
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!("7".parse(), Ok(Epoch::new(7)));
        assert_eq!("0".parse(), Ok(Revision::new(0)));
        assert_eq!(u64::MAX.to_string().parse(), Ok(Epoch::new(u64::MAX)));
        for text in ["", "+7", "-7", "07", "00", " 7", "7 ", "0x7", "18446744073709551616", "٧"] {
            assert_eq!(text.parse::<Epoch>(), Err(NumberError::Decimal), "{text:?}");
            assert_eq!(text.parse::<MemberId>(), Err(NumberError::Decimal), "{text:?}");
        }
        assert_eq!("0".parse::<MemberId>(), Err(NumberError::Range { value: 0, min: 1, max: u64::MAX }));
        for text in ["", "0", &"0".repeat(31), &"F".repeat(32), &format!("+{}", "0".repeat(31))] {
            assert_eq!(text.parse::<ClusterId>(), Err(NumberError::Hexadecimal), "{text:?}");
        }
        assert_eq!(Epoch::new(u64::MAX).next(), Epoch::new(u64::MAX));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(name in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", number: u64, bytes: [u8; 16]) {
            prop_assert_eq!(NodeName::parse(&name).unwrap().to_string(), name.clone());
            prop_assert_eq!(name.parse::<Datacenter>().unwrap().to_string(), name);
            prop_assert_eq!(Epoch::new(number).to_string().parse(), Ok(Epoch::new(number)));
            prop_assert_eq!(Revision::new(number).to_string().parse(), Ok(Revision::new(number)));
            if let Some(member) = MemberId::new(number) {
                prop_assert_eq!(member.to_string().parse(), Ok(member));
            }
            let id = ClusterId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn what_is_read_prints_back(text in "\\PC{0,70}|[0-9a-f]{30,33}|[0-9]{1,21}") {
            if let Ok(name) = NodeName::parse(&text) {
                prop_assert_eq!(name.to_string(), text.clone());
            }
            if let Ok(member) = text.parse::<MemberId>() {
                prop_assert_eq!(member.to_string(), text.clone());
            }
            if let Ok(id) = text.parse::<ClusterId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
