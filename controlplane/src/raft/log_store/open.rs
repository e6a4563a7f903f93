//! Making a member's directory, and opening it: whose it is, whether it is whole, and only then the database.
//!
//! A directory is made beside its place and renamed into it, so that one that is there was finished. Invariant:
//! nothing is changed before it is known that the directory is this member's, not in use, and has no damage that opening
//! would hide.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster::{ClusterId, MemberId};
use common::wal::{self, Verdict};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, IteratorMode,
    LogLevel, Options, WriteBatch, WriteOptions,
};

use super::super::disk::{AppliedState, DiskError, Identity, Members};
use super::error::{OpenError, failed};
use super::{
    APPLIED, COMMIT, Db, IDENTITY, IN_USE, LOG, LogStore, META, Side, TRUNCATED, VOTE, codec, family,
    identity, meta_of,
};

/// Memory for writes that are not yet in tables, of all families.
const WRITE_BUFFERS_BYTES: usize = 4 * 1024 * 1024;
const WRITE_BUFFER_BYTES: usize = 2 * 1024 * 1024;
const BLOCK_CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the write-ahead log after which memory is written out.
const WAL_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Open files of the database; tables are few.
const OPEN_FILES_MAX: i32 = 128;
/// Set aside while there is room, and given up when there is none, so that somebody can still act on it.
const RESERVE_BYTES: u64 = 2 * 1024 * 1024;

/// The folder of the member in its data directory.
const FOLDER: &str = "raft";
const DRAFT: &str = "raft.new";
const DATABASE: &str = "db";
const RESERVE: &str = "reserve";

impl LogStore {
    /// Makes the directory of a new member in `data_dir`. With `members` it begins a cluster of these; without, it waits
    /// to be sent everything.
    pub fn create(data_dir: &Path, identity: Identity, members: Option<&Members>) -> Result<Self, OpenError> {
        let (dir, draft) = (data_dir.join(FOLDER), data_dir.join(DRAFT));
        if dir.exists() {
            return Err(OpenError::Exists { dir });
        }
        match std::fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(OpenError::io("remove", &draft)(error));
            }
            Err(_) | Ok(()) => {}
        }
        std::fs::create_dir_all(&draft).map_err(OpenError::io("create", &draft))?;
        let database = open_database(&draft.join(DATABASE), true, &new_cache())?;
        begin(&database, &identity, members)?;
        drop(database);
        identity::write(&draft, &identity)?;
        std::fs::rename(&draft, &dir).map_err(OpenError::io("rename", &draft))?;
        identity::sync_dir(data_dir)?;
        Self::open(data_dir, identity.cluster, identity.member)
    }

    /// Whether `data_dir` was ever made a member's, whatever is left of it.
    pub fn identity_in(data_dir: &Path) -> Result<Option<Identity>, OpenError> {
        let dir = data_dir.join(FOLDER);
        match identity::read(&dir)? {
            None if dir.exists() => Err(OpenError::LogLost { dir }),
            found => Ok(found),
        }
    }

    /// Opens the directory of this member of this cluster.
    pub fn open(data_dir: &Path, cluster: ClusterId, member: MemberId) -> Result<Self, OpenError> {
        let dir = data_dir.join(FOLDER);
        let Some(identity) = Self::identity_in(data_dir)? else { return Err(OpenError::Absent { dir }) };
        if (identity.cluster, identity.member) != (cluster, member) {
            let (found_member, found_cluster) = (identity.member, identity.cluster);
            return Err(OpenError::Other { dir, found_member, found_cluster });
        }
        let database = dir.join(DATABASE);
        // The database names its newest manifest here; without it there is none.
        if !database.join("CURRENT").exists() {
            return Err(OpenError::LogLost { dir });
        }
        check_log(&database)?;
        let reserve = dir.join(RESERVE);
        let cache = new_cache();
        let db = match open_database(&database, false, &cache) {
            Err(full) if full.is_full() && std::fs::remove_file(&reserve).is_ok() => {
                tracing::warn!("the disk of raft is full: its reserve is given up");
                open_database(&database, false, &cache)?
            }
            db => db?,
        };
        if meta_of(&db, IDENTITY, codec::identity)? != identity {
            return Err(OpenError::LogLost { dir });
        }
        set_aside(&reserve);
        let in_use = meta_of(&db, IN_USE, Side::of)?;
        clear(&db, in_use.other(), &cache)?;
        let commit = meta_of(&db, COMMIT, codec::number)?;
        let codec::Numbers(truncated, _) = meta_of(&db, TRUNCATED, codec::numbers)?;
        let last_index = last_index(&db)?.unwrap_or(truncated);
        let pace = Arc::default();
        Ok(Self { db: Arc::new(db), dir, identity, cache, in_use, commit, last_index, pace })
    }
}

/// Empties a family. What holds it fast, as a snapshot being sent, keeps it.
pub(super) fn clear(db: &Db, side: Side, cache: &Cache) -> Result<(), DiskError> {
    let action = "clear staged state";
    let is_empty = {
        let state = family(db, side.family())?;
        db.iterator_cf(&state, IteratorMode::Start).next().is_none()
    };
    if is_empty {
        return Ok(());
    }
    db.drop_cf(side.family()).map_err(failed(action))?;
    db.create_cf(side.family(), &family_options(cache)).map_err(failed(action))
}

/// What a new member knows. The first of a cluster begin at index 1, so that whoever joins later has to be sent the
/// members with the state.
fn begin(db: &Db, identity: &Identity, members: Option<&Members>) -> Result<(), DiskError> {
    let first = u64::from(members.is_some());
    let members = members.cloned().unwrap_or_default();
    let applied = AppliedState { index: first, term: first, members, ..AppliedState::default() };
    let mut batch = WriteBatch::default();
    {
        let meta = family(db, META)?;
        batch.put_cf(&meta, IDENTITY, codec::write_identity(identity));
        batch.put_cf(&meta, VOTE, codec::write_numbers(first, 0));
        batch.put_cf(&meta, COMMIT, codec::write_number(first));
        batch.put_cf(&meta, APPLIED, codec::write_applied(&applied));
        batch.put_cf(&meta, TRUNCATED, codec::write_numbers(first, first));
        batch.put_cf(&meta, IN_USE, [Side::A.byte()]);
    }
    let mut options = WriteOptions::default();
    options.set_sync(true);
    db.write_opt(batch, &options).map_err(failed("begin log"))
}

fn last_index(db: &Db) -> Result<Option<u64>, DiskError> {
    let log = family(db, LOG)?;
    let last = db.iterator_cf(&log, IteratorMode::End).next().transpose().map_err(failed("read log"))?;
    Ok(last.and_then(|(key, _)| codec::number(&key)))
}

fn check_log(database: &Path) -> Result<(), OpenError> {
    match wal::examine(database).map_err(OpenError::io("read", database))? {
        Verdict::Whole => Ok(()),
        Verdict::TornTail { log, offset } => {
            tracing::info!(log = %log.display(), offset, "a write was cut off by a crash, it was never acknowledged");
            Ok(())
        }
        Verdict::DamagedMiddle { log, offset } => Err(OpenError::DamagedMiddle { log, offset }),
    }
}

/// Makes the reserve if there is room to spare. Nothing depends on it.
fn set_aside(path: &PathBuf) {
    if path.exists() {
        return;
    }
    let has_room = path
        .parent()
        .and_then(|dir| rustix::fs::statvfs(dir).ok())
        .is_some_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) > 4 * RESERVE_BYTES);
    if !has_room {
        return;
    }
    let flags = rustix::fs::FallocateFlags::empty();
    let made = std::fs::File::create(path)
        .and_then(|file| rustix::fs::fallocate(&file, flags, 0, RESERVE_BYTES).map_err(Into::into));
    if let Err(error) = made {
        tracing::debug!(%error, "no reserve on raft's disk");
        let _ = std::fs::remove_file(path);
    }
}

fn new_cache() -> Cache {
    Cache::new_lru_cache(BLOCK_CACHE_BYTES)
}

fn open_database(path: &Path, create: bool, cache: &Cache) -> Result<Db, OpenError> {
    let families = [LOG, META, Side::A.family(), Side::B.family()]
        .map(|name| ColumnFamilyDescriptor::new(name, family_options(cache)));
    Db::open_cf_descriptors(&database_options(create), path, families).map_err(|error| {
        if error.kind() == rocksdb::ErrorKind::IOError && error.as_ref().contains("LOCK") {
            return OpenError::InUse { dir: path.to_owned() };
        }
        failed("open")(error).into()
    })
}

fn database_options(create: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // The log was examined before: what is left to tolerate is a torn tail. What is recovered is written to tables and
    // synced at once, which also makes good for pages that a failed sync left in memory alone.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_recycle_log_file_num(0);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_file_opening_threads(1);
    options.set_skip_stats_update_on_db_open(true);
    options.set_max_background_jobs(2);
    options.set_manifest_preallocation_size(64 * 1024);
    options.set_max_manifest_file_size(1024 * 1024);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(256 * 1024);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn family_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options.set_target_file_size_base(8 * 1024 * 1024);
    options
}
