//! Keys: where a record lies. Their bytes are a table's number and what tells its records apart, so that records of one table lie
//! together and in the order of their ids.
//!
//! Invariant: keys in order have bytes in order, and one key has one spelling. A table's number never changes its meaning.

use std::fmt;

use super::mark::{MARKED_BYTES_MAX, MarkKind, Marked, MarkedError};
use crate::ids::{
    AlarmCode, Epoch, Generation, JobId, LabelError, MemberId, NodeName, PolicyName, Revision, TokenId,
};
use crate::text::{IdempotencyKey, Name, TextError};

/// Bound of a key in bytes: what is said of a version.
pub const KEY_BYTES_MAX: usize = 2 + MARKED_BYTES_MAX;

/// Ends a name that something follows; no name has it.
const END: u8 = 0;

/// Where a record lies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// [`super::Cluster`]
    Cluster,
    /// [`super::Counters`]
    Counters,
    /// [`super::Member`]
    Member(MemberId),
    /// [`super::Node`]
    Node(NodeName),
    /// [`super::Sync`]
    Sync(NodeName),
    /// [`super::TransitionRecord`]
    Transition,
    /// [`super::LayoutRecord`] of a layout in force.
    Layout(Epoch),
    /// [`super::LayoutRecord`] of one that was.
    LayoutHistory(Epoch),
    /// [`super::PolicyRecord`] in force.
    Policy(PolicyName),
    /// [`super::PolicyRecord`] that was.
    PolicyHistory(PolicyName, Generation),
    /// [`super::Token`]
    Token(TokenId),
    /// [`super::AuditEntry`]
    Audit(Revision),
    /// [`super::Alarm`]
    Alarm(AlarmCode, Name),
    /// [`super::Job`]
    Job(JobId),
    /// [`super::Remembered`]
    Remembered(IdempotencyKey),
    /// [`super::Authority`]
    Authority(Generation),
    /// [`super::Mark`]
    Mark(MarkKind, Marked),
    /// [`super::Binding`]
    Binding(Marked),
}

/// Why bytes are no key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Longer than [`KEY_BYTES_MAX`].
    #[error("key of {bytes} bytes is over the limit of {KEY_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// No table has this number, or none yet.
    #[error("key is of table {0}, which is not known")]
    Table(u8),
    /// What follows the table's number is too short or too long.
    #[error("key has a bad length")]
    Length,
    /// What follows is no text.
    #[error("key is not in UTF-8")]
    Utf8,
    /// A member without a number.
    #[error("key is of member 0")]
    Nobody,
    /// A bad name.
    #[error("key has a bad name")]
    Label(#[from] LabelError),
    /// A bad text.
    #[error("key has a bad text")]
    Text(#[from] TextError),
    /// Nothing that could be said has this number.
    #[error("key is of mark {0}, which is not known")]
    MarkKind(u8),
    /// A mark of nothing.
    #[error("key has a mark of no module")]
    Marked(#[from] MarkedError),
}

impl Key {
    /// The number of its table: the first byte.
    pub const fn table(&self) -> u8 {
        match self {
            Self::Cluster => 1,
            Self::Counters => 2,
            Self::Member(_) => 3,
            Self::Node(_) => 4,
            Self::Sync(_) => 5,
            Self::Transition => 6,
            Self::Layout(_) => 7,
            Self::LayoutHistory(_) => 8,
            Self::Policy(_) => 9,
            Self::PolicyHistory(..) => 10,
            Self::Token(_) => 11,
            Self::Audit(_) => 12,
            Self::Alarm(..) => 13,
            Self::Job(_) => 14,
            Self::Remembered(_) => 15,
            Self::Authority(_) => 16,
            Self::Mark(..) => 17,
            Self::Binding(_) => 18,
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.table()];
        match self {
            Self::Cluster | Self::Counters | Self::Transition => {}
            Self::Member(id) => out.extend(id.get().to_be_bytes()),
            Self::Node(name) | Self::Sync(name) => out.extend(name.as_str().bytes()),
            Self::Layout(epoch) | Self::LayoutHistory(epoch) => out.extend(epoch.get().to_be_bytes()),
            Self::Policy(name) => out.extend(name.as_str().bytes()),
            Self::PolicyHistory(name, generation) => {
                out.extend(name.as_str().bytes());
                out.push(END);
                out.extend(generation.get().to_be_bytes());
            }
            Self::Token(id) => out.extend(id.get().to_be_bytes()),
            Self::Audit(revision) => out.extend(revision.get().to_be_bytes()),
            Self::Alarm(code, subject) => {
                out.extend(code.as_str().bytes());
                out.push(END);
                out.extend(subject.as_str().bytes());
            }
            Self::Job(id) => out.extend(id.get().to_be_bytes()),
            Self::Remembered(key) => out.extend(key.as_str().bytes()),
            Self::Authority(generation) => out.extend(generation.get().to_be_bytes()),
            Self::Mark(kind, about) => {
                out.push(kind.number());
                out.extend(about.as_str().bytes());
            }
            Self::Binding(version) => out.extend(version.as_str().bytes()),
        }
        out
    }

    /// Reads bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { bytes: bytes.len() });
        }
        let (&table, rest) = bytes.split_first().ok_or(KeyError::Length)?;
        let singleton = |key| if rest.is_empty() { Ok(key) } else { Err(KeyError::Length) };
        Ok(match table {
            1 => singleton(Self::Cluster)?,
            2 => singleton(Self::Counters)?,
            3 => Self::Member(MemberId::new(number(rest)?).ok_or(KeyError::Nobody)?),
            4 => Self::Node(NodeName::parse(text(rest)?)?),
            5 => Self::Sync(NodeName::parse(text(rest)?)?),
            6 => singleton(Self::Transition)?,
            7 => Self::Layout(Epoch::new(number(rest)?)),
            8 => Self::LayoutHistory(Epoch::new(number(rest)?)),
            9 => Self::Policy(PolicyName::parse(text(rest)?)?),
            10 => {
                let (name, generation) = ended(rest)?;
                Self::PolicyHistory(PolicyName::parse(name)?, Generation::new(number(generation)?))
            }
            11 => Self::Token(TokenId::new(number(rest)?)),
            12 => Self::Audit(Revision::new(number(rest)?)),
            13 => {
                let (code, subject) = ended(rest)?;
                Self::Alarm(AlarmCode::parse(code)?, Name::parse(text(subject)?)?)
            }
            14 => Self::Job(JobId::new(number(rest)?)),
            15 => Self::Remembered(IdempotencyKey::parse(text(rest)?)?),
            16 => Self::Authority(Generation::new(number(rest)?)),
            17 => {
                let (&kind, about) = rest.split_first().ok_or(KeyError::Length)?;
                let kind = MarkKind::of_number(kind).ok_or(KeyError::MarkKind(kind))?;
                Self::Mark(kind, Marked::parse(text(about)?)?)
            }
            18 => Self::Binding(Marked::parse(text(rest)?)?),
            unknown => return Err(KeyError::Table(unknown)),
        })
    }
}

/// The key as logs and errors show it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Counters => f.write_str("counters"),
            Self::Member(id) => write!(f, "member/{id}"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Sync(name) => write!(f, "sync/{name}"),
            Self::Transition => f.write_str("transition"),
            Self::Layout(epoch) => write!(f, "layout/{epoch}"),
            Self::LayoutHistory(epoch) => write!(f, "layout-history/{epoch}"),
            Self::Policy(name) => write!(f, "policy/{name}"),
            Self::PolicyHistory(name, generation) => write!(f, "policy-history/{name}/{generation}"),
            Self::Token(id) => write!(f, "token/{id}"),
            Self::Audit(revision) => write!(f, "audit/{revision}"),
            Self::Alarm(code, subject) => write!(f, "alarm/{code}/{subject}"),
            Self::Job(id) => write!(f, "job/{id}"),
            Self::Remembered(key) => write!(f, "remembered/{key}"),
            Self::Authority(generation) => write!(f, "authority/{generation}"),
            Self::Mark(kind, about) => write!(f, "mark/{}/{about}", kind.name()),
            Self::Binding(version) => write!(f, "binding/{version}"),
        }
    }
}

fn number(bytes: &[u8]) -> Result<u64, KeyError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| KeyError::Length)
}

fn text(bytes: &[u8]) -> Result<&str, KeyError> {
    std::str::from_utf8(bytes).map_err(|_| KeyError::Utf8)
}

/// A name and what follows its end.
fn ended(bytes: &[u8]) -> Result<(&str, &[u8]), KeyError> {
    let end = bytes.iter().position(|&byte| byte == END).ok_or(KeyError::Length)?;
    let (name, rest) = bytes.split_at(end);
    Ok((text(name)?, rest.get(1..).unwrap_or_default()))
}
