//! The bytes of a value: a version byte, then JSON without white space, its fields in the order of the type.
//!
//! Version 1 is the only one so far. A later one is read by code of its own that makes today's types, and its golden bytes stay.
//!
//! Invariant: decoding gives what encodes to the same bytes, or an error. Nothing that is read is trusted with more memory than
//! its own length.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Key, KeyError, Record};

/// Bound of a value in bytes. The largest is a layout with every node and name that there may be, 170 KiB.
pub const RECORD_BYTES_MAX: usize = 512 << 10;

/// The encoding that is written.
const VERSION: u8 = 1;

/// Why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The key is none.
    #[error("read the key of a record")]
    Key(#[from] KeyError),
    /// Longer than [`RECORD_BYTES_MAX`].
    #[error("record {key} of {bytes} bytes is over the limit of {RECORD_BYTES_MAX}")]
    TooLong {
        /// Where it lies.
        key: Key,
        /// The length met.
        bytes: usize,
    },
    /// No byte at all.
    #[error("record {key} is empty")]
    Empty {
        /// Where it lies.
        key: Key,
    },
    /// Written by a release that knows more.
    #[error("record {key} has encoding {version}, which is not known")]
    Version {
        /// Where it lies.
        key: Key,
        /// The version met.
        version: u8,
    },
    /// Damaged, or something else.
    #[error("read record {key}")]
    Json {
        /// Where it lies.
        key: Key,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It belongs under another key.
    #[error("record under {key} belongs under {found}")]
    Misplaced {
        /// Where it lies.
        key: Key,
        /// Where it says that it belongs.
        found: Key,
    },
    /// The record is one, but this is not its one encoding.
    #[error("record {key} is not in its one form")]
    Form {
        /// Where it lies.
        key: Key,
    },
}

impl Record {
    /// The bytes of its value.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Cluster(value) => encode(VERSION, value),
            Self::Counters(value) => encode(VERSION, value),
            Self::Member(value) => encode(VERSION, value),
            Self::Node(value) => encode(VERSION, value),
            Self::Sync(value) => encode(VERSION, value),
            Self::Transition(value) => encode(VERSION, value),
            Self::Layout(value) | Self::LayoutHistory(value) => encode(VERSION, value),
            Self::Policy(value) | Self::PolicyHistory(value) => encode(VERSION, value),
            Self::Token(value) => encode(VERSION, value),
            Self::Audit(value) => encode(VERSION, value),
            Self::Alarm(value) => encode(VERSION, value),
            Self::Job(value) => encode(VERSION, value),
            Self::Remembered(value) => encode(VERSION, value),
            Self::Authority(value) => encode(VERSION, value),
            Self::Mark(value) => encode(VERSION, value),
            Self::Binding(value) => encode(VERSION, value),
        }
    }

    /// Reads the bytes of a key and its value, of any version that there has been.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, RecordError> {
        let key = Key::decode(key)?;
        if value.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong { key, bytes: value.len() });
        }
        let Some((&version, json)) = value.split_first() else { return Err(RecordError::Empty { key }) };
        if version != VERSION {
            return Err(RecordError::Version { key, version });
        }
        let record = match Self::from_json(&key, json) {
            Ok(record) => record,
            Err(source) => return Err(RecordError::Json { key, source }),
        };
        let found = record.key();
        if found != key {
            return Err(RecordError::Misplaced { key, found });
        }
        if record.encode() != value {
            return Err(RecordError::Form { key });
        }
        Ok(record)
    }

    fn from_json(key: &Key, json: &[u8]) -> Result<Self, serde_json::Error> {
        fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
            serde_json::from_slice(json)
        }
        Ok(match key {
            Key::Cluster => Self::Cluster(read(json)?),
            Key::Counters => Self::Counters(read(json)?),
            Key::Member(_) => Self::Member(read(json)?),
            Key::Node(_) => Self::Node(read(json)?),
            Key::Sync(_) => Self::Sync(read(json)?),
            Key::Transition => Self::Transition(read(json)?),
            Key::Layout(_) => Self::Layout(read(json)?),
            Key::LayoutHistory(_) => Self::LayoutHistory(read(json)?),
            Key::Policy(_) => Self::Policy(read(json)?),
            Key::PolicyHistory(..) => Self::PolicyHistory(read(json)?),
            Key::Token(_) => Self::Token(read(json)?),
            Key::Audit(_) => Self::Audit(read(json)?),
            Key::Alarm(..) => Self::Alarm(read(json)?),
            Key::Job(_) => Self::Job(read(json)?),
            Key::Remembered(_) => Self::Remembered(read(json)?),
            Key::Authority(_) => Self::Authority(read(json)?),
            Key::Mark(..) => Self::Mark(read(json)?),
            Key::Binding(_) => Self::Binding(read(json)?),
        })
    }
}

/// A version byte and JSON.
pub(crate) fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut out = vec![version];
    #[expect(
        clippy::expect_used,
        reason = "writing to memory does not fail, and all maps have texts for keys"
    )]
    serde_json::to_writer(&mut out, value).expect("a record encodes");
    out
}
