//! From what the store holds to ready answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gomod::ModuleVersion;
use sha2::{Digest as _, Sha256};

use super::freshness;
use super::memory::INLINE_BYTES_MAX;
use super::ready::{BlobContent, Content, Etag, Lifetime, Ready, Until};
use super::tag::Kind;
use crate::store::{BlobLease, CachedAnswer, ZipManifest};

/// An immutable text: `.info` or `.mod`.
pub(crate) fn text(kind: Kind, bytes: Bytes, private: bool) -> Arc<Ready> {
    let sum: [u8; 32] = Sha256::digest(&bytes).into();
    Arc::new(Ready::inline(kind, bytes, &sum, private))
}

/// A zip; `whole` when its bytes are at hand and few enough to be kept in memory.
pub(crate) fn zip(
    version: &Arc<ModuleVersion>,
    manifest: &ZipManifest,
    lease: BlobLease,
    whole: Option<Bytes>,
    private: bool,
) -> Arc<Ready> {
    let content = match whole {
        Some(bytes) if manifest.size <= INLINE_BYTES_MAX => Content::inline(bytes),
        _ => {
            Content::Blob(Box::new(BlobContent { lease, version: Arc::clone(version), size: manifest.size }))
        }
    };
    Arc::new(Ready {
        kind: Kind::Zip,
        content,
        etag: Etag::of(&manifest.sha256),
        lifetime: Lifetime::Immutable,
        headers: None,
        private,
        version: Some(Arc::clone(version)),
        told_hour: AtomicU32::new(0),
        is_unused: AtomicBool::new(false),
    })
}

/// A list or query answer that was given at `answer.fetched_us`, now being `now_us` on the wall clock.
pub(crate) fn passing(
    kind: Kind,
    answer: &CachedAnswer,
    now: Instant,
    now_us: i64,
    lifetime: Duration,
    private: bool,
) -> Arc<Ready> {
    let sum: [u8; 32] = Sha256::digest(&answer.body).into();
    let fresh_until = freshness::fresh_until(now, now_us.saturating_sub(answer.fetched_us), lifetime);
    Arc::new(Ready {
        kind,
        content: Content::inline(answer.body.clone()),
        etag: Etag::of(&sum),
        lifetime: Lifetime::until(fresh_until, answer.fetched_us),
        headers: None,
        private,
        version: None,
        told_hour: AtomicU32::new(0),
        is_unused: AtomicBool::new(false),
    })
}

/// The same answer, not to be asked for again for a while, since a refresh just failed.
pub(crate) fn resting(ready: &Ready, now: Instant) -> Arc<Ready> {
    let lifetime = match &ready.lifetime {
        Lifetime::Immutable => Lifetime::Immutable,
        Lifetime::Until(until) => {
            let rest = now + freshness::RETRY_AFTER_ERROR;
            Lifetime::Until(Box::new(Until { rest, ..Until::clone(until) }))
        }
    };
    Arc::new(Ready {
        kind: ready.kind,
        content: ready.content.clone(),
        etag: ready.etag,
        lifetime,
        headers: ready.headers.clone(),
        private: ready.private,
        version: None,
        told_hour: AtomicU32::new(0),
        is_unused: AtomicBool::new(false),
    })
}
