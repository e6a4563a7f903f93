//! What can go wrong, by what the caller can do about it.

use cluster::MemberId;

use super::disk::DiskError;
use super::machine::{Digest, MachineError};

/// Why a proposal has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Not proposed: somebody else leads. Ask there; with nobody known, ask again soon.
    #[error("this member does not lead")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<MemberId>,
    },
    /// Not proposed: too much waits already, or leadership is being handed over. Ask again soon.
    #[error("too much waits already")]
    Busy,
    /// Not proposed, and never will be.
    #[error("command of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// Not proposed: a proposal with this id waits for its answer.
    #[error("a proposal with this id is under way")]
    Duplicate,
    /// Not proposed: the member's disk is full, and it takes part in nothing until there is room.
    #[error("this member's disk is full")]
    DiskFull,
    /// Not proposed: the member has stopped or is stopping.
    #[error("this member has stopped")]
    Stopped,
    /// It was proposed, and another entry took its place: it did not happen and will not.
    #[error("the proposal was dropped when leadership changed")]
    Dropped,
    /// It was proposed, and whether it will happen cannot be told here. Ask the state, by the request's id.
    #[error("the outcome is not known")]
    OutcomeUnknown,
}

impl ProposeError {
    /// Whether it certainly did not happen and never will, so that it can be proposed again.
    pub fn is_certain(&self) -> bool {
        match self {
            Self::NotLeader { .. }
            | Self::Busy
            | Self::TooLarge { .. }
            | Self::Duplicate
            | Self::DiskFull
            | Self::Stopped
            | Self::Dropped => true,
            Self::OutcomeUnknown => false,
        }
    }
}

/// Why a change of members did not happen.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// As with any proposal.
    #[error("change of members was not committed")]
    Propose(#[source] ProposeError),
    /// Another change is under way. Ask again when it is done.
    #[error("another change of members is under way")]
    Pending,
    /// The leader would lose its vote: hand leadership over first.
    #[error("the leader cannot be removed")]
    IsLeader,
    /// It makes no sense for this group.
    #[error("change of members is refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// Why a read cannot be answered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// Too many wait.
    #[error("too many reads wait already")]
    Busy,
    /// No majority answered in time.
    #[error("no majority answered in time")]
    Deadline,
    /// The member has stopped.
    #[error("this member has stopped")]
    Stopped,
}

/// Why leadership was not handed over.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can.
    #[error("this member does not lead")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<MemberId>,
    },
    /// Only a voter can lead.
    #[error("member {member} has no vote")]
    NotVoter {
        /// Who was to lead.
        member: MemberId,
    },
    /// It did not take over in time. The old leader may lead on.
    #[error("member did not take over in time")]
    Deadline,
    /// The member has stopped.
    #[error("this member has stopped")]
    Stopped,
}

/// Why a message was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// It cannot be read, or means something that no member sends.
    #[error("message cannot be read: {reason}")]
    Malformed {
        /// Why.
        reason: &'static str,
    },
    /// It was sent by a member of another cluster.
    #[error("message comes from another cluster")]
    OtherCluster,
    /// It was sent to somebody else.
    #[error("message is for member {to}")]
    OtherMember {
        /// For whom.
        to: u64,
    },
    /// The sender knows this member with another log: this one was lost, and the member has to come back under a new
    /// number. It stops.
    #[error("member {by} knows this member with another log")]
    Disowned {
        /// The sender.
        by: MemberId,
    },
    /// The sender has another log than it had. One that lost its log forgot its votes: it must come back under a
    /// new number.
    #[error("member {member} comes with another log than it had")]
    OtherIncarnation {
        /// The sender.
        member: MemberId,
    },
    /// The member has stopped.
    #[error("this member has stopped")]
    Stopped,
}

/// Why a snapshot was not taken in. The sender may try again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Its first message.
    #[error("snapshot is refused")]
    Message(#[source] MessageError),
    /// Another snapshot came in its place, or there was none.
    #[error("snapshot was superseded")]
    Superseded,
    /// A frame is not what it should be.
    #[error("frame {frame} of the snapshot is damaged: {reason}")]
    Frame {
        /// Its number, from 0.
        frame: u32,
        /// What is wrong.
        reason: &'static str,
    },
    /// The whole is not what was announced.
    #[error("snapshot is not what was announced: {reason}")]
    Content {
        /// What differs.
        reason: String,
    },
    /// The member has stopped.
    #[error("this member has stopped")]
    Stopped,
}

/// Two members came to different states. One of them is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("member {member} came to another state at index {index}: {theirs} instead of {ours}")]
pub struct Divergence {
    /// Index at which both states were hashed.
    pub index: u64,
    /// The other member.
    pub member: MemberId,
    /// The digest here.
    pub ours: Digest,
    /// The digest there.
    pub theirs: Digest,
}

/// Why a peer cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict each other.
    #[error("settings of raft are impossible: {reason}")]
    Config {
        /// How.
        reason: &'static str,
    },
    /// The disk.
    #[error("read the log")]
    Disk(#[from] DiskError),
    /// The records on disk.
    #[error("read the state")]
    Machine(#[from] MachineError),
    /// The state on disk belongs to another log of this member.
    #[error("state on disk belongs to another log of this member")]
    OtherLog,
    /// The records do not hash to what was written beside them.
    #[error("state on disk hashes to {found} instead of {written}")]
    Digest {
        /// Digest of the records.
        found: Digest,
        /// Digest written with them.
        written: Digest,
    },
    /// Raft itself refused.
    #[error("raft cannot begin: {reason}")]
    Raft {
        /// In its words.
        reason: String,
    },
}

/// Why a peer stopped. It does nothing more; opening its disk anew may help.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fatal {
    /// Could not begin.
    #[error("raft could not begin")]
    Start(#[from] StartError),
    /// The disk. Only [`DiskError::Full`] passes by itself.
    #[error("raft's disk failed")]
    Disk(#[from] DiskError),
    /// The state machine met what it cannot apply.
    #[error("entry {index} cannot be applied")]
    Machine {
        /// The entry.
        index: u64,
        /// Why.
        #[source]
        source: MachineError,
    },
    /// An entry that a newer program wrote, or a damaged one.
    #[error("entry {index} cannot be read: {reason}")]
    Entry {
        /// The entry.
        index: u64,
        /// Why.
        reason: &'static str,
    },
    /// The others know this member with another log. The one it had is lost, and with it its votes: it must be removed
    /// from the group and join again under a new number.
    #[error("this member lost its log: member {by} knows it with another one")]
    Disowned {
        /// Who said so.
        by: MemberId,
    },
    /// A majority came to another state than this member.
    #[error("this member's state differs from that of a majority")]
    Diverged(#[source] Divergence),
    /// Crate raft gave up: it panics where it finds its own rules broken.
    #[error("raft found its rules broken: {reason}")]
    Raft {
        /// In its words.
        reason: String,
    },
}
