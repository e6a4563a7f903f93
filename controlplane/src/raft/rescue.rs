//! Going on from the log of one member, when the majority of the group is lost for good: on its disk, while it is stopped.
//!
//! Every entry of that log counts as committed. A follower hears of a commit with the message after it, so what was answered to a
//! client may well lie behind the commit index here; what was not is carried out although nobody was told, which repeats nothing and
//! takes nothing back. The new log begins with the whole state, far behind the old one. Invariant: until [`Rescue::write`] has
//! returned, the disk is what it was or what it will be, whatever happens.

use std::collections::BTreeMap;

use bytes::Bytes;
use cluster::MemberId;
use fail::fail_point;
use raft::eraftpb::EntryType;

use super::convert::{kind_of, to_entry};
use super::disk::{AppliedState, Boot, Disk, DiskError, Members, Vote};
use super::envelope::{self, Purpose};
use super::error::StartError;
use super::machine::{Change, Machine, MachineError, Record, RequestId};
use super::peer::restore;

/// How far behind the old log the new one begins. The lost members may have gone on beyond what this one has: an index of theirs is
/// not to be met again, for whoever follows the state counts its changes by them. A thousand changes a second take eleven days.
const INDEX_GAP: u64 = 1_000_000_000;
/// Bytes of entries that are read at once.
const ENTRIES_BYTES: u64 = 1 << 20;
/// Bytes of records that are written at once.
const RECORDS_BYTES: usize = 1 << 20;

/// Why a log is not gone on from.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// It cannot be taken up, as a member could not take it up.
    #[error("take up the log")]
    Start(#[from] StartError),
    /// The disk.
    #[error("go on from the log")]
    Disk(#[from] DiskError),
    /// An entry cannot be read.
    #[error("entry {index} cannot be read: {reason}")]
    Entry {
        /// Its place.
        index: u64,
        /// Why.
        reason: &'static str,
    },
    /// An entry, or what is to come after all of them, cannot be applied.
    #[error("apply entry {index}")]
    Machine {
        /// Its place.
        index: u64,
        /// Why.
        #[source]
        source: MachineError,
    },
}

/// How far a log goes. Of two members the one with the later last term has more, and with the same term the one with the later index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The newest term that the member knows of.
    pub term: u64,
    /// Index of the last entry.
    pub last_index: u64,
    /// Its term.
    pub last_term: u64,
    /// Index up to which the member knew entries to be committed.
    pub commit: u64,
    /// Index up to which it had applied them.
    pub applied: u64,
}

/// A member's log while it is gone on from.
pub struct Rescue<D, M> {
    disk: D,
    boot: Boot,
    machine: M,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    last_term: u64,
}

impl<D: Disk, M: Machine> Rescue<D, M> {
    /// Takes up what is on `disk` and applies every entry of its log. Nothing is written.
    pub fn begin(disk: D, machine: &M) -> Result<Self, RescueError> {
        let boot = disk.load()?;
        let own = boot.applied.members.logs.get(&boot.identity.member.get());
        if own.is_some_and(|own| *own != boot.identity.incarnation) {
            return Err(StartError::OtherLog.into());
        }
        let machine = restore(&disk, machine, &boot)?;
        let mut records = BTreeMap::new();
        disk.records(&mut |(key, value)| drop(records.insert(key, value)))?;
        let last_term = match disk.term(boot.last_index)? {
            Some(term) => term,
            None => boot.truncated.1,
        };
        let mut rescue = Self { disk, boot, machine, records, last_term };
        rescue.apply_rest()?;
        Ok(rescue)
    }

    /// How far the log goes.
    pub fn standing(&self) -> Standing {
        Standing {
            term: self.boot.vote.term,
            last_index: self.boot.last_index,
            last_term: self.last_term,
            commit: self.boot.commit,
            applied: self.boot.applied.index,
        }
    }

    /// The state machine, as of the last entry and of [`Self::apply`].
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The index at which the new log begins, and the term.
    pub fn beginning(&self) -> (u64, u64) {
        let term = self.boot.vote.term.max(self.last_term).saturating_add(1);
        (self.boot.last_index.saturating_add(INDEX_GAP), term)
    }

    /// Applies the command with which the new log begins. Nothing is written.
    pub fn apply(&mut self, request: RequestId, command: &[u8]) -> Result<M::Answer, RescueError> {
        let (index, _) = self.beginning();
        self.change(index, request, command)
    }

    /// Writes the new log: its member is the only one of the group.
    pub fn write(mut self) -> Result<(), RescueError> {
        let (index, term) = self.beginning();
        let identity = self.boot.identity;
        let applied = AppliedState {
            index,
            term,
            members: Members::of_voters([(identity.member, identity.incarnation)]),
            digest: self.machine.digest(),
            records: self.machine.record_count(),
        };
        fail_point!("raft::rescue::before_stage");
        self.disk.stage_begin()?;
        let mut part: Vec<Record> = Vec::new();
        let mut bytes = 0;
        for (key, value) in std::mem::take(&mut self.records) {
            bytes += key.len() + value.len();
            part.push((key, value));
            if bytes >= RECORDS_BYTES {
                self.disk.stage(&part)?;
                part.clear();
                bytes = 0;
            }
        }
        self.disk.stage(&part)?;
        fail_point!("raft::rescue::before_install");
        self.disk.install(&applied, Vote { term, voted_for: 0 })?;
        fail_point!("raft::rescue::after_install");
        Ok(())
    }

    /// Whether the group has members beside this one.
    pub fn has_others(&self) -> bool {
        let me = self.boot.identity.member.get();
        self.boot.applied.members.all().into_iter().any(|member| member != me)
    }

    /// Whose log it is.
    pub fn member(&self) -> MemberId {
        self.boot.identity.member
    }

    fn apply_rest(&mut self) -> Result<(), RescueError> {
        let mut next = self.boot.applied.index + 1;
        while next <= self.boot.last_index {
            let entries = self.disk.entries(next, self.boot.last_index + 1, ENTRIES_BYTES)?;
            for stored in &entries {
                let entry = to_entry(stored)?;
                let unreadable = |reason| RescueError::Entry { index: stored.index, reason };
                match kind_of(&entry) {
                    None | Some(EntryType::EntryConfChange) => {
                        return Err(unreadable("it is of an unknown kind"));
                    }
                    // Who belongs to the group is not for the old one to say any more.
                    Some(EntryType::EntryConfChangeV2) => {}
                    Some(EntryType::EntryNormal) if entry.data.is_empty() => {}
                    Some(EntryType::EntryNormal) => {
                        let opened = open(&entry.data).map_err(unreadable)?;
                        self.change(stored.index, opened.0, &opened.1)?;
                    }
                }
            }
            // A disk gives at least one entry of those that it has.
            let read = entries.len() as u64;
            if read == 0 {
                return Err(RescueError::Entry { index: next, reason: "it is missing" });
            }
            next += read;
        }
        Ok(())
    }

    fn change(&mut self, index: u64, request: RequestId, command: &[u8]) -> Result<M::Answer, RescueError> {
        let applied = self.machine.apply(index, request, command);
        let applied = applied.map_err(|source| RescueError::Machine { index, source })?;
        for change in applied.changes {
            match change {
                Change::Put { key, value } => drop(self.records.insert(key, value)),
                Change::Delete { key } => drop(self.records.remove(&key)),
            }
        }
        Ok(applied.answer)
    }
}

fn open(data: &Bytes) -> Result<(RequestId, Bytes), &'static str> {
    let opened = envelope::open(data)?;
    if opened.purpose == Purpose::Command {
        Ok((opened.request, opened.command))
    } else {
        Err("its envelope is for something else")
    }
}
