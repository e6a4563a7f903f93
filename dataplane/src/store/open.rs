//! Opening: lock, identity, health of the log, database, recovery of what a crash left. And closing.
//!
//! Invariant: nothing is changed before it is known that the directory is this store's, is not in use, and has
//! no damage that opening would hide.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::clock::Clock;
use common::wal::{self, Verdict};
use parking_lot::Mutex;

use super::counters::Counters;
use super::error::{ADVICE_DAMAGED, ADVICE_WAL, OpenError, StoreError, is_full};
use super::evict::{EvictionOptions, Heat, QUEUES};
use super::feed::Feed;
use super::identity::{self, DirLock, StoreId};
use super::keys::QueueId;
use super::lease::{Doomed, Leases};
use super::pulse::Pulse;
use super::records::Transient;
use super::rocks::{Batch, Rocks, Sizes};
use super::state::State;
use super::stripes::Stripes;
use super::types::{BlobId, Durability};
use super::{Inner, Store, go_on, keys, records};
use crate::private::Private;

/// Blob ids reserved by one write.
const BLOB_IDS_RESERVED: u64 = 1024;

/// What bounds a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Memory for writes that are not in tables yet, bytes.
    pub write_buffer_bytes: usize,
    /// Memory for blocks of the record tables, their indexes and filters, bytes.
    pub block_cache_bytes: usize,
    /// Table and blob files held open at most.
    pub open_files_max: u16,
    /// Nothing is stored when the file system is fuller than this, per cent.
    pub full_percent: u8,
    /// Free bytes with which it is not, however full it is.
    pub full_room_bytes: u64,
    /// Nothing is stored when less than this is free, bytes.
    pub reserve_bytes: u64,
    /// Open even though acknowledged writes in the damaged log are lost by it. An operator's explicit choice.
    pub accept_log_loss: bool,
    /// What the eviction queues are made for.
    pub eviction: EvictionOptions,
    /// Modules that the log does not name.
    pub private: Private,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            write_buffer_bytes: 32 * 1024 * 1024,
            block_cache_bytes: 16 * 1024 * 1024,
            open_files_max: 256,
            full_percent: 97,
            full_room_bytes: 4 << 30,
            reserve_bytes: 64 * 1024 * 1024,
            accept_log_loss: false,
            eviction: EvictionOptions::default(),
            private: Private::default(),
        }
    }
}

/// Blob ids: `next` up to `limit` are reserved on disk.
#[derive(Debug)]
pub(super) struct BlobIds {
    next: u64,
    limit: u64,
}

impl Store {
    /// Opens the store in `dir`, which is made if it is not there.
    pub fn open(dir: &Path, options: StoreOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        std::fs::create_dir_all(dir).map_err(OpenError::io("create", dir))?;
        let lock = DirLock::take(dir)?;
        let expected = identity::read(dir)?;
        let database = dir.join("db");
        examine_log(&database, options.accept_log_loss)?;
        let rocks = open_database(&database, &options, expected.is_none())?;
        let id = check_identity(&rocks, dir, expected)?;
        let recovery = |source| OpenError::Recovery { dir: dir.to_owned(), source };
        let inner = load(rocks, dir, id, options, clock, lock).map_err(recovery)?;
        let store = Self { inner: Arc::new(inner) };
        store.inner.recover().map_err(recovery)?;
        Ok(store)
    }

    /// Whether the log in `dir` is such that [`Self::open`] loses nothing of it: [`OpenError::Damaged`] tells what it would lose,
    /// and refuse without [`StoreOptions::accept_log_loss`]. Opens nothing.
    pub fn examine_log(dir: &Path) -> Result<(), OpenError> {
        let database = dir.join("db");
        if !database.is_dir() {
            return Err(OpenError::io("find a store in", dir)(std::io::ErrorKind::NotFound.into()));
        }
        let _lock = DirLock::take(dir)?;
        examine_log(&database, false)
    }
}

fn examine_log(database: &Path, accept_loss: bool) -> Result<(), OpenError> {
    match wal::examine(database).map_err(OpenError::io("read", database))? {
        Verdict::Whole => {}
        Verdict::TornTail { log, offset } => {
            tracing::warn!(log = %log.display(), offset, "the log has a torn end, its unfinished write is dropped");
        }
        Verdict::DamagedMiddle { log, offset } if accept_loss => {
            tracing::error!(log = %log.display(), offset, "the log is damaged, what follows is dropped as told");
        }
        Verdict::DamagedMiddle { log, offset } => {
            let bytes = bytes_from(&log, offset);
            let detail = format!(
                "bad record at byte {offset} with good ones after it, {bytes} bytes of log from there on"
            );
            return Err(OpenError::Damaged { path: log, detail, advice: ADVICE_WAL });
        }
    }
    Ok(())
}

/// Bytes of log from `offset` in `log` to the end of the newest one; for people, so that what cannot be read counts as nothing.
fn bytes_from(log: &Path, offset: u64) -> u64 {
    let number = |path: &Path| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let is_log = |path: &PathBuf| path.extension().is_some_and(|end| end == "log");
    let entries = log.parent().and_then(|database| std::fs::read_dir(database).ok()).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let from_it = paths.filter(|path| is_log(path) && number(path) >= number(log));
    let bytes: u64 = from_it.filter_map(|path| Some(path.metadata().ok()?.len())).sum();
    bytes.saturating_sub(offset)
}

fn open_database(database: &Path, options: &StoreOptions, create: bool) -> Result<Rocks, OpenError> {
    let sizes = Sizes {
        write_buffer_bytes: options.write_buffer_bytes,
        block_cache_bytes: options.block_cache_bytes,
        open_files_max: i32::from(options.open_files_max),
        skips_bad_log: false,
    };
    let path = || PathBuf::from(database);
    let opened = Rocks::open(database, sizes, create).or_else(|error| {
        let text: &str = error.as_ref();
        if options.accept_log_loss && text.contains("Column family inconsistency") {
            return Rocks::open(database, Sizes { skips_bad_log: true, ..sizes }, create);
        }
        Err(error)
    });
    opened.map_err(|source| {
        let text: &str = source.as_ref();
        if is_full(text) {
            return OpenError::Full { dir: path() };
        }
        // What is missing is damage too: with an identity file there was a whole database once.
        let missing = text.contains("does not exist") || text.contains("No such file");
        if source.kind() == rocksdb::ErrorKind::Corruption || missing {
            return OpenError::Damaged { path: path(), detail: source.into_string(), advice: ADVICE_DAMAGED };
        }
        OpenError::Database { dir: path(), source }
    })
}

/// Makes the identity of a new store, or holds the file's against the database's own.
fn check_identity(rocks: &Rocks, dir: &Path, expected: Option<StoreId>) -> Result<StoreId, OpenError> {
    let recovery = |source| OpenError::Recovery { dir: dir.to_owned(), source };
    let setting = |name| rocks.get("setting", &keys::setting(name)).map_err(recovery);
    let damaged = |detail: &str| OpenError::Damaged {
        path: dir.join("db"),
        detail: detail.to_owned(),
        advice: ADVICE_DAMAGED,
    };
    let schema = setting(keys::SETTING_SCHEMA)?.and_then(|value| records::decode_number(&value));
    if let Some(schema) = schema {
        identity::check_schema(dir, u32::try_from(schema).unwrap_or(u32::MAX))?;
    }
    let stored = setting(keys::SETTING_STORE_ID)?;
    let stored = stored.and_then(|value| Some(StoreId(value.as_ref().try_into().ok()?)));
    match (expected, stored) {
        (Some(expected), Some(stored)) if expected == stored => Ok(stored),
        (Some(_), Some(_)) => Err(damaged("it belongs to another store than the identity file says")),
        (Some(_), None) => Err(damaged("it has no identity")),
        (None, stored) => {
            // New, or made by a start that died before it wrote the file.
            let id = stored.unwrap_or_else(StoreId::random);
            let mut batch = Batch::default();
            batch.put(keys::setting(keys::SETTING_STORE_ID), id.0);
            let schema = records::encode_number(i64::from(identity::SCHEMA));
            batch.put(keys::setting(keys::SETTING_SCHEMA), schema);
            rocks.write("identity", batch, Durability::Synced).map_err(recovery)?;
            // Out of the log, so that no later damage of a log takes the identity with it.
            rocks.flush().map_err(recovery)?;
            identity::write(dir, id)?;
            Ok(id)
        }
    }
}

fn load(
    rocks: Rocks,
    dir: &Path,
    id: StoreId,
    options: StoreOptions,
    clock: Arc<dyn Clock>,
    lock: DirLock,
) -> Result<Inner, StoreError> {
    let limit = rocks.get("setting", &keys::setting(keys::SETTING_BLOB_LIMIT))?;
    let limit = limit.and_then(|value| records::decode_number(&value)).map_or(1, i64::cast_unsigned);
    let newest = rocks.last_key("index feed", &keys::indexes())?;
    let newest = newest.and_then(|key| keys::parse_index(&key));
    let last_order = last_order(&rocks)?;
    let queued_us = i64::try_from(last_order).ok().filter(|&order_us| order_us > 0);
    let state = State::default();
    state.note(&rocks.check_open());
    Ok(Inner {
        counters: Counters::load(&rocks)?,
        rocks,
        dir: dir.to_owned(),
        id,
        heat: Heat::new(&options.eviction, &*clock, last_order, newest.max(queued_us)),
        options,
        clock,
        leases: Arc::new(Leases::default()),
        feed: Feed::after(newest.unwrap_or(i64::MIN)),
        blob_ids: Mutex::new(BlobIds { next: limit, limit }),
        version_locks: Stripes::new(),
        blob_locks: Stripes::new(),
        removals: AtomicU64::new(0),
        state,
        pulse: Pulse::default(),
        _lock: lock,
    })
}

/// The greatest position in the eviction queues, 0 when they are empty: what comes now goes behind it, whatever the clock says.
fn last_order(rocks: &Rocks) -> Result<u64, StoreError> {
    let mut last = 0;
    for queue in 0..QUEUES {
        let key = match rocks.last_key("eviction queue", &keys::queue_of(QueueId(queue as u8))) {
            // Eviction meets it again; which zip leaves first is no reason to serve none.
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::warn!(%error, "the order in which zips leave may not be kept");
                None
            }
            key => key?,
        };
        last = last.max(key.and_then(|key| keys::parse_queue(&key)).map_or(0, |key| key.order));
    }
    Ok(last)
}

impl Inner {
    /// Deletes the chunks of blobs that were being written or deleted when the process ended.
    fn recover(&self) -> Result<(), StoreError> {
        let mut left = Vec::new();
        let mut failed = None;
        self.rocks.scan("blob marker", &keys::transients(), &[], |key, value| {
            match (keys::parse_transient(key), records::decode_transient(value)) {
                (Some(blob), Ok(Transient::Writing)) => left.push(Doomed { blob, chunks: None }),
                (Some(blob), Ok(Transient::Doomed { chunks })) => {
                    left.push(Doomed { blob, chunks: Some(chunks) });
                }
                _ => failed = Some(StoreError::corrupt("blob marker", "unreadable entry")),
            }
            go_on(failed.is_none())
        })?;
        failed.map_or(Ok(()), Err)?;
        if !left.is_empty() {
            tracing::info!(
                blobs = left.len(),
                "deleting what an interrupted run left half written or half deleted"
            );
        }
        for doomed in left {
            self.leases.doom(doomed);
        }
        match self.collect(usize::MAX) {
            // Reading must work on a disk that takes nothing; the rest waits.
            Err(error) if error.takes_nothing() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// A blob id that was never given out.
    pub(super) fn allocate_blob(&self) -> Result<BlobId, StoreError> {
        let mut ids = self.blob_ids.lock();
        if ids.next == ids.limit {
            let limit = ids.limit + BLOB_IDS_RESERVED;
            let mut batch = Batch::default();
            let value = records::encode_number(limit.cast_signed());
            batch.put(keys::setting(keys::SETTING_BLOB_LIMIT), value);
            self.note_new(self.rocks.write("blob id", batch, Durability::Buffered))?;
            ids.limit = limit;
        }
        let blob = BlobId(ids.next);
        ids.next += 1;
        Ok(blob)
    }

    /// Remembers what the result of a write says of the disk, and hands the result on.
    pub(super) fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.state.note(&result);
        result
    }

    /// The same of a write that takes something in. A database that damage has stopped writes nothing, whatever it is: that is no damage of
    /// what was to be written, which is served without being stored.
    pub(super) fn note_new<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.note(result).map_err(|error| match error {
            StoreError::Corrupt { what, detail } => {
                StoreError::Unwritable { what, why: format!("the store met damage: {detail}").into() }
            }
            StoreError::Full { .. }
            | StoreError::Unwritable { .. }
            | StoreError::Closed
            | StoreError::NoChunk { .. }
            | StoreError::Misuse { .. }
            | StoreError::Database { .. } => error,
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.rocks.flush() {
            // Nothing is lost: the log has it, and the next start replays it.
            tracing::warn!(error = %error, "the store closed without writing its tables out");
        }
    }
}
