//! What is in memory: ready answers by canonical path, and chunks of large zips, in one bounded cache.
//!
//! One cache for both, so that the bound goes to whatever is hot: small files of many modules, or the chunks of
//! the one zip that everybody fetches. Its policy tells one-time reads from repeated ones, so a scan of cold
//! modules does not push out the hot set.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pages::Pages;
use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, OptionsBuilder, Weighter};

use super::ready::{Content, Ready};
use crate::store::{BlobId, CHUNK_BYTES};

/// Zips up to this size are held as ready answers; larger ones as chunks.
pub(crate) const INLINE_BYTES_MAX: u64 = crate::store::CHUNK_BYTES as u64;
/// Up to this size zips are copied to be sent where that costs less, and so are short chunks: on many machines the kernel does it faster than it finds
/// their pages one by one. Where a zip is longer than a processor's caches, copying costs more. Each zip goes one way: a zip that begins one way and
/// goes on the other costs more than either.
const COPIED_BYTES_MAX: u64 = 4 * 1024 * 1024;
const SENT_FROM_PAGES_MIN: usize = 32 * 1024;
/// Allocations around an entry, measured with 200 000 small answers.
const ENTRY_OVERHEAD_BYTES: u64 = 240;
/// What an answer from the store has beside its content.
const BLOB_BYTES: u64 = 64;
/// Steps in which the cache lends what it may hold.
const LENT_STEPS: u64 = 8;
/// Mean size by which the cache sizes its tables.
const ENTRY_BYTES_EXPECTED: u64 = 2048;

/// See the head of this file.
pub struct Memory {
    cache: Cache<Key, Slot, ByBytes, foldhash::fast::RandomState, DefaultLifecycle<Key, Slot>>,
    /// Where chunks are, so that they need not be copied to be sent.
    pages: Option<Arc<Pages>>,
    /// How to find out whether it costs less to send shorter zips from there too, and what that said.
    measure: Option<Measure>,
    costs_less_from_pages: OnceLock<bool>,
    bytes_max: u64,
    /// Bytes of these that are lent.
    lent: Mutex<u64>,
    /// Bytes that it may hold now; changed under the lock of `lent`.
    bytes_max_now: AtomicU64,
}

/// Finds out whether sending from pages costs less than copying. Blocks.
pub(crate) type Measure = fn(&Arc<Pages>) -> bool;

/// Bytes that the cache does without until this is dropped.
pub(crate) struct Loan {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.memory.change_lent(|lent| lent.saturating_sub(self.bytes));
    }
}

impl Memory {
    /// A cache of at most `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        let estimated = usize::try_from(bytes_max / ENTRY_BYTES_EXPECTED).unwrap_or(usize::MAX).max(1024);
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(estimated).weight_capacity(bytes_max);
        let cache = match options.build() {
            Ok(options) => Cache::with_options(
                options,
                ByBytes,
                foldhash::fast::RandomState::default(),
                DefaultLifecycle::default(),
            ),
            Err(_) => Cache::with(
                estimated,
                bytes_max,
                ByBytes,
                foldhash::fast::RandomState::default(),
                DefaultLifecycle::default(),
            ),
        };
        // Chunks that left the cache keep their place until the last answer with them is sent: half as many again.
        let places = usize::try_from(bytes_max / INLINE_BYTES_MAX).unwrap_or(0);
        let pages = Pages::new(CHUNK_BYTES, places + places / 2 + 1);
        if let Err(error) = &pages {
            tracing::info!(%error, "no file in memory to be had: chunks of zips are copied as they are sent");
        }
        Self {
            cache,
            pages: pages.ok(),
            measure: None,
            costs_less_from_pages: OnceLock::new(),
            bytes_max,
            lent: Mutex::new(0),
            bytes_max_now: AtomicU64::new(bytes_max),
        }
    }

    /// The same, for what is sent as it is: which way shorter zips go is measured when there is the first one.
    pub(crate) fn sending_at_least_cost(self, measure: Measure) -> Self {
        Self { measure: Some(measure), ..self }
    }

    /// Bytes that it may hold when none are lent.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes that it may hold now.
    pub(crate) fn bytes_max_now(&self) -> u64 {
        self.bytes_max_now.load(Ordering::Relaxed)
    }

    /// Makes room for others; what is least wanted leaves.
    pub(crate) fn lend(self: &Arc<Self>, bytes: u64) -> Loan {
        self.change_lent(|lent| lent.saturating_add(bytes));
        Loan { memory: Arc::clone(self), bytes }
    }

    fn change_lent(&self, change: impl FnOnce(u64) -> u64) {
        let mut lent = self.lent.lock();
        *lent = change(*lent);
        // In steps, for each change costs the cache a little of what it knows of entries that left.
        let step = (self.bytes_max / LENT_STEPS).max(1);
        let bytes = self.bytes_max.saturating_sub(lent.div_ceil(step).saturating_mul(step));
        if bytes != self.bytes_max_now.swap(bytes, Ordering::Relaxed) {
            self.cache.set_capacity(bytes);
        }
    }

    /// Where chunks are that can be sent without copying.
    pub fn pages(&self) -> Option<&Arc<Pages>> {
        self.pages.as_ref()
    }

    /// The answer for a canonical path with its leading slash.
    pub fn ready(&self, path: &str) -> Option<Arc<Ready>> {
        match self.cache.get(&PathRef(path))? {
            Slot::Ready(ready) => Some(ready),
            Slot::Chunk(_) => None,
        }
    }

    /// Keeps an answer.
    pub fn put_ready(&self, path: &str, ready: Arc<Ready>) {
        self.cache.insert(Key::Path(path.into()), Slot::Ready(ready));
    }

    /// Forgets an answer.
    pub fn forget(&self, path: &str) {
        self.cache.remove(&PathRef(path));
    }

    /// A chunk of a blob.
    pub fn chunk(&self, blob: BlobId, number: u32) -> Option<Bytes> {
        match self.cache.get(&Key::Chunk(blob, number))? {
            Slot::Chunk(bytes) => Some(Bytes::clone(&bytes)),
            Slot::Ready(_) => None,
        }
    }

    /// Keeps a chunk of a zip of `zip_bytes`, or so many as are known of. May copy it, and measure how it is best sent: not for async threads.
    pub fn put_chunk(&self, blob: BlobId, number: u32, bytes: &Bytes, zip_bytes: u64) {
        let in_pages = self.pages.as_ref().filter(|pages| {
            bytes.len() >= SENT_FROM_PAGES_MIN
                && (zip_bytes > COPIED_BYTES_MAX || self.costs_less_from(pages))
        });
        let bytes = in_pages.and_then(|pages| pages.keep(bytes)).unwrap_or_else(|| bytes.clone());
        self.cache.insert(Key::Chunk(blob, number), Slot::Chunk(Arc::new(bytes)));
    }

    fn costs_less_from(&self, pages: &Arc<Pages>) -> bool {
        self.measure.is_some_and(|measure| *self.costs_less_from_pages.get_or_init(|| measure(pages)))
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

#[derive(PartialEq, Eq)]
enum Key {
    Path(Box<str>),
    Chunk(BlobId, u32),
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            // INVARIANT: hashes as PathRef does, so that a borrowed path finds it.
            Key::Path(path) => path.hash(state),
            Key::Chunk(blob, number) => (blob, number).hash(state),
        }
    }
}

#[derive(Hash)]
struct PathRef<'a>(&'a str);

impl Equivalent<Key> for PathRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        matches!(key, Key::Path(path) if **path == *self.0)
    }
}

#[derive(Clone)]
enum Slot {
    Ready(Arc<Ready>),
    /// Behind a pointer, since there are many more answers than chunks and both take a slot of one size.
    Chunk(Arc<Bytes>),
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Slot> for ByBytes {
    fn weight(&self, key: &Key, slot: &Slot) -> u64 {
        let key = match key {
            Key::Path(path) => path.len() as u64,
            Key::Chunk(..) => 0,
        };
        let content = match slot {
            Slot::Ready(ready) => match &ready.content {
                Content::Blob(_) => BLOB_BYTES,
                Content::Small(_) | Content::Shared(_) => ready.content.size(),
            },
            Slot::Chunk(bytes) => bytes.len() as u64,
        };
        key + content + ENTRY_OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::tag::Kind;
    use crate::store::{Store, StoreOptions};
    use common::clock::SystemClock;

    fn ready(bytes: usize) -> Arc<Ready> {
        Arc::new(Ready::inline(Kind::Mod, Bytes::from(vec![1; bytes]), &[0; 32], false))
    }

    #[test]
    fn answers_are_found_by_their_path_and_forgotten() {
        let memory = Memory::new(1 << 20);
        memory.put_ready("/a.b/c/@v/v1.0.0.mod", ready(10));
        assert!(memory.ready("/a.b/c/@v/v1.0.0.mod").is_some());
        assert!(memory.ready("/a.b/c/@v/v1.0.1.mod").is_none());
        memory.forget("/a.b/c/@v/v1.0.0.mod");
        assert!(memory.ready("/a.b/c/@v/v1.0.0.mod").is_none());
    }

    #[test]
    fn long_zips_are_sent_from_pages_but_for_short_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default(), Arc::new(SystemClock)).unwrap();
        let blob = store.begin_blob().unwrap().id();
        let (copying, sending) =
            (Memory::new(64 << 20), Memory::new(64 << 20).sending_at_least_cost(|_| true));
        let short = SENT_FROM_PAGES_MIN - 1;
        for (memory, bytes, zip_bytes, is_in_pages) in [
            (&copying, CHUNK_BYTES, COPIED_BYTES_MAX, false),
            (&copying, CHUNK_BYTES, COPIED_BYTES_MAX + 1, true),
            (&copying, short, COPIED_BYTES_MAX + 1, false),
            (&sending, CHUNK_BYTES, INLINE_BYTES_MAX + 1, true),
            (&sending, short, INLINE_BYTES_MAX + 1, false),
        ] {
            memory.put_chunk(blob, 0, &Bytes::from(vec![1; bytes]), zip_bytes);
            let kept = memory.chunk(blob, 0).unwrap();
            assert_eq!(
                memory.pages().unwrap().offset_of(&kept).is_some(),
                is_in_pages,
                "{bytes} of {zip_bytes}"
            );
        }
    }

    #[test]
    fn the_bound_holds_whatever_is_put_in() {
        let memory = Memory::new(1 << 20);
        for n in 0..5_000 {
            memory.put_ready(&format!("/a.b/c/@v/v1.0.{n}.mod"), ready(n % 4096));
            assert!(memory.bytes() <= 1 << 20);
        }
        assert!(memory.bytes() > 1 << 19);
    }
}
