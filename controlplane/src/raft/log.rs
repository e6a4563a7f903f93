//! The log as crate raft reads it: a few recent entries in memory in front of the disk.
//!
//! Owns the disk. Invariant: what is in memory is what the disk holds. Raft cannot be told of a failing disk in the
//! middle of its work; such an error is kept here, and the peer stops for it before anything leaves.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use cluster::MemberId;
use prost::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::config::Limits;
use super::convert::{to_conf_state, to_entry, to_log_entry};
use super::disk::{AppliedState, Boot, Disk, DiskError, LogWrite, RecordSource, Vote};
use super::snapshot::Descriptor;

/// Bytes that an entry counts beside its data.
const ENTRY_OVERHEAD_BYTES: u64 = 48;

pub(super) struct Log<D> {
    disk: D,
    limits: Limits,
    vote: Vote,
    commit: u64,
    members: ConfState,
    truncated: (u64, u64),
    last_index: u64,
    bytes: u64,
    /// The newest entries, without gaps up to the last one.
    cache: VecDeque<Entry>,
    cache_bytes: u64,
    sending: RefCell<Sending>,
    error: RefCell<Option<DiskError>>,
}

/// States that are being sent.
#[derive(Default)]
struct Sending {
    next_id: u64,
    /// By receiver: index of the state, and its records until they are fetched.
    to: BTreeMap<u64, (u64, Option<Box<dyn RecordSource>>)>,
}

impl<D: Disk> Log<D> {
    pub(super) fn new(disk: D, boot: &Boot, limits: Limits) -> Self {
        Self {
            disk,
            limits,
            vote: boot.vote,
            commit: boot.commit,
            members: to_conf_state(&boot.applied.members),
            truncated: boot.truncated,
            last_index: boot.last_index,
            bytes: boot.log_bytes,
            cache: VecDeque::new(),
            cache_bytes: 0,
            sending: RefCell::default(),
            error: RefCell::default(),
        }
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    pub(super) fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    pub(super) fn into_disk(self) -> D {
        self.disk
    }

    /// An error that came up while raft read.
    pub(super) fn take_error(&self) -> Option<DiskError> {
        self.error.borrow_mut().take()
    }

    pub(super) fn bounds(&self) -> (u64, u64) {
        (self.truncated.0 + 1, self.last_index)
    }

    pub(super) fn truncated_index(&self) -> u64 {
        self.truncated.0
    }

    pub(super) fn log_bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends entries, and writes term, vote and commit index, in one step.
    pub(super) fn persist(
        &mut self,
        entries: &[Entry],
        hard: Option<&HardState>,
        sync: bool,
    ) -> Result<(), DiskError> {
        let vote = hard.map(|hard| Vote { term: hard.term, voted_for: hard.vote });
        let commit = hard.map(|hard| hard.commit).filter(|&commit| commit > self.commit);
        let write = LogWrite {
            entries: entries.iter().map(to_log_entry).collect(),
            vote: vote.filter(|vote| *vote != self.vote),
            commit,
        };
        if write.is_empty() {
            return Ok(());
        }
        self.disk.persist(write, sync)?;
        self.vote = vote.unwrap_or(self.vote);
        self.commit = commit.unwrap_or(self.commit);
        self.remember(entries);
        Ok(())
    }

    /// Keeps entries that were written, and forgets those whose place they took.
    fn remember(&mut self, entries: &[Entry]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        while self.cache.back().is_some_and(|entry| entry.index >= first.index) {
            if let Some(entry) = self.cache.pop_back() {
                let bytes = bytes_of(&entry);
                self.cache_bytes -= bytes;
                self.bytes = self.bytes.saturating_sub(bytes);
            }
        }
        for entry in entries {
            self.cache_bytes += bytes_of(entry);
            self.bytes += bytes_of(entry);
            self.cache.push_back(entry.clone());
        }
        self.last_index = last.index;
        while self.cache_bytes > self.limits.log_cache_bytes_max {
            let Some(entry) = self.cache.pop_front() else { break };
            self.cache_bytes -= bytes_of(&entry);
        }
    }

    /// Notes what was applied: a start would begin from it.
    pub(super) fn applied(&mut self, applied: &AppliedState) {
        self.members = to_conf_state(&applied.members);
        self.commit = self.commit.max(applied.index);
    }

    /// Forgets entries up to and including `through`.
    pub(super) fn compact(&mut self, through: u64) -> Result<(), DiskError> {
        if through <= self.truncated.0 || through > self.last_index {
            return Ok(());
        }
        let Some(term) = self.term_at(through)? else { return Ok(()) };
        self.disk.compact(through, term)?;
        let share = (through - self.truncated.0) * self.bytes / (self.last_index - self.truncated.0).max(1);
        self.bytes = self.bytes.saturating_sub(share);
        self.truncated = (through, term);
        while self.cache.front().is_some_and(|entry| entry.index <= through) {
            if let Some(entry) = self.cache.pop_front() {
                self.cache_bytes -= bytes_of(&entry);
            }
        }
        Ok(())
    }

    /// Installs the staged state; the log is empty after it.
    pub(super) fn install(
        &mut self,
        applied: &AppliedState,
        hard: Option<&HardState>,
    ) -> Result<(), DiskError> {
        let vote = hard.map_or(self.vote, |hard| Vote { term: hard.term, voted_for: hard.vote });
        self.disk.install(applied, vote)?;
        self.vote = vote;
        self.commit = applied.index;
        self.members = to_conf_state(&applied.members);
        self.truncated = (applied.index, applied.term);
        self.last_index = applied.index;
        self.bytes = 0;
        self.cache.clear();
        self.cache_bytes = 0;
        Ok(())
    }

    /// The records of the state that was promised to a member.
    pub(super) fn take_source(&self, to: u64) -> Option<Box<dyn RecordSource>> {
        self.sending.borrow_mut().to.get_mut(&to)?.1.take()
    }

    /// Sending ended, or the member is no longer sent to.
    pub(super) fn sent(&self, to: MemberId) {
        self.sending.borrow_mut().to.remove(&to.get());
    }

    /// Nobody who does not lead sends states.
    pub(super) fn forget_sending(&self) {
        self.sending.borrow_mut().to.clear();
    }

    /// The oldest index that a member which is being sent a state will ask for next.
    pub(super) fn oldest_sending(&self) -> Option<u64> {
        self.sending.borrow().to.values().map(|(index, _)| *index).min()
    }

    fn term_at(&self, index: u64) -> Result<Option<u64>, DiskError> {
        if index == self.truncated.0 {
            return Ok(Some(self.truncated.1));
        }
        if let Some(entry) = self.cached(index) {
            return Ok(Some(entry.term));
        }
        if index < self.truncated.0 || index > self.last_index { Ok(None) } else { self.disk.term(index) }
    }

    fn cached(&self, index: u64) -> Option<&Entry> {
        let first = self.cache.front()?.index;
        self.cache.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    fn keep(&self, error: DiskError) -> raft::Error {
        *self.error.borrow_mut() = Some(error);
        raft::Error::Store(StorageError::Unavailable)
    }

    fn pin(&self, request_index: u64, to: u64) -> Result<Option<Snapshot>, DiskError> {
        let mut sending = self.sending.borrow_mut();
        if sending.to.contains_key(&to) || sending.to.len() >= self.limits.snapshots_max {
            return Ok(None);
        }
        let pinned = self.disk.pin()?;
        if pinned.applied.index < request_index {
            return Ok(None);
        }
        sending.next_id += 1;
        sending.to.insert(to, (pinned.applied.index, Some(pinned.source)));
        let descriptor = Descriptor {
            id: sending.next_id,
            digest: pinned.applied.digest,
            records: pinned.applied.records,
            logs: pinned.applied.members.logs.clone(),
        };
        let metadata = SnapshotMetadata {
            conf_state: Some(to_conf_state(&pinned.applied.members)),
            index: pinned.applied.index,
            term: pinned.applied.term,
        };
        Ok(Some(Snapshot { data: descriptor.encode(), metadata: Some(metadata) }))
    }
}

impl<D: Disk> Storage for Log<D> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let hard_state = HardState { term: self.vote.term, vote: self.vote.voted_for, commit: self.commit };
        Ok(RaftState { hard_state, conf_state: self.members.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last_index + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut entries = Vec::new();
        if self.cached(low).is_some() {
            entries.extend((low..high).map_while(|index| self.cached(index).cloned()));
        } else {
            let read = self.disk.entries(low, high, limit).map_err(|error| self.keep(error))?;
            for entry in &read {
                entries.push(to_entry(entry).map_err(|error| self.keep(error))?);
            }
        }
        raft::util::limit_size(&mut entries, Some(limit));
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_at(index) {
            Ok(Some(term)) => Ok(term),
            Ok(None) if index < self.truncated.0 => Err(raft::Error::Store(StorageError::Compacted)),
            Ok(None) => Err(raft::Error::Store(StorageError::Unavailable)),
            Err(error) => Err(self.keep(error)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let pinned = self.pin(request_index, to).unwrap_or_else(|error| {
            self.keep(error);
            None
        });
        pinned.ok_or(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

fn bytes_of(entry: &Entry) -> u64 {
    entry.encoded_len() as u64 + ENTRY_OVERHEAD_BYTES
}
