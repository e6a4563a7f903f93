//! A member's disk: `RocksDB` with the log, what must not be forgotten, and the records of the state.
//!
//! Owns the directory. Invariants: every method that writes is one batch of one write-ahead log, so that nothing
//! outlives a crash without what was written before it; records lie in one of two families, and which of them is the
//! state in use changes in the same batch as the applied index.

mod codec;
mod error;
mod identity;
mod open;
mod pace;
mod source;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use fail::fail_point;
use rocksdb::{
    BoundColumnFamily, Cache, DBWithThreadMode, Direction, IteratorMode, MultiThreaded, WriteBatch,
    WriteOptions,
};

use super::disk::{AppliedState, Boot, Disk, DiskError, Identity, LogEntry, LogWrite, Pinned, Vote};
use super::machine::{Change, Record};
use codec::Numbers;
pub use error::OpenError;
use error::{damaged, failed};
pub use pace::DiskPace;

type Db = DBWithThreadMode<MultiThreaded>;

const LOG: &str = "log";
const META: &str = "meta";

const VOTE: &[u8] = b"vote";
const COMMIT: &[u8] = b"commit";
const APPLIED: &[u8] = b"applied";
const TRUNCATED: &[u8] = b"truncated";
const IN_USE: &[u8] = b"in-use";
const IDENTITY: &[u8] = b"identity";

/// The two families of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    A,
    B,
}

impl Side {
    fn family(self) -> &'static str {
        match self {
            Self::A => "state-a",
            Self::B => "state-b",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::A => b'a',
            Self::B => b'b',
        }
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"a" => Some(Self::A),
            b"b" => Some(Self::B),
            _ => None,
        }
    }
}

/// The disk of one member.
pub struct LogStore {
    db: Arc<Db>,
    dir: PathBuf,
    identity: Identity,
    cache: Cache,
    in_use: Side,
    commit: u64,
    last_index: u64,
    pace: Arc<DiskPace>,
}

impl std::fmt::Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore")
            .field("dir", &self.dir)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl LogStore {
    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Tells how long its writes take.
    #[must_use]
    pub fn timed_by(self, pace: Arc<DiskPace>) -> Self {
        Self { pace, ..self }
    }

    fn write(&self, action: &'static str, batch: WriteBatch, sync: bool) -> Result<(), DiskError> {
        let begun = Instant::now();
        fail_point!("raft::disk::write", |kind| Err(match kind.as_deref() {
            Some("full") => DiskError::Full { action },
            _ => DiskError::Lost { action, source: Arc::new(std::io::Error::from_raw_os_error(5)) },
        }));
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch, &options).map_err(failed(action))?;
        if sync {
            fail_point!("raft::disk::sync");
            self.pace.note(begun.elapsed());
        }
        Ok(())
    }

    fn side(&self, side: Side) -> Result<Arc<BoundColumnFamily<'_>>, DiskError> {
        family(&self.db, side.family())
    }

    fn meta<T>(&self, key: &'static [u8], read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, DiskError> {
        meta_of(&self.db, key, read)
    }

    /// Walks the log: its bytes, if it has every entry from `first` to the last one.
    fn walk_log(&self, first: u64) -> Result<(u64, u64), DiskError> {
        let action = "read log";
        let log = family(&self.db, LOG)?;
        let (mut next, mut bytes) = (first, 0);
        for item in self.db.iterator_cf(&log, IteratorMode::Start) {
            let (key, value) = item.map_err(failed(action))?;
            let entry =
                codec::entry(&key, &value).ok_or_else(|| damaged(action, "an entry cannot be read"))?;
            if entry.index != next {
                return Err(damaged(action, &format!("entry {} where {next} was expected", entry.index)));
            }
            bytes += value.len() as u64;
            next += 1;
        }
        Ok((next - 1, bytes))
    }

    fn each_record(&self, side: Side, each: &mut dyn FnMut(Record)) -> Result<(), DiskError> {
        for item in self.db.iterator_cf(&self.side(side)?, IteratorMode::Start) {
            let (key, value) = item.map_err(failed("read state"))?;
            each((key.into_vec(), value.into_vec()));
        }
        Ok(())
    }
}

impl Disk for LogStore {
    fn load(&self) -> Result<Boot, DiskError> {
        let action = "read log";
        let Numbers(truncated_index, truncated_term) = self.meta(TRUNCATED, codec::numbers)?;
        let Numbers(term, voted_for) = self.meta(VOTE, codec::numbers)?;
        let commit = self.meta(COMMIT, codec::number)?;
        let applied = self.meta(APPLIED, codec::applied)?;
        let (last_index, log_bytes) = self.walk_log(truncated_index + 1)?;
        if commit > last_index || applied.index > commit || applied.index < truncated_index {
            let found = format!(
                "entries {} to {last_index}, committed {commit}, applied {}",
                truncated_index + 1,
                applied.index
            );
            return Err(damaged(action, &found));
        }
        Ok(Boot {
            identity: self.identity,
            vote: Vote { term, voted_for },
            commit,
            applied,
            truncated: (truncated_index, truncated_term),
            last_index,
            log_bytes,
        })
    }

    fn entries(&self, low: u64, high: u64, bytes: u64) -> Result<Vec<LogEntry>, DiskError> {
        let action = "read log";
        let log = family(&self.db, LOG)?;
        let (mut entries, mut given) = (Vec::new(), 0);
        let from = low.to_be_bytes();
        for item in self.db.iterator_cf(&log, IteratorMode::From(&from, Direction::Forward)) {
            let (key, value) = item.map_err(failed(action))?;
            let entry =
                codec::entry(&key, &value).ok_or_else(|| damaged(action, "an entry cannot be read"))?;
            given += entry.bytes.len() as u64;
            if entry.index >= high || (given > bytes && !entries.is_empty()) {
                break;
            }
            if entry.index != low + entries.len() as u64 {
                return Err(damaged(action, &format!("entry {} is missing", low + entries.len() as u64)));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<Option<u64>, DiskError> {
        let found = self.db.get_pinned_cf(&family(&self.db, LOG)?, index.to_be_bytes());
        let Some(value) = found.map_err(failed("read log"))? else { return Ok(None) };
        let entry = codec::entry(&index.to_be_bytes(), &value);
        Ok(Some(entry.ok_or_else(|| damaged("read log", "an entry cannot be read"))?.term))
    }

    fn persist(&mut self, write: LogWrite, sync: bool) -> Result<(), DiskError> {
        let mut batch = WriteBatch::default();
        let mut last_index = self.last_index;
        {
            let (log, meta) = (family(&self.db, LOG)?, family(&self.db, META)?);
            for entry in &write.entries {
                batch.put_cf(&log, entry.index.to_be_bytes(), codec::write_entry(entry));
            }
            if let Some(last) = write.entries.last() {
                for index in last.index + 1..=self.last_index {
                    batch.delete_cf(&log, index.to_be_bytes());
                }
                last_index = last.index;
            }
            if let Some(vote) = write.vote {
                batch.put_cf(&meta, VOTE, codec::write_numbers(vote.term, vote.voted_for));
            }
            if let Some(commit) = write.commit {
                batch.put_cf(&meta, COMMIT, codec::write_number(commit));
            }
        }
        self.write("append to log", batch, sync)?;
        self.last_index = last_index;
        self.commit = write.commit.unwrap_or(self.commit);
        Ok(())
    }

    fn apply(&mut self, changes: &[Change], applied: &AppliedState) -> Result<(), DiskError> {
        let mut batch = WriteBatch::default();
        let commit = self.commit.max(applied.index);
        {
            let (state, meta) = (self.side(self.in_use)?, family(&self.db, META)?);
            for change in changes {
                match change {
                    Change::Put { key, value } => batch.put_cf(&state, key, value),
                    Change::Delete { key } => batch.delete_cf(&state, key),
                }
            }
            batch.put_cf(&meta, APPLIED, codec::write_applied(applied));
            if commit != self.commit {
                batch.put_cf(&meta, COMMIT, codec::write_number(commit));
            }
        }
        self.write("write state", batch, false)?;
        self.commit = commit;
        Ok(())
    }

    fn compact(&mut self, through: u64, term: u64) -> Result<(), DiskError> {
        let mut batch = WriteBatch::default();
        {
            let (log, meta) = (family(&self.db, LOG)?, family(&self.db, META)?);
            batch.delete_range_cf(&log, 0_u64.to_be_bytes(), (through + 1).to_be_bytes());
            batch.put_cf(&meta, TRUNCATED, codec::write_numbers(through, term));
        }
        self.write("cut log", batch, false)
    }

    fn records(&self, each: &mut dyn FnMut(Record)) -> Result<(), DiskError> {
        self.each_record(self.in_use, each)
    }

    fn pin(&self) -> Result<Pinned, DiskError> {
        source::pin(&self.db)
    }

    fn stage_begin(&mut self) -> Result<(), DiskError> {
        open::clear(&self.db, self.in_use.other(), &self.cache)
    }

    fn stage(&mut self, records: &[Record]) -> Result<(), DiskError> {
        let mut batch = WriteBatch::default();
        {
            let state = self.side(self.in_use.other())?;
            for (key, value) in records {
                batch.put_cf(&state, key, value);
            }
        }
        self.write("stage snapshot", batch, false)
    }

    fn staged(&self, each: &mut dyn FnMut(Record)) -> Result<(), DiskError> {
        self.each_record(self.in_use.other(), each)
    }

    fn install(&mut self, applied: &AppliedState, vote: Vote) -> Result<(), DiskError> {
        let mut batch = WriteBatch::default();
        {
            let (log, meta) = (family(&self.db, LOG)?, family(&self.db, META)?);
            batch.put_cf(&meta, IN_USE, [self.in_use.other().byte()]);
            batch.put_cf(&meta, APPLIED, codec::write_applied(applied));
            batch.put_cf(&meta, COMMIT, codec::write_number(applied.index));
            batch.put_cf(&meta, VOTE, codec::write_numbers(vote.term, vote.voted_for));
            batch.put_cf(&meta, TRUNCATED, codec::write_numbers(applied.index, applied.term));
            batch.delete_range_cf(&log, 0_u64.to_be_bytes(), u64::MAX.to_be_bytes());
        }
        self.write("install snapshot", batch, true)?;
        self.in_use = self.in_use.other();
        self.commit = applied.index;
        self.last_index = applied.index;
        Ok(())
    }
}

fn family<'db>(db: &'db Db, name: &'static str) -> Result<Arc<BoundColumnFamily<'db>>, DiskError> {
    db.cf_handle(name).ok_or_else(|| damaged("open", &format!("family `{name}` is missing")))
}

fn meta_of<T>(db: &Db, key: &'static [u8], read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, DiskError> {
    let found = db.get_pinned_cf(&family(db, META)?, key).map_err(failed("read log"))?;
    let value = found.as_deref().and_then(read);
    value.ok_or_else(|| {
        damaged("read log", &format!("`{}` is missing or damaged", String::from_utf8_lossy(key)))
    })
}
