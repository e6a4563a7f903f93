//! Giving back the space of deleted chunks.
//!
//! A blob file goes when nothing in it lives. What lives is written again into new files; which files, is told by their
//! share of all of them, from the oldest on. Invariant: both happen only when asked for here, never in compactions of the
//! database's own: each of these would rewrite a share of all zips.

use rocksdb::{BottommostLevelCompaction, CompactOptions, ErrorKind, WaitForCompactOptions};

use super::super::error::StoreError;
use super::{CHUNKS, Open, Rocks};

/// How long it is waited for whatever else the database does in the background, to hear of an error, µs. That of a compaction asked
/// for here is there at once.
const ERROR_WAIT_US: u64 = 10_000_000;

impl Rocks {
    /// Lets the deletions that are written out come to the files that they are about, so that those in which nothing
    /// lives go. Reads and writes keys alone.
    pub(in super::super) fn drop_dead_files(&self) -> Result<(), StoreError> {
        self.with(|open| compact(open, None))
    }

    /// Rewrites what still lives in the oldest blob files, of some `bytes` together, and deletes those files; how many there
    /// were.
    pub(in super::super) fn rewrite_oldest(&self, bytes: u64) -> Result<u64, StoreError> {
        self.with(|open| {
            let total = number(open, "rocksdb.total-blob-file-size")?;
            let files = blob_files(open)?;
            let count = files_of(bytes, total, files);
            set_collecting(open, "true", share_of(count, files))?;
            let compacted = compact(open, Some(BottommostLevelCompaction::ForceOptimized));
            set_collecting(open, "false", 0.0)?;
            compacted?;
            Ok(count)
        })
    }

    /// How many blob files there are.
    pub(in super::super) fn blob_files(&self) -> Result<u64, StoreError> {
        self.with(blob_files)
    }
}

fn failed(error: rocksdb::Error) -> StoreError {
    StoreError::writing("blob garbage collection", error)
}

fn blob_files(open: &Open) -> Result<u64, StoreError> {
    number(open, "rocksdb.num-blob-files")
}

fn number(open: &Open, property: &str) -> Result<u64, StoreError> {
    let chunks = open.family(CHUNKS)?;
    let value = open.db.property_int_value_cf(&chunks, property).map_err(failed)?;
    Ok(value.unwrap_or_default())
}

fn set_collecting(open: &Open, on: &str, share: f64) -> Result<(), StoreError> {
    let share = share.to_string();
    let options =
        [("enable_blob_garbage_collection", on), ("blob_garbage_collection_age_cutoff", share.as_str())];
    open.db.set_options_cf(&open.family(CHUNKS)?, &options).map_err(failed)
}

fn compact(open: &Open, bottommost: Option<BottommostLevelCompaction>) -> Result<(), StoreError> {
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    if let Some(bottommost) = bottommost {
        options.set_bottommost_level_compaction(bottommost);
    }
    open.db.compact_range_cf_opt(&open.family(CHUNKS)?, None::<&[u8]>, None::<&[u8]>, &options);
    // The compaction has no result of its own; this returns the error that stopped it.
    let mut waiting = WaitForCompactOptions::default();
    waiting.set_timeout(ERROR_WAIT_US);
    match open.db.wait_for_compact(&waiting) {
        // The database is busy with what clients write, or was told to end.
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::ShutdownInProgress) => Ok(()),
        result => result.map_err(failed),
    }
}

/// How many of so many files, of `total` bytes together, have `bytes`; at least one.
fn files_of(bytes: u64, total: u64, files: u64) -> u64 {
    let count = (u128::from(bytes) * u128::from(files)).div_ceil(u128::from(total.max(1)));
    u64::try_from(count).unwrap_or(u64::MAX).clamp(1, files.max(1))
}

/// The share that `count` of so many files are: the database rounds down to whole ones.
fn share_of(count: u64, files: u64) -> f64 {
    // A little more, so that rounding cannot lose the last one.
    ((count as f64 + 0.1) / files.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_few_files_is_never_none() {
        for (bytes, files, expected) in
            [(1, 1, 1), (250, 3, 1), (500, 4, 2), (260, 100, 26), (1000, 7, 7), (5000, 7, 7)]
        {
            let count = files_of(bytes, 1000, files);
            assert_eq!(count, expected, "{bytes} of {files} files");
            // As the database reckons.
            let cut = (share_of(count, files) * files as f64).floor();
            assert!((cut - expected as f64).abs() < 0.5, "{bytes} of {files} files: {cut}");
        }
    }

    #[test]
    fn no_files_are_no_share_too_many() {
        assert_eq!(files_of(100, 0, 0), 1);
        assert!(share_of(1, 0) <= 1.0);
    }
}
