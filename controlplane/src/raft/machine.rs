//! The replicated state machine as Raft sees it: bytes of a command in, an answer and changed records out.
//!
//! Owns the trait and what passes through it. What a command means is not known here. Invariant of every
//! implementation: the same commands at the same indexes lead to the same records, answers and digest everywhere.

use std::fmt;

/// Names one proposal for as long as somebody may ask what became of it. Its maker draws it at random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// The id with this value.
    pub const fn new(value: u128) -> Self {
        Self(value)
    }

    /// Its value.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What all records hash to, whatever their order. Equal states have equal digests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One change of the records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The record has this value from now on.
    Put {
        /// Key of the record.
        key: Vec<u8>,
        /// Its whole value.
        value: Vec<u8>,
    },
    /// The record is gone.
    Delete {
        /// Key of the record.
        key: Vec<u8>,
    },
}

/// What applying one command came to.
#[derive(Debug)]
pub struct Applied<A> {
    /// For whoever proposed it. A refusal is an answer too.
    pub answer: A,
    /// In the order in which they happened. They become durable together with the index.
    pub changes: Vec<Change>,
}

/// Why a machine cannot go on. Whatever this is, going on would make this member differ from the others.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MachineError {
    /// A newer program wrote this command, or it is damaged. It is never skipped.
    #[error("command cannot be read: {detail}")]
    Command {
        /// What is wrong with it.
        detail: String,
    },
    /// A record of the disk or of a snapshot.
    #[error("record cannot be read: {detail}")]
    Record {
        /// Which, and what is wrong with it.
        detail: String,
    },
}

/// One record while a machine is made of all of them: key and value.
pub type Record = (Vec<u8>, Vec<u8>);

/// The replicated state machine. It lives on the thread of the peer that owns it.
pub trait Machine: Sized {
    /// What whoever proposed a command gets.
    type Answer;

    /// A machine that is made of these records alone, in key order, which are the state at `index`. What this one is wired to (readers, watchers)
    /// the new one is wired to as well, but they see nothing of it before [`Self::published`].
    fn restore(&self, index: u64, records: &mut dyn Iterator<Item = Record>) -> Result<Self, MachineError>;

    /// Applies one command. Nobody else sees the effect before [`Self::published`].
    fn apply(
        &mut self,
        index: u64,
        request: RequestId,
        command: &[u8],
    ) -> Result<Applied<Self::Answer>, MachineError>;

    /// What all records hash to. Asked for after every batch: keep it as records change.
    fn digest(&self) -> Digest;

    /// How many records there are.
    fn record_count(&self) -> u64;

    /// The state up to and including this index is on disk: readers may see it and watchers be told.
    fn published(&mut self, publication: Publication<'_>);
}

/// What became visible.
#[derive(Clone, Copy, Debug)]
pub enum Publication<'a> {
    /// These changes, by the index of the entry that made each group.
    Changes {
        /// Index up to which the state is valid.
        index: u64,
        /// Entries that changed something, in order.
        entries: &'a [(u64, Vec<Change>)],
    },
    /// A whole state: after the start, or from a snapshot. There are no single changes to tell.
    Whole {
        /// Index of the state.
        index: u64,
    },
}
