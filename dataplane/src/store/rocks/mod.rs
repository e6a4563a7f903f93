//! `RocksDB` as this store uses it: the two column families, reads, scans (also [`past`] damage), batches ([`batch`]), and
//! the collection of garbage ([`garbage`]); and whether there is [`room`] for more under it.
//!
//! Owns every option ([`options`]) and the only calls into the bindings. Invariants: every read verifies checksums; a scan
//! that meets an error returns it instead of what it had; batches go through the log.
//!
//! `meta` holds small values in sorted tables behind a block cache. `chunks` holds zip chunks in blob files, so
//! that compaction moves twelve-byte keys and not zips; no block or blob cache is in front of it, for chunk
//! caching is done in process, above, and caching twice would halve both caches.

mod batch;
mod ending;
mod garbage;
mod options;
mod past;
mod room;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fail::fail_point;
use parking_lot::RwLock;
use rocksdb::{
    BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBWithThreadMode, ErrorKind, FlushOptions,
    MultiThreaded, ReadOptions, ReadTier, WriteOptions,
};

pub(super) use batch::Batch;
pub(super) use options::Sizes;

use super::error::{StoreError, is_full, unwritable};
use super::types::Durability;
use ending::Ending;
use options::{chunk_options, database_options, meta_options};
use room::Room;

const META: &str = "meta";
const CHUNKS: &str = "chunks";

type Db = DBWithThreadMode<MultiThreaded>;

/// The database with both families. It can be closed and opened again in place.
pub(super) struct Rocks {
    dir: PathBuf,
    sizes: Sizes,
    block_cache: Cache,
    /// Whether the disk has room for more.
    pub(super) room: Room,
    ending: Ending,
    /// `None` only after opening again failed.
    open: RwLock<Option<Open>>,
}

pub(super) struct Open {
    db: Db,
    /// Opened on a disk that takes no writes, for this reason: nothing can be written until it is opened again.
    read_only: Option<ReadOnly>,
}

/// Why the database was opened for reading alone.
enum ReadOnly {
    Full,
    Unwritable(Arc<str>),
}

impl ReadOnly {
    /// `None` when it cannot be opened for reading either.
    fn of(error: &rocksdb::Error) -> Option<Self> {
        if is_full(error.as_ref()) { Some(Self::Full) } else { unwritable(error).map(Self::Unwritable) }
    }
}

/// Bytes on disk, as the database counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit is part of each name")]
pub(super) struct Space {
    /// Sorted tables of `meta`.
    pub(super) meta_bytes: u64,
    /// Sorted tables and blob files of `chunks`.
    pub(super) chunk_bytes: u64,
    /// Memtables of both.
    pub(super) memtable_bytes: u64,
    /// Content of the block cache.
    pub(super) block_cache_bytes: u64,
}

impl Open {
    /// The value of `key`, as [`Rocks::get`].
    pub(super) fn get(&self, what: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.get_from(META, what, key)
    }

    fn get_from(
        &self,
        family: &'static str,
        what: &'static str,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        fail_point!("store::rocks::read");
        let found = self.db.get_pinned_cf(&self.family(family)?, key);
        let found = found.map_err(|error| StoreError::database(what, error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn family(&self, name: &'static str) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        self.db.cf_handle(name).ok_or_else(|| StoreError::corrupt(name, "column family is missing"))
    }

    fn check_writable(&self, what: &'static str) -> Result<(), StoreError> {
        fail_point!("store::rocks::write", |errno| {
            let error =
                std::io::Error::from_raw_os_error(errno.and_then(|text| text.parse().ok()).unwrap_or(5));
            Err(StoreError::Unwritable { what, why: error.to_string().into() })
        });
        match &self.read_only {
            None => Ok(()),
            Some(ReadOnly::Full) => Err(StoreError::Full { what }),
            Some(ReadOnly::Unwritable(why)) => Err(StoreError::Unwritable { what, why: Arc::clone(why) }),
        }
    }
}

impl Rocks {
    /// Opens the database in `dir`; `create` also makes a new one. On a disk that takes no writes it opens for reading.
    pub(super) fn open(dir: &Path, sizes: Sizes, create: bool) -> Result<Self, rocksdb::Error> {
        let block_cache = Cache::new_hyper_clock_cache(sizes.block_cache_bytes, 0);
        let open = open_or_read(dir, sizes, &block_cache, create)?;
        Ok(Self {
            dir: dir.to_owned(),
            // What is opened again has a log of its own.
            sizes: Sizes { skips_bad_log: false, ..sizes },
            block_cache,
            room: Room::default(),
            ending: Ending::default(),
            open: RwLock::new(Some(open)),
        })
    }

    /// Closes the database and opens it again, which ends the state that an error of its background work put it
    /// in. Everybody else waits meanwhile. `before` sees it as it was, unless it was closed, and `after` as it is.
    pub(super) fn reopen(
        &self,
        before: impl FnOnce(&Open),
        after: impl FnOnce(&Open),
    ) -> Result<(), StoreError> {
        let mut open = self.open.write();
        open.as_ref().map(before);
        // Two of them cannot be open at once.
        drop(open.take());
        let again = open_or_read(&self.dir, self.sizes, &self.block_cache, false);
        let again = again.map_err(|error| StoreError::database("opening the database again", error))?;
        after(&again);
        *open = Some(again);
        Ok(())
    }

    /// Whether it was opened for reading alone, or could not be opened again at all.
    pub(super) fn is_read_only(&self) -> bool {
        self.open.read().as_ref().is_none_or(|open| open.read_only.is_some())
    }

    /// Why it was opened for reading alone, as an error.
    pub(super) fn check_open(&self) -> Result<(), StoreError> {
        self.with(|open| open.check_writable("the store"))
    }

    /// Runs `act` on the open database. What runs in it, the callbacks of scans among it, must not come back
    /// here: someone who waits to open the database again would stand in between for ever.
    fn with<T>(&self, act: impl FnOnce(&Open) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.open.read() {
            Some(open) => act(open),
            None => Err(StoreError::Closed),
        }
    }

    pub(super) fn get(&self, what: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.with(|open| open.get(what, key))
    }

    /// As [`Self::get`] as far as memory goes, without waiting for anything; [`None`] when the disk would be read.
    pub(super) fn get_at_hand(
        &self,
        what: &'static str,
        key: &[u8],
    ) -> Option<Result<Option<Bytes>, StoreError>> {
        fail_point!("store::rocks::read_at_hand", |_| None);
        let open = self.open.try_read()?;
        let open = open.as_ref()?;
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::BlockCache);
        let family = open.family(META).ok()?;
        match open.db.get_pinned_cf_opt(&family, key, &options) {
            Ok(found) => Some(Ok(found.map(|value| Bytes::copy_from_slice(&value)))),
            Err(error) if error.kind() == ErrorKind::Incomplete => None,
            Err(error) => Some(Err(StoreError::database(what, error))),
        }
    }

    pub(super) fn chunk(&self, key: [u8; 12]) -> Result<Option<Bytes>, StoreError> {
        self.with(|open| open.get_from(CHUNKS, "zip chunk", &key))
    }

    pub(super) fn write(
        &self,
        what: &'static str,
        batch: Batch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.with(|open| {
            open.check_writable(what)?;
            let writes = batch.into_writes(&open.family(META)?, &open.family(CHUNKS)?);
            let mut options = WriteOptions::default();
            options.set_sync(durability == Durability::Synced);
            open.db.write_opt(writes, &options).map_err(|error| StoreError::writing(what, error))?;
            fail_point!("store::rocks::written");
            Ok(())
        })
    }

    /// Calls `each` with the entries of `meta` from `start` on whose keys begin with `prefix`, in key order.
    /// It must not read or write the database itself.
    pub(super) fn scan(
        &self,
        what: &'static str,
        prefix: &[u8],
        start: &[u8],
        each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.scan_family(META, what, prefix, start, each)
    }

    /// As [`Self::scan`], over all keys of `chunks` from `start` on. Reads the chunks as well: the bindings have
    /// no way to look at keys alone.
    pub(super) fn scan_chunks(
        &self,
        start: &[u8],
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.scan_family(CHUNKS, "zip chunk", &[], start, |key, _| each(key))
    }

    fn scan_family(
        &self,
        family: &'static str,
        what: &'static str,
        prefix: &[u8],
        start: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.with(|open| {
            let mut options = ReadOptions::default();
            if let Some(end) = super::keys::after(prefix) {
                options.set_iterate_upper_bound(end);
            }
            options.fill_cache(false);
            options.set_auto_readahead_size(true);
            let mut entries = open.db.raw_iterator_cf_opt(&open.family(family)?, options);
            entries.seek(start.max(prefix));
            while let Some((key, value)) = entries.item() {
                if each(key, value).is_break() {
                    return Ok(());
                }
                entries.next();
            }
            entries.status().map_err(|error| StoreError::database(what, error))
        })
    }

    /// The last key of `meta` that begins with `prefix`.
    pub(super) fn last_key(&self, what: &'static str, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|open| {
            let mut options = ReadOptions::default();
            options.set_iterate_lower_bound(prefix);
            let mut entries = open.db.raw_iterator_cf_opt(&open.family(META)?, options);
            match super::keys::after(prefix) {
                Some(end) => entries.seek_for_prev(&end),
                None => entries.seek_to_last(),
            }
            while let Some(key) = entries.key() {
                if key.starts_with(prefix) {
                    return Ok(Some(key.to_vec()));
                }
                entries.prev();
            }
            entries.status().map_err(|error| StoreError::database(what, error))?;
            Ok(None)
        })
    }

    /// Writes memtables out so that the log is empty; once background work was broken off, which would do that, only the log.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        if self.ending.is_broken_off() {
            return self.sync();
        }
        self.with(|open| {
            open.check_writable("flush")?;
            let mut options = FlushOptions::default();
            options.set_wait(true);
            open.db
                .flush_cfs_opt(&[&open.family(META)?, &open.family(CHUNKS)?], &options)
                .map_err(|error| StoreError::writing("flush", error))
        })
    }

    /// Puts the log on stable storage.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.with(|open| {
            open.check_writable("log sync")?;
            open.db.flush_wal(true).map_err(|error| StoreError::writing("log sync", error))
        })
    }

    /// What the database says of itself.
    pub(super) fn account(&self) -> Result<String, StoreError> {
        self.with(|open| {
            let failed = |error| StoreError::database("property", error);
            let mut account = String::new();
            for name in [META, CHUNKS] {
                let stats =
                    open.db.property_value_cf(&open.family(name)?, "rocksdb.cfstats-no-file-histogram");
                account.push_str(&stats.map_err(failed)?.unwrap_or_default());
            }
            let stats = open.db.property_value("rocksdb.dbstats").map_err(failed)?;
            account.push_str(&stats.unwrap_or_default());
            Ok(account)
        })
    }

    /// What the database takes up.
    pub(super) fn space(&self) -> Result<Space, StoreError> {
        self.with(|open| {
            let (meta, chunks) = (open.family(META)?, open.family(CHUNKS)?);
            let number = |family: &Arc<BoundColumnFamily<'_>>, name: &str| {
                let value = open.db.property_int_value_cf(family, name);
                value.map(Option::unwrap_or_default).map_err(|error| StoreError::database("property", error))
            };
            Ok(Space {
                meta_bytes: number(&meta, "rocksdb.total-sst-files-size")?,
                chunk_bytes: number(&chunks, "rocksdb.total-sst-files-size")?
                    + number(&chunks, "rocksdb.total-blob-file-size")?,
                memtable_bytes: number(&meta, "rocksdb.cur-size-all-mem-tables")?
                    + number(&chunks, "rocksdb.cur-size-all-mem-tables")?,
                block_cache_bytes: self.block_cache.get_usage() as u64,
            })
        })
    }
}

fn open_or_read(dir: &Path, sizes: Sizes, cache: &Cache, create: bool) -> Result<Open, rocksdb::Error> {
    let mut options = database_options(sizes);
    options.create_if_missing(create);
    let families = || {
        [(META, meta_options(sizes, cache)), (CHUNKS, chunk_options(sizes, cache))]
            .map(|(name, options)| ColumnFamilyDescriptor::new(name, options))
    };
    match Db::open_cf_descriptors(&options, dir, families()) {
        Ok(db) => Ok(Open { db, read_only: None }),
        Err(error) => match ReadOnly::of(&error).filter(|_| !create) {
            Some(reason) => {
                let db = Db::open_cf_descriptors_read_only(&options, dir, families(), false)?;
                Ok(Open { db, read_only: Some(reason) })
            }
            None => Err(error),
        },
    }
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rocks").field("dir", &self.dir).finish_non_exhaustive()
    }
}
