//! What a peer asks of its disk. The store in production and the simulated disk in tests both are one.
//!
//! Owns the trait and the plain types on it; crate `raft` is not seen here. Invariants of every implementation: each
//! method that writes is one atomic step; what was written later never survives a crash without what was written
//! earlier; after an error the disk is not used again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cluster::{ClusterId, MemberId};

use super::machine::{Change, Digest, Record};

/// Tells one log from any other that a member with the same number ever had: drawn when a log is made, never changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u128);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whose log this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// The member that writes it.
    pub member: MemberId,
    /// Which of that member's logs it is.
    pub incarnation: Incarnation,
}

/// What a member must not forget: its term, and whom it voted for in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vote {
    /// The newest term it knows of.
    pub term: u64,
    /// Number of the member it voted for in that term; 0 is nobody.
    pub voted_for: u64,
}

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// Its place, from 1 on without gaps.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// Raft's encoding of it.
    pub bytes: Bytes,
}

/// Who belongs to the group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// Those whose majority decides.
    pub voters: BTreeSet<u64>,
    /// Those that receive the log without a vote.
    pub learners: BTreeSet<u64>,
    /// Within a joint change: the voters before it, whose majority is needed as well. Empty otherwise.
    pub voters_outgoing: BTreeSet<u64>,
    /// Within a joint change: voters that become learners when it ends.
    pub learners_next: BTreeSet<u64>,
    /// Whether a joint change ends by itself.
    pub auto_leave: bool,
    /// The log that each of them had when it was added. One that comes with another one lost it.
    pub logs: BTreeMap<u64, Incarnation>,
}

impl Members {
    /// A group of these voters with these logs.
    pub fn of_voters(voters: impl IntoIterator<Item = (MemberId, Incarnation)>) -> Self {
        let logs: BTreeMap<_, _> = voters.into_iter().map(|(member, log)| (member.get(), log)).collect();
        Self { voters: logs.keys().copied().collect(), logs, ..Self::default() }
    }

    /// Whether a change is under way in which two majorities decide.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Everybody who is sent the log.
    pub fn all(&self) -> BTreeSet<u64> {
        self.voters.iter().chain(&self.learners).chain(&self.voters_outgoing).copied().collect()
    }

    /// Whether this member has a vote.
    pub fn is_voter(&self, member: MemberId) -> bool {
        self.voters.contains(&member.get()) || self.voters_outgoing.contains(&member.get())
    }
}

/// Where the state machine stands. It is written in the same step as the records that belong to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AppliedState {
    /// Index of the last entry applied; 0 for nothing ever.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The group as of that entry.
    pub members: Members,
    /// Digest of the records.
    pub digest: Digest,
    /// How many records there are.
    pub records: u64,
}

/// What a disk holds when it is opened.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Whose it is.
    pub identity: Identity,
    /// Term and vote.
    pub vote: Vote,
    /// Index up to which entries are known to be committed.
    pub commit: u64,
    /// The state machine's place.
    pub applied: AppliedState,
    /// Index and term of the last entry that is no longer in the log, (0, 0) for none.
    pub truncated: (u64, u64),
    /// Index of the last entry, or that of `truncated` when the log is empty.
    pub last_index: u64,
    /// Bytes of all entries.
    pub log_bytes: u64,
}

/// Writes to the log that belong together.
#[derive(Clone, Debug, Default)]
pub struct LogWrite {
    /// Entries without gaps. Whatever is at or after the first of them is replaced.
    pub entries: Vec<LogEntry>,
    /// A new term or vote.
    pub vote: Option<Vote>,
    /// A new commit index.
    pub commit: Option<u64>,
}

impl LogWrite {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.vote.is_none() && self.commit.is_none()
    }
}

/// A consistent state to be sent: what it is, and where its records come from.
pub struct Pinned {
    /// Which state.
    pub applied: AppliedState,
    /// Its records.
    pub source: Box<dyn RecordSource>,
}

/// The records of a pinned state, in key order.
pub trait RecordSource: Send {
    /// The next records, of about this many bytes together but at least one; none when all were given.
    fn next_records(&mut self, bytes: usize) -> Result<Vec<Record>, DiskError>;
}

/// Why a disk did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiskError {
    /// No room. Nothing was written; after room was made the disk can be opened again.
    #[error("no room left to {action}")]
    Full {
        /// What was to be done, as verb and object.
        action: &'static str,
    },
    /// A write failed and nobody knows what of it is on disk. It is never tried again: the kernel calls pages clean
    /// whose writing failed. The process has to end, and opening anew decides.
    #[error("{action}: what is on disk is unknown")]
    Lost {
        /// What was to be done, as verb and object.
        action: &'static str,
        /// What the system said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// What is on disk contradicts its checksum or itself.
    #[error("{action}: {detail}")]
    Damaged {
        /// What was to be done, as verb and object.
        action: &'static str,
        /// What was found.
        detail: String,
    },
}

/// The disk of one peer. All calls come from the thread that owns the peer; none may be answered before it is done.
pub trait Disk {
    /// What is there. Checks that the log has no gaps and reaches the commit index.
    fn load(&self) -> Result<Boot, DiskError>;

    /// Entries from `low` up to but without `high`, as many as fit into `bytes`, but at least one.
    fn entries(&self, low: u64, high: u64, bytes: u64) -> Result<Vec<LogEntry>, DiskError>;

    /// The term of an entry in the log.
    fn term(&self, index: u64) -> Result<Option<u64>, DiskError>;

    /// Writes to the log in one step. With `sync` it returns when everything written so far outlasts a power cut.
    fn persist(&mut self, write: LogWrite, sync: bool) -> Result<(), DiskError>;

    /// Changes records and the applied state in one step, and raises the commit index to the applied one if it is
    /// lower. It need not outlast a power cut by itself: entries that were applied are in the log.
    fn apply(&mut self, changes: &[Change], applied: &AppliedState) -> Result<(), DiskError>;

    /// Forgets the entries up to and including `through`, whose term is `term`.
    fn compact(&mut self, through: u64, term: u64) -> Result<(), DiskError>;

    /// Every record in key order, through `each`.
    fn records(&self, each: &mut dyn FnMut(Record)) -> Result<(), DiskError>;

    /// The state as it is now, held fast for sending while the peer goes on.
    fn pin(&self) -> Result<Pinned, DiskError>;

    /// Begins a new state beside the one in use, and forgets one begun before.
    fn stage_begin(&mut self) -> Result<(), DiskError>;

    /// Adds records to the state begun.
    fn stage(&mut self, records: &[Record]) -> Result<(), DiskError>;

    /// Every record of the state begun in key order, through `each`.
    fn staged(&self, each: &mut dyn FnMut(Record)) -> Result<(), DiskError>;

    /// Puts the state begun in the place of the one in use, empties the log, and writes term, vote and commit index:
    /// one synced step, after whatever crash either all of it or nothing happened.
    fn install(&mut self, applied: &AppliedState, vote: Vote) -> Result<(), DiskError>;
}
