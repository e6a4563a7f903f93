//! Every value of the store: a format byte, then `postcard`. Keys are in `keys`.
//!
//! Each kind of value has its own row of formats; a new one gets the next byte, and decoding turns older ones
//! into today's types. Invariants: decoding never panics and never allocates more than the value's own length;
//! trailing bytes, unknown formats and numbers out of range are errors, never guesses; bodies are slices of
//! the value that was read, not copies.

use bytes::Bytes;
use gomod::H1;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::keys::{QueueId, QueueKey};
use super::types::{BlobId, CachedAnswer, Class, Scope, Verified, VersionRecord, ZipManifest};

/// Why a stored value is not one.
#[derive(Debug, Error)]
pub(super) enum DecodeError {
    /// No bytes at all.
    #[error("empty value")]
    Empty,
    /// Written by a newer program, or not a value of this kind.
    #[error("unknown format {0}")]
    Format(u8),
    /// The bytes do not fit the format.
    #[error("malformed value")]
    Malformed(#[source] postcard::Error),
    /// Bytes after the value's end.
    #[error("{0} bytes after the value")]
    Trailing(usize),
    /// A number that stands for nothing.
    #[error("{what} {number} is unknown")]
    Unknown { what: &'static str, number: u8 },
}

/// Manifest of a blob, found by its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlobManifest {
    /// Where the chunks are.
    pub(super) blob: BlobId,
    /// Length in bytes.
    pub(super) size: u64,
    /// Its place in the eviction queues; none when it must stay.
    pub(super) place: Option<Place>,
}

/// A place in the eviction queues; with the blob it makes a [`QueueKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The queue.
    pub(super) queue: QueueId,
    /// Position in it.
    pub(super) order: u64,
}

impl Place {
    /// The key of `blob` at this place.
    pub(super) fn key(self, blob: BlobId) -> QueueKey {
        QueueKey { queue: self.queue, order: self.order, blob }
    }
}

/// Why a blob has a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transient {
    /// Its chunks are being written; nothing names it yet.
    Writing,
    /// Nothing names it any more; chunks are deleted when the last reader is gone.
    Doomed {
        /// How many there are.
        chunks: u32,
    },
}

/// When a version was last asked for, to the hour, µs since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Anything of the version.
    pub any_us: i64,
    /// Its zip; 0 for never.
    pub zip_us: i64,
}

/// What a quarantine record holds beside its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QuarantineValue {
    /// What was dropped.
    pub(super) scope: Scope,
    /// Why.
    pub(super) reason: String,
    /// SHA-256 and size of the zip.
    pub(super) zip: Option<([u8; 32], u64)>,
}

// === impl formats ===

/// The first format of each kind of value.
const FORMAT_1: u8 = 1;

/// Bytes that borrow from the value, written with one length and one copy.
#[derive(Clone, Copy)]
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Raw<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(bytes))
            }
            fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Raw<'de>, E> {
                Err(E::custom("bytes are not borrowed"))
            }
        }
        deserializer.deserialize_bytes(Borrowed)
    }
}

#[derive(Serialize, Deserialize)]
struct Record1<'a> {
    #[serde(borrow)]
    info: Option<Raw<'a>>,
    go_mod: Option<Raw<'a>>,
    go_mod_h1: Option<[u8; 32]>,
    zip: Option<Zip1>,
    zip_h1: Option<[u8; 32]>,
    class: u8,
    verified: u8,
    origin: &'a str,
    first_seen_us: i64,
    held_us: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Zip1 {
    blob: u64,
    size: u64,
    sha256: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Blob1 {
    blob: u64,
    size: u64,
    place: Option<(u8, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Answer1<'a> {
    fetched_us: i64,
    status: u16,
    #[serde(borrow)]
    body: Raw<'a>,
}

#[derive(Serialize, Deserialize)]
struct Transient1 {
    doomed_chunks: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Access1 {
    any_us: i64,
    zip_us: i64,
}

#[derive(Serialize, Deserialize)]
struct Quarantine1<'a> {
    scope: u8,
    reason: &'a str,
    zip: Option<([u8; 32], u64)>,
}

fn encode<T: Serialize>(format: u8, size_hint: usize, value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_hint + 1);
    bytes.push(format);
    // Writing into a growing vector has no error to report: only types that postcard cannot express do,
    // and those here are all plain; the golden tests hold every one of them.
    postcard::to_extend(value, bytes).unwrap_or_default()
}

fn format_of(value: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    value.split_first().map(|(&format, rest)| (format, rest)).ok_or(DecodeError::Empty)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(DecodeError::Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Trailing(rest.len())) }
}

// === impl VersionRecord ===

/// Encodes a record in today's format.
pub(super) fn encode_record(record: &VersionRecord) -> Vec<u8> {
    let bodies = record.info.as_ref().map_or(0, Bytes::len) + record.go_mod.as_ref().map_or(0, Bytes::len);
    let value = Record1 {
        info: record.info.as_deref().map(Raw),
        go_mod: record.go_mod.as_deref().map(Raw),
        go_mod_h1: record.go_mod_h1.map(|h1| *h1.as_bytes()),
        zip: record.zip.as_ref().map(|zip| Zip1 { blob: zip.blob.0, size: zip.size, sha256: zip.sha256 }),
        zip_h1: record.zip_h1.map(|h1| *h1.as_bytes()),
        class: class_number(record.class),
        verified: verified_number(record.verified),
        origin: &record.origin,
        first_seen_us: record.first_seen_us,
        held_us: record.held_us,
    };
    encode(FORMAT_1, bodies + record.origin.len() + 160, &value)
}

/// Decodes a record; its bodies are slices of `value`.
pub(super) fn decode_record(value: &Bytes) -> Result<VersionRecord, DecodeError> {
    match format_of(value)? {
        (FORMAT_1, rest) => record_from_1(value, decode(rest)?),
        (format, _) => Err(DecodeError::Format(format)),
    }
}

fn record_from_1(value: &Bytes, record: Record1<'_>) -> Result<VersionRecord, DecodeError> {
    let zip_h1 = record.zip_h1.map(H1::from_bytes);
    let zip = match (record.zip, zip_h1) {
        (None, _) => None,
        (Some(zip), Some(h1)) => {
            Some(ZipManifest { blob: BlobId(zip.blob), size: zip.size, sha256: zip.sha256, h1 })
        }
        (Some(_), None) => {
            return Err(DecodeError::Malformed(postcard::Error::custom("a held zip without its h1")));
        }
    };
    Ok(VersionRecord {
        info: record.info.map(|raw| value.slice_ref(raw.0)),
        go_mod: record.go_mod.map(|raw| value.slice_ref(raw.0)),
        go_mod_h1: record.go_mod_h1.map(H1::from_bytes),
        zip,
        zip_h1,
        class: class_from(record.class)?,
        verified: verified_from(record.verified)?,
        origin: record.origin.to_owned(),
        first_seen_us: record.first_seen_us,
        held_us: record.held_us,
    })
}

fn class_number(class: Class) -> u8 {
    match class {
        Class::Cache => 0,
        Class::Retained => 1,
        Class::Published => 2,
    }
}

fn class_from(number: u8) -> Result<Class, DecodeError> {
    match number {
        0 => Ok(Class::Cache),
        1 => Ok(Class::Retained),
        2 => Ok(Class::Published),
        number => Err(DecodeError::Unknown { what: "class", number }),
    }
}

fn verified_number(verified: Verified) -> u8 {
    match verified {
        Verified::Unchecked => 0,
        Verified::ChecksumDatabase => 1,
    }
}

fn verified_from(number: u8) -> Result<Verified, DecodeError> {
    match number {
        0 => Ok(Verified::Unchecked),
        1 => Ok(Verified::ChecksumDatabase),
        number => Err(DecodeError::Unknown { what: "verifier", number }),
    }
}

// === impl the smaller values ===

/// Encodes a blob manifest.
pub(super) fn encode_blob(manifest: &BlobManifest) -> Vec<u8> {
    let place = manifest.place.map(|place| (place.queue.0, place.order));
    encode(FORMAT_1, 24, &Blob1 { blob: manifest.blob.0, size: manifest.size, place })
}

/// Decodes a blob manifest.
pub(super) fn decode_blob(value: &[u8]) -> Result<BlobManifest, DecodeError> {
    match format_of(value)? {
        (FORMAT_1, rest) => {
            let Blob1 { blob, size, place } = decode(rest)?;
            let place = place.map(|(queue, order)| Place { queue: QueueId(queue), order });
            Ok(BlobManifest { blob: BlobId(blob), size, place })
        }
        (format, _) => Err(DecodeError::Format(format)),
    }
}

/// Encodes a cached answer.
pub(super) fn encode_answer(answer: &CachedAnswer) -> Vec<u8> {
    let CachedAnswer { body, fetched_us, status } = answer;
    let value = Answer1 { fetched_us: *fetched_us, status: *status, body: Raw(body) };
    encode(FORMAT_1, body.len() + 20, &value)
}

/// Decodes a cached answer; its body is a slice of `value`.
pub(super) fn decode_answer(value: &Bytes) -> Result<CachedAnswer, DecodeError> {
    match format_of(value)? {
        (FORMAT_1, rest) => {
            let Answer1 { fetched_us, status, body } = decode(rest)?;
            Ok(CachedAnswer { body: value.slice_ref(body.0), fetched_us, status })
        }
        (format, _) => Err(DecodeError::Format(format)),
    }
}

/// Encodes the marker of a blob.
pub(super) fn encode_transient(transient: Transient) -> Vec<u8> {
    let doomed_chunks = match transient {
        Transient::Writing => None,
        Transient::Doomed { chunks } => Some(chunks),
    };
    encode(FORMAT_1, 6, &Transient1 { doomed_chunks })
}

/// Decodes the marker of a blob.
pub(super) fn decode_transient(value: &[u8]) -> Result<Transient, DecodeError> {
    match format_of(value)? {
        (FORMAT_1, rest) => {
            let Transient1 { doomed_chunks } = decode(rest)?;
            Ok(doomed_chunks.map_or(Transient::Writing, |chunks| Transient::Doomed { chunks }))
        }
        (format, _) => Err(DecodeError::Format(format)),
    }
}

/// Encodes access times.
pub(super) fn encode_access(access: Access) -> Vec<u8> {
    encode(FORMAT_1, 20, &Access1 { any_us: access.any_us, zip_us: access.zip_us })
}

/// Decodes access times.
pub(super) fn decode_access(value: &[u8]) -> Result<Access, DecodeError> {
    match format_of(value)? {
        (FORMAT_1, rest) => {
            let Access1 { any_us, zip_us } = decode(rest)?;
            Ok(Access { any_us, zip_us })
        }
        (format, _) => Err(DecodeError::Format(format)),
    }
}

/// Encodes what a quarantine record holds.
pub(super) fn encode_quarantine(value: &QuarantineValue) -> Vec<u8> {
    let scope = match value.scope {
        Scope::Zip => 0,
        Scope::Record => 1,
    };
    let size_hint = value.reason.len() + 48;
    encode(FORMAT_1, size_hint, &Quarantine1 { scope, reason: &value.reason, zip: value.zip })
}

/// Decodes what a quarantine record holds.
pub(super) fn decode_quarantine(value: &[u8]) -> Result<QuarantineValue, DecodeError> {
    match format_of(value)? {
        (FORMAT_1, rest) => {
            let Quarantine1 { scope, reason, zip } = decode(rest)?;
            let scope = match scope {
                0 => Scope::Zip,
                1 => Scope::Record,
                number => return Err(DecodeError::Unknown { what: "scope", number }),
            };
            Ok(QuarantineValue { scope, reason: reason.to_owned(), zip })
        }
        (format, _) => Err(DecodeError::Format(format)),
    }
}

/// Encodes a number, be it a setting's value, a queue entry's size or a counter's change.
pub(super) fn encode_number(number: i64) -> [u8; 8] {
    number.to_le_bytes()
}

/// Decodes a number.
pub(super) fn decode_number(value: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests;
