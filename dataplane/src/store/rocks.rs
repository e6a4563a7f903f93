//! RocksDB as this store uses it: options, the two column families, reads, scans and batches.
//!
//! Owns every option and the only calls into the bindings. Invariants: every read verifies checksums; a scan
//! that meets an error returns it instead of what it had; batches go through the log.
//!
//! `meta` holds small values in sorted tables behind a block cache. `chunks` holds zip chunks in blob files, so
//! that compaction moves twelve-byte keys and not zips; no block or blob cache is in front of it, for chunk
//! caching is done in process, above, and caching twice would halve both caches.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, BoundColumnFamily, Cache, ColumnFamilyDescriptor,
    CompactOptions, DBCompressionType, DBRecoveryMode, DBWithThreadMode, FlushOptions, LogLevel,
    MergeOperands, MultiThreaded, Options, ReadOptions, WaitForCompactOptions, WriteBatch, WriteOptions,
};

use super::error::StoreError;
use super::records;
use super::types::Durability;

const META: &str = "meta";
const CHUNKS: &str = "chunks";

/// Values of `chunks` from this size on live in blob files.
const MIN_BLOB_BYTES: u64 = 16 * 1024;
/// Log bytes after which the memtables that pin the oldest log are flushed.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Target size of a sorted table of `chunks`: keys only, so this many bytes stand for gigabytes of blobs.
const CHUNK_TABLE_BYTES: u64 = 1024 * 1024;
/// Size at which the database's own text log is replaced; it keeps two.
const TEXT_LOG_BYTES: usize = 256 * 1024;

/// Sizes that the store's memory and descriptors are bounded by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) write_buffer_bytes: usize,
    pub(super) block_cache_bytes: usize,
    pub(super) open_files_max: i32,
}

type Db = DBWithThreadMode<MultiThreaded>;

/// An open database with both families.
pub(super) struct Rocks {
    db: Db,
    block_cache: Cache,
}

fn database_options(sizes: Sizes) -> Options {
    let mut options = Options::default();
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // The log was examined before (see `wal`): what is left to tolerate is a torn tail.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_recycle_log_file_num(0);
    options.set_db_write_buffer_size(sizes.write_buffer_bytes);
    options.set_max_open_files(sizes.open_files_max);
    options.set_max_file_opening_threads(2);
    options.set_skip_stats_update_on_db_open(true);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1024 * 1024);
    options.set_manifest_preallocation_size(64 * 1024);
    options.set_max_manifest_file_size(4 * 1024 * 1024);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(TEXT_LOG_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn meta_options(sizes: Sizes, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(8 * 1024);
    table.set_bloom_filter(10.0, false);
    table.set_optimize_filters_for_memory(true);
    // Indexes and filters grow with versions, so they live inside the cache's bound, in partitions.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_index_type(rocksdb::BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(sizes.write_buffer_bytes / 4);
    options.set_max_write_buffer_number(3);
    options.set_target_file_size_base(8 * 1024 * 1024);
    options.set_max_bytes_for_level_base(64 * 1024 * 1024);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_merge_operator_associative("goproxyd.add.1", add);
    options
}

fn chunk_options(sizes: Sizes, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(8 * 1024);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(sizes.write_buffer_bytes / 2);
    options.set_max_write_buffer_number(3);
    options.set_target_file_size_base(CHUNK_TABLE_BYTES);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_enable_blob_files(true);
    options.set_min_blob_size(MIN_BLOB_BYTES);
    options.set_blob_compression_type(DBCompressionType::None);
    // Collection of garbage in blob files runs in passes (`collect_garbage`), not in every compaction: each
    // compaction of these tiny tables spans all keys and would rewrite a share of all zips.
    options.set_enable_blob_gc(false);
    options
}

/// Merge operator of counters: adds changes up. A change that is no number counts as none: failing here would
/// stop the whole database in a compaction, and counters only steer eviction; the scrub counts afresh.
fn add(_key: &[u8], existing: Option<&[u8]>, changes: &MergeOperands) -> Option<Vec<u8>> {
    let start = existing.and_then(records::decode_number).unwrap_or_default();
    let sum = changes.iter().filter_map(records::decode_number).fold(start, i64::wrapping_add);
    Some(records::encode_number(sum).to_vec())
}

/// Changes that become visible and durable together.
pub(super) struct Batch<'a> {
    writes: WriteBatch,
    meta: Arc<BoundColumnFamily<'a>>,
    chunks: Arc<BoundColumnFamily<'a>>,
}

impl Batch<'_> {
    pub(super) fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.writes.put_cf(&self.meta, key, value);
    }

    pub(super) fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.writes.delete_cf(&self.meta, key);
    }

    pub(super) fn add(&mut self, key: impl AsRef<[u8]>, change: i64) {
        if change != 0 {
            self.writes.merge_cf(&self.meta, key, records::encode_number(change));
        }
    }

    pub(super) fn put_chunk(&mut self, key: [u8; 12], value: &[u8]) {
        self.writes.put_cf(&self.chunks, key, value);
    }

    pub(super) fn delete_chunk(&mut self, key: [u8; 12]) {
        self.writes.delete_cf(&self.chunks, key);
    }

    /// Deletes all from `first` up to but without `end`. For rare use: reads have to look at every such range.
    pub(super) fn delete_chunks(&mut self, first: [u8; 12], end: [u8; 12]) {
        self.writes.delete_range_cf(&self.chunks, first, end);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// Bytes on disk, as the database counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Rocks {
    /// Opens the database in `dir`; `create` also makes a new one.
    pub(super) fn open(dir: &Path, sizes: Sizes, create: bool) -> Result<Self, rocksdb::Error> {
        let block_cache = Cache::new_hyper_clock_cache(sizes.block_cache_bytes, 0);
        let mut options = database_options(sizes);
        options.create_if_missing(create);
        let families = vec![
            ColumnFamilyDescriptor::new(META, meta_options(sizes, &block_cache)),
            ColumnFamilyDescriptor::new(CHUNKS, chunk_options(sizes, &block_cache)),
        ];
        let db = Db::open_cf_descriptors(&options, dir, families)?;
        Ok(Self { db, block_cache })
    }

    fn family(&self, name: &'static str) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        self.db.cf_handle(name).ok_or_else(|| StoreError::corrupt(name, "column family is missing"))
    }

    pub(super) fn get(&self, what: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = self.db.get_pinned_cf(&self.family(META)?, key);
        let found = found.map_err(|error| StoreError::database(what, error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub(super) fn chunk(&self, key: [u8; 12]) -> Result<Option<Bytes>, StoreError> {
        let found = self.db.get_pinned_cf(&self.family(CHUNKS)?, key);
        let found = found.map_err(|error| StoreError::database("zip chunk", error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub(super) fn batch(&self) -> Result<Batch<'_>, StoreError> {
        let (meta, chunks) = (self.family(META)?, self.family(CHUNKS)?);
        Ok(Batch { writes: WriteBatch::default(), meta, chunks })
    }

    pub(super) fn write(
        &self,
        what: &'static str,
        batch: Batch<'_>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.db.write_opt(batch.writes, &options).map_err(|error| StoreError::database(what, error))
    }

    /// Calls `each` with the entries of `meta` from `start` on whose keys begin with `prefix`, in key order.
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
        let mut options = ReadOptions::default();
        if let Some(end) = super::keys::after(prefix) {
            options.set_iterate_upper_bound(end);
        }
        options.fill_cache(false);
        options.set_auto_readahead_size(true);
        let mut entries = self.db.raw_iterator_cf_opt(&self.family(family)?, options);
        entries.seek(start.max(prefix));
        while let Some((key, value)) = entries.item() {
            if each(key, value).is_break() {
                return Ok(());
            }
            entries.next();
        }
        entries.status().map_err(|error| StoreError::database(what, error))
    }

    /// The last entry of `meta` whose key begins with `prefix`.
    pub(super) fn last_key(&self, what: &'static str, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(prefix);
        let mut entries = self.db.raw_iterator_cf_opt(&self.family(META)?, options);
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
    }

    /// Writes memtables out so that the log is empty.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let (meta, chunks) = (self.family(META)?, self.family(CHUNKS)?);
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db
            .flush_cfs_opt(&[&meta, &chunks], &options)
            .map_err(|error| StoreError::database("flush", error))
    }

    /// Puts the log on stable storage.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush_wal(true).map_err(|error| StoreError::database("log sync", error))
    }

    /// Rewrites what still lives in the oldest `share` (0 to 1) of the blob files and deletes those files.
    pub(super) fn collect_garbage(&self, share: f64) -> Result<(), StoreError> {
        let chunks = self.family(CHUNKS)?;
        let what = "blob garbage collection";
        let set = |on: &str, share: &str| {
            self.db
                .set_options_cf(
                    &chunks,
                    &[("enable_blob_garbage_collection", on), ("blob_garbage_collection_age_cutoff", share)],
                )
                .map_err(|error| StoreError::database(what, error))
        };
        set("true", &share.clamp(0.0, 1.0).to_string())?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        self.db.compact_range_cf_opt(&chunks, None::<&[u8]>, None::<&[u8]>, &options);
        set("false", "0")?;
        // The compaction has no result of its own; this returns the error that stopped it.
        let waiting = WaitForCompactOptions::default();
        self.db.wait_for_compact(&waiting).map_err(|error| StoreError::database(what, error))
    }

    /// What the database takes up.
    pub(super) fn space(&self) -> Result<Space, StoreError> {
        let (meta, chunks) = (self.family(META)?, self.family(CHUNKS)?);
        let number = |family: &Arc<BoundColumnFamily<'_>>, name: &str| {
            let value = self.db.property_int_value_cf(family, name);
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
    }
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rocks").field("path", &self.db.path()).finish_non_exhaustive()
    }
}
