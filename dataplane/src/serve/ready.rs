//! A ready answer: everything a hit needs, prepared once when the content was stored or loaded.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Instant;

use bytes::Bytes;
use gomod::ModuleVersion;
use http::HeaderValue;

use super::freshness::{self, Freshness};
use super::tag::Kind;
use crate::store::BlobLease;

/// Up to this size, content is copied for each answer: that costs less than a second allocation that counts who
/// reads it, and a hundred thousand versions are held in half the memory.
const SMALL_BYTES_MAX: usize = 1024;

/// The content of an answer. A node holds hundreds of thousands of answers: whatever few have is behind a pointer.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory, whole and small.
    Small(Box<[u8]>),
    /// In memory, whole.
    Shared(Bytes),
    /// In the store, in chunks.
    Blob(Box<BlobContent>),
}

/// Content that is in the store; the lease keeps its chunks there while somebody reads.
#[derive(Debug, Clone)]
pub struct BlobContent {
    /// Keeps the chunks readable.
    pub lease: BlobLease,
    /// Whose zip it is.
    pub version: Arc<ModuleVersion>,
    /// Bytes of the whole.
    pub size: u64,
}

impl Content {
    /// Content in memory.
    pub fn inline(bytes: Bytes) -> Self {
        if bytes.len() <= SMALL_BYTES_MAX { Self::Small(bytes.as_ref().into()) } else { Self::Shared(bytes) }
    }

    /// The whole, where it is in memory.
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Small(bytes) => Some(Bytes::copy_from_slice(bytes)),
            Self::Shared(bytes) => Some(bytes.clone()),
            Self::Blob(_) => None,
        }
    }

    /// The whole, where it is in memory, for who copies it at once.
    pub fn slice(&self) -> Option<&[u8]> {
        match self {
            Self::Small(bytes) => Some(bytes),
            Self::Shared(bytes) => Some(bytes),
            Self::Blob(_) => None,
        }
    }

    /// Bytes of the whole content.
    pub fn size(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Shared(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.size,
        }
    }
}

/// How long an answer may be given without asking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifetime {
    /// Content under a canonical version never changes.
    Immutable,
    /// Lists, `@latest` and branch queries.
    Until(Box<Until>),
}

/// The lifetime of an answer that may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Until {
    /// Fresh before this moment.
    pub fresh: Instant,
    /// Not asked for again before this moment, since a refresh failed.
    pub rest: Instant,
    /// When the origin gave it, µs since the Unix epoch.
    pub fetched_us: i64,
}

impl Lifetime {
    /// Of an answer that the origin gave at `fetched_us`.
    pub fn until(fresh: Instant, fetched_us: i64) -> Self {
        Self::Until(Box::new(Until { fresh, rest: fresh, fetched_us }))
    }
}

/// Headers that an answer has instead of those of its kind and lifetime.
#[derive(Debug, Clone)]
pub struct OwnHeaders {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Cache-Control` of one that is not immutable.
    pub cache_control: HeaderValue,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Ready {
    /// The shape of request it answers.
    pub kind: Kind,
    /// The bytes.
    pub content: Content,
    /// Strong validator over exactly these bytes.
    pub etag: Etag,
    /// How long it may be given.
    pub lifetime: Lifetime,
    /// Headers that do not follow from the rest; few answers have any.
    pub headers: Option<Box<OwnHeaders>>,
    /// Whether it is of a private module, so that shared caches may not keep it.
    pub private: bool,
    /// Whose zip it is: the eviction policy is told of every use.
    pub version: Option<Arc<ModuleVersion>>,
    /// The hour in which the store was last told of its use, for what is no zip; 0 for never.
    pub told_hour: AtomicU32,
    /// Whether it is a zip that whoever it was fetched for has not used yet.
    pub is_unused: AtomicBool,
}

impl Ready {
    /// An immutable answer from memory.
    pub fn inline(kind: Kind, bytes: Bytes, sha256: &[u8; 32], private: bool) -> Self {
        Self {
            kind,
            content: Content::inline(bytes),
            etag: Etag::of(sha256),
            lifetime: Lifetime::Immutable,
            headers: None,
            private,
            version: None,
            told_hour: AtomicU32::new(0),
            is_unused: AtomicBool::new(false),
        }
    }

    /// Whether it is an `.info` or `.mod` that was not used before in `hour`; from now on it was. Two loads and a
    /// comparison for all but one of the uses in an hour.
    pub(crate) fn is_text_first_used_in(&self, hour: u32) -> bool {
        if self.told_hour.load(Relaxed) == hour {
            return false;
        }
        self.told_hour.store(hour, Relaxed);
        matches!(self.kind, Kind::Info | Kind::Mod) && self.lifetime == Lifetime::Immutable
    }

    /// Says that whoever it was fetched for is the only one who is known to want it, and has not used it yet.
    pub(crate) fn waits_for_first_use(&self) {
        self.is_unused.store(true, Relaxed);
    }

    /// Whether whoever it was fetched for has not used it yet.
    pub(crate) fn is_unused(&self) -> bool {
        self.is_unused.load(Relaxed)
    }

    /// Whether this is the use that it was fetched for. From now on it has been used.
    pub(crate) fn is_first_use(&self) -> bool {
        self.is_unused() && self.is_unused.swap(false, Relaxed)
    }

    /// What to do with it at `now`.
    pub fn freshness(&self, now: Instant) -> Freshness {
        match &self.lifetime {
            Lifetime::Immutable => Freshness::Fresh,
            Lifetime::Until(until) => freshness::judge(now, until.fresh, until.rest),
        }
    }
}

/// An entity tag: the first half of the content's SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Etag([u8; 16]);

impl Etag {
    /// The tag of content with this sum.
    pub fn of(sha256: &[u8; 32]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(sha256.split_at(16).0);
        Self(half)
    }

    /// As a header has it: quoted (RFC 9110 section 8.8.3).
    pub fn text(self) -> [u8; 34] {
        let mut text = [b'"'; 34];
        let (pairs, _) = text[1..33].as_chunks_mut();
        for (pair, byte) in pairs.iter_mut().zip(self.0) {
            *pair = hex(byte);
        }
        text
    }

    /// [`Etag::text`] as a value.
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.text()).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |four: u8| if four < 10 { b'0' + four } else { b'a' + four - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_quoted_hex() {
        let mut sum = [0u8; 32];
        sum[0] = 0xab;
        sum[15] = 0x01;
        assert_eq!(Etag::of(&sum).header(), "\"ab000000000000000000000000000001\"");
    }
}
