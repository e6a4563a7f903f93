//! The database's options, each that is not the default with its reason where it is not plain.

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, MergeOperands, Options,
};

use super::super::records;

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
pub(in super::super) struct Sizes {
    pub(in super::super) write_buffer_bytes: usize,
    pub(in super::super) block_cache_bytes: usize,
    pub(in super::super) open_files_max: i32,
    /// Goes on behind damage in the log, wherever it is, which else is refused where tables hold what came after it.
    pub(in super::super) skips_bad_log: bool,
}

pub(super) fn database_options(sizes: Sizes) -> Options {
    let mut options = Options::default();
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // The log was examined before (see `common::wal`): what is left to tolerate is a torn tail.
    options.set_wal_recovery_mode(if sizes.skips_bad_log {
        DBRecoveryMode::SkipAnyCorruptedRecord
    } else {
        DBRecoveryMode::PointInTime
    });
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

pub(super) fn meta_options(sizes: Sizes, cache: &Cache) -> Options {
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

pub(super) fn chunk_options(sizes: Sizes, cache: &Cache) -> Options {
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
/// stop the whole database in a compaction, and counters only steer eviction.
#[expect(clippy::unnecessary_wraps, reason = "the bindings ask for this type")]
fn add(_key: &[u8], existing: Option<&[u8]>, changes: &MergeOperands) -> Option<Vec<u8>> {
    let start = existing.and_then(records::decode_number).unwrap_or_default();
    let sum = changes.iter().filter_map(records::decode_number).fold(start, i64::wrapping_add);
    Some(records::encode_number(sum).to_vec())
}
