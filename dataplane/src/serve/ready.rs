//! A ready answer: everything a hit needs, prepared once when the content was stored or loaded.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use gomod::ModuleVersion;
use http::HeaderValue;

use super::freshness::{self, Freshness};
use super::tag::Kind;
use crate::store::BlobLease;

/// The content of an answer.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory, whole.
    Inline(Bytes),
    /// In the store, in chunks; the lease keeps them there while somebody reads.
    Blob {
        /// Keeps the chunks readable.
        lease: BlobLease,
        /// Whose zip it is.
        version: Arc<ModuleVersion>,
        /// Bytes of the whole.
        size: u64,
    },
}

impl Content {
    /// Bytes of the whole content.
    pub fn size(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Blob { size, .. } => *size,
        }
    }
}

/// How long an answer may be given without asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Content under a canonical version never changes.
    Immutable,
    /// Lists, `@latest` and branch queries.
    Until {
        /// Fresh before this moment.
        fresh_until: Instant,
        /// Not asked for again before this moment, since a refresh failed.
        rest_until: Instant,
        /// When the origin gave it, µs since the Unix epoch.
        fetched_us: i64,
    },
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
    pub etag: Option<HeaderValue>,
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
}

impl Ready {
    /// An immutable answer from memory.
    pub fn inline(kind: Kind, bytes: Bytes, sha256: &[u8; 32], private: bool) -> Self {
        Self {
            kind,
            content: Content::Inline(bytes),
            etag: etag(sha256),
            lifetime: Lifetime::Immutable,
            headers: None,
            private,
            version: None,
            told_hour: AtomicU32::new(0),
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

    /// What to do with it at `now`.
    pub fn freshness(&self, now: Instant) -> Freshness {
        match self.lifetime {
            Lifetime::Immutable => Freshness::Fresh,
            Lifetime::Until { fresh_until, rest_until, .. } => freshness::judge(now, fresh_until, rest_until),
        }
    }
}

/// An entity tag: the first half of the content's SHA-256, quoted.
pub(crate) fn etag(sha256: &[u8; 32]) -> Option<HeaderValue> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'"'; 34];
    for (pair, byte) in text.get_mut(1..33)?.chunks_exact_mut(2).zip(sha256) {
        let digits = [HEX.get(usize::from(byte >> 4))?, HEX.get(usize::from(byte & 15))?];
        pair.copy_from_slice(&[*digits[0], *digits[1]]);
    }
    HeaderValue::from_bytes(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_quoted_hex() {
        let mut sum = [0u8; 32];
        sum[0] = 0xab;
        sum[15] = 0x01;
        assert_eq!(etag(&sum).unwrap(), "\"ab000000000000000000000000000001\"");
    }
}
