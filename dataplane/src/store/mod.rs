//! The store: version records, blobs, cached answers and checksum-database facts in one directory.
//!
//! Blocking: async callers use it from blocking threads. What it promises:
//!
//! - A version becomes visible in one atomic write after its blob is complete; nothing half stored is readable.
//! - The first bytes win: a version bound to a hash never gets other content ([`CommitError::Conflict`]).
//! - What [`Durability::Synced`] acknowledged survives a power cut, what [`Durability::Buffered`] did survives
//!   the death of the process.
//! - Every read is verified by checksum; damage is an error, never absence and never a partial answer.
//! - A disk that is full, or takes no writes, stops storing, not reading, and storing resumes by itself.
//!
//! | file | owns |
//! |---|---|
//! | `keys`, `records` | every byte on disk: keys, values, their versions |
//! | `rocks`, `wal`, `identity`, `open` | the database (its garbage, going on behind damage, whether there is room), its log's health, the lock, start-up and recovery |
//! | `merge`, `commit`, `remove` | how records change; `remove/content` what retention leaves, `remove/unreadable` where nobody knows what they said |
//! | `staged` | published versions that are not to be seen yet |
//! | `class` | what a copy is worth, when that changes |
//! | `blob`, `lease` | chunks, their writers and readers |
//! | `answers` | cached answers, checksum-database facts, index feed; `answers/bounds` how many |
//! | `counters`, `usage` | how much there is |
//! | `state` | what writing tells of the disk |
//! | `heal` | leaving states in which nothing can be written; `heal/reserve` room for that |
//! | `scrub` | does every stored byte verify? |
//! | `set_aside` | what becomes of what a reader found bad |
//! | `evict` | what leaves when space runs out |

mod answers;
#[cfg(test)]
pub(crate) mod bed;
mod blob;
mod class;
mod commit;
mod counters;
mod error;
pub mod evict;
mod feed;
mod heal;
mod identity;
mod keys;
mod lease;
mod merge;
mod open;
mod pulse;
mod records;
mod remove;
mod rocks;
mod scrub;
mod set_aside;
mod staged;
mod state;
mod stripes;
mod types;
mod usage;
mod vouch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use common::clock::Clock;
use gomod::{ModulePath, ModuleVersion, Version};
use parking_lot::Mutex;

pub use blob::{BlobReader, BlobWriter, SealedBlob};
pub use class::ClassChange;
pub use error::{CommitError, OpenError, Part, StoreError};
pub use heal::Healed;
pub use identity::StoreId;
pub use lease::BlobLease;
pub use open::StoreOptions;
pub use records::Access;
pub use remove::Removed;
pub use scrub::{Finding, Orphans, ScrubReport};
pub use set_aside::SetAside;
pub use staged::{Staged, Staging, Unsound};
pub use types::{
    BlobId, CHUNK_BYTES, CachedAnswer, Class, Durability, Held, IndexEntry, Patch, Quarantined, Scope,
    Verified, VersionRecord, ZipManifest,
};
pub use usage::{FileSystem, Usage};
pub use vouch::Unvouched;

use counters::Counters;
use feed::Feed;
use identity::DirLock;
use lease::Leases;
use pulse::Pulse;
use rocks::Rocks;
use state::State;
use stripes::Stripes;

/// An open store. Clones share it; it closes when the last of them, and of their writers and readers, is gone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What clones share. Fields drop in order: the database closes before the lock is released.
#[derive(Debug)]
struct Inner {
    rocks: Rocks,
    dir: PathBuf,
    id: StoreId,
    options: StoreOptions,
    clock: Arc<dyn Clock>,
    leases: Arc<Leases>,
    counters: Counters,
    heat: evict::Heat,
    feed: Feed,
    blob_ids: Mutex<open::BlobIds>,
    /// By version; taken before `blob_locks`.
    version_locks: Stripes,
    /// By SHA-256 of a blob.
    blob_locks: Stripes,
    /// How often something left the name space.
    removals: AtomicU64,
    state: State,
    pulse: Pulse,
    _lock: DirLock,
}

impl Store {
    /// The directory it lives in.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Names this store for its whole life.
    pub fn id(&self) -> StoreId {
        self.inner.id
    }

    /// Everything known about a version.
    pub fn record(&self, mv: &ModuleVersion) -> Result<Option<VersionRecord>, StoreError> {
        self.inner.record(mv)
    }

    /// As [`Self::record`], but never waits, so that it may be asked on an async thread: [`None`] when the answer is
    /// not in memory.
    pub fn record_at_hand(&self, mv: &ModuleVersion) -> Option<Result<Option<VersionRecord>, StoreError>> {
        let value = self.inner.rocks.get_at_hand("version record", &keys::record(mv))?;
        Some(value.and_then(|value| value.map(|value| decode_record(&value)).transpose()))
    }

    /// The versions of a module that have a record, be it a stub; in no order that means anything.
    pub fn versions(&self, module: &ModulePath) -> Result<Vec<Version>, StoreError> {
        let prefix = keys::records_of(module);
        let mut versions = Vec::new();
        let mut failed = None;
        self.inner.rocks.scan("version record", &prefix, &prefix, |key, value| {
            match decode_entry(key, value) {
                Ok((mv, _)) => versions.push(mv.version),
                Err(error) => failed = Some(error),
            }
            go_on(failed.is_none())
        })?;
        failed.map_or(Ok(versions), Err)
    }

    /// The versions of a module that are to go when it does: those that have a record, readable or not, and, if it cannot be read which
    /// these are, those that are in the index feed; in no order that means anything.
    pub fn versions_to_remove(&self, module: &ModulePath) -> Result<BTreeSet<Version>, StoreError> {
        let (mut versions, mut is_hidden) = (BTreeSet::new(), false);
        let prefix = keys::records_of(module);
        let of_record = |key: &[u8], _: &[u8]| {
            versions.extend(keys::parse_record(key).map(|mv| mv.version));
            go_on(true)
        };
        self.inner.rocks.scan_past("version record", &prefix, &prefix, of_record, |_| is_hidden = true)?;
        if is_hidden {
            let of_entry = |_: &[u8], value: &[u8]| {
                let mv = keys::parse_version_text(value).filter(|mv| mv.module == *module);
                versions.extend(mv.map(|mv| mv.version));
                go_on(true)
            };
            self.inner.rocks.scan_past("index feed", &keys::indexes(), &[], of_entry, |_| {})?;
        }
        Ok(versions)
    }

    /// The versions of a module whose zip is held, as far as they can be read.
    pub fn held(&self, module: &ModulePath) -> Result<Held, StoreError> {
        let prefix = keys::records_of(module);
        let (mut versions, mut is_odd, mut is_hidden) = (Vec::new(), false, false);
        self.inner.rocks.scan_past(
            "version record",
            &prefix,
            &prefix,
            |key, value| {
                match decode_entry(key, value) {
                    Ok((mv, record)) if record.zip.is_some() => versions.push((mv.version, record.class)),
                    Ok(_) => {}
                    Err(_) => is_odd = true,
                }
                go_on(true)
            },
            |_| is_hidden = true,
        )?;
        Ok(Held { versions, may_have_more: is_odd || is_hidden })
    }

    /// At most `limit` records in key order, from the first after `after` on.
    pub fn records_after(
        &self,
        after: Option<&ModuleVersion>,
        limit: usize,
    ) -> Result<Vec<(ModuleVersion, VersionRecord)>, StoreError> {
        let start = after.map_or_else(keys::records, |mv| {
            let mut start = keys::record(mv);
            start.push(0);
            start
        });
        let mut page = Vec::new();
        let mut failed = None;
        self.inner.rocks.scan("version record", &keys::records(), &start, |key, value| {
            if page.len() >= limit {
                return go_on(false);
            }
            match decode_entry(key, value) {
                Ok(entry) => page.push(entry),
                Err(error) => failed = Some(error),
            }
            go_on(failed.is_none())
        })?;
        failed.map_or(Ok(page), Err)
    }

    /// Shows at most `limit` records in key order, from the first after `after` on, until `see` has had enough. One that does not decode is
    /// shown as its error: the others are no worse for it. Gives back how many were shown.
    pub fn see_records_after(
        &self,
        after: Option<&ModuleVersion>,
        limit: usize,
        see: impl FnMut(ModuleVersion, Result<VersionRecord, StoreError>) -> bool,
    ) -> Result<usize, StoreError> {
        let start = after.map_or_else(keys::records, |mv| {
            let mut start = keys::record(mv);
            start.push(0);
            start
        });
        self.see_records_from(&start, limit, see)
    }

    /// The same from the first of a module on.
    pub fn see_records_of(
        &self,
        module: &ModulePath,
        limit: usize,
        see: impl FnMut(ModuleVersion, Result<VersionRecord, StoreError>) -> bool,
    ) -> Result<usize, StoreError> {
        self.see_records_from(&keys::records_of(module), limit, see)
    }

    fn see_records_from(
        &self,
        start: &[u8],
        limit: usize,
        mut see: impl FnMut(ModuleVersion, Result<VersionRecord, StoreError>) -> bool,
    ) -> Result<usize, StoreError> {
        let mut seen = 0;
        self.inner.rocks.scan("version record", &keys::records(), start, |key, value| {
            seen += 1;
            let wants_more = match keys::parse_record(key) {
                Some(version) => see(version, decode_record(&Bytes::copy_from_slice(value))),
                None => true,
            };
            go_on(wants_more && seen < limit)
        })?;
        Ok(seen)
    }

    /// Begins a blob. [`StoreError::Full`] when the disk is above its last watermark, [`StoreError::Unwritable`] while it
    /// takes no writes.
    pub fn begin_blob(&self) -> Result<BlobWriter, StoreError> {
        self.inner.check_writable("a new zip")?;
        self.inner.check_space()?;
        self.inner.collect_some();
        let blob = self.inner.allocate_blob()?;
        Ok(BlobWriter::new(Arc::clone(&self.inner), blob))
    }

    /// The bytes of one chunk, verified by the database's checksum. [`StoreError::NoChunk`] when it is not
    /// written yet or its blob was removed; hold a [`BlobLease`] while reading several.
    pub fn chunk(&self, blob: BlobId, number: u32) -> Result<Bytes, StoreError> {
        self.inner.chunk(blob, number)
    }

    /// Keeps a blob's chunks while someone reads them. Whoever knows the blob from a record read earlier finds
    /// out by [`StoreError::NoChunk`] that it was removed before the lease; [`Self::open_zip`] rules that out.
    pub fn lease(&self, blob: BlobId) -> BlobLease {
        self.inner.leases.take(blob)
    }

    /// Opens a held zip for reading; `None` when it is not held.
    pub fn open_zip(&self, mv: &ModuleVersion) -> Result<Option<BlobReader>, StoreError> {
        let mut zip = self.record(mv)?.and_then(|record| record.zip);
        while let Some(manifest) = zip {
            let lease = self.lease(manifest.blob);
            // Only a record that still names the blob now proves that the lease came before any deletion.
            let again = self.record(mv)?.and_then(|record| record.zip);
            if again.as_ref() == Some(&manifest) {
                return Ok(Some(BlobReader::new(Arc::clone(&self.inner), manifest, lease)));
            }
            zip = again;
        }
        Ok(None)
    }

    /// What the database says of itself, for people.
    pub fn account(&self) -> Result<String, StoreError> {
        self.inner.rocks.account()
    }

    /// Writes everything out, so that the next start has no log to replay. Dropping the store does it too, but
    /// cannot tell of a failure.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.inner.note(self.inner.rocks.flush())
    }

    /// Puts everything acknowledged as [`Durability::Buffered`] on stable storage.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.inner.note(self.inner.rocks.sync())
    }
}

impl Inner {
    fn record(&self, mv: &ModuleVersion) -> Result<Option<VersionRecord>, StoreError> {
        let value = self.rocks.get("version record", &keys::record(mv))?;
        value.map(|value| decode_record(&value)).transpose()
    }

    fn chunk(&self, blob: BlobId, number: u32) -> Result<Bytes, StoreError> {
        self.rocks.chunk(keys::chunk(blob, number))?.ok_or(StoreError::NoChunk { blob, chunk: number })
    }
}

fn decode_record(value: &Bytes) -> Result<VersionRecord, StoreError> {
    records::decode_record(value).map_err(|error| undecodable("version record", &error))
}

fn decode_entry(key: &[u8], value: &[u8]) -> Result<(ModuleVersion, VersionRecord), StoreError> {
    let mv =
        keys::parse_record(key).ok_or_else(|| StoreError::corrupt("version record", "unreadable key"))?;
    Ok((mv, decode_record(&Bytes::copy_from_slice(value))?))
}

fn undecodable(what: &'static str, error: &records::DecodeError) -> StoreError {
    StoreError::corrupt(what, error.to_string())
}

fn go_on(yes: bool) -> std::ops::ControlFlow<()> {
    if yes { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
}
