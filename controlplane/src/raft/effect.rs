//! What a peer asks its surroundings to do, and what it tells them. A peer itself sends nothing and answers nobody.

use bytes::Bytes;
use cluster::MemberId;

use super::disk::{Incarnation, Members};
use super::error::{ChangeError, Divergence, ProposeError};
use super::machine::RequestId;
use super::snapshot::OutgoingSnapshot;

/// Something to be done. The order matters: what is given first is done first.
#[derive(Debug)]
pub enum Effect<A> {
    /// Send these bytes. Losing them is allowed, keeping others waiting for them is not.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        message: Bytes,
    },
    /// Send a whole state, and report what became of it.
    SendSnapshot {
        /// To whom.
        to: MemberId,
        /// What.
        snapshot: OutgoingSnapshot,
    },
    /// A command was applied, on disk, here.
    Answer {
        /// Which.
        request: RequestId,
        /// Index of its entry: the state's revision after it.
        index: u64,
        /// What the state machine says.
        answer: A,
    },
    /// A proposal that was accepted has no answer.
    Fail {
        /// Which.
        request: RequestId,
        /// Why.
        error: ProposeError,
    },
    /// A change of members was done, or not.
    Changed {
        /// Which.
        request: RequestId,
        /// The group after it.
        result: Result<Members, ChangeError>,
    },
    /// The state is at least as new as it was anywhere when this read was asked for.
    Readable {
        /// Which read.
        read: ReadId,
        /// Index of the state.
        index: u64,
    },
    /// Somebody else leads, or nobody, or the term changed.
    Leadership(Leadership),
    /// The group changed.
    Members(Members),
    /// Another member came to another state. If a majority differs from this member, it stops besides.
    Diverged(Divergence),
}

/// Names a read of one peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ReadId(pub u64);

/// What a member is in its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// Follows whoever leads.
    #[default]
    Follower,
    /// Asks whether it would be elected, without disturbing anybody.
    PreCandidate,
    /// Asks to be elected.
    Candidate,
    /// Leads.
    Leader,
}

/// Who leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// Its leader, as far as is known.
    pub leader: Option<MemberId>,
    /// What this member is.
    pub role: Role,
}

/// One step of a change of members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberChange {
    /// A new member receives the log and has no vote.
    Add {
        /// Its number, which no other ever had.
        member: MemberId,
        /// The log that it made.
        log: Incarnation,
    },
    /// A learner has a vote from now on. It should have caught up: see [`Progress::matched`].
    Promote {
        /// Which.
        member: MemberId,
    },
    /// A voter becomes a learner.
    Demote {
        /// Which.
        member: MemberId,
    },
    /// It no longer belongs to the group, and its number is never used again.
    Remove {
        /// Which.
        member: MemberId,
    },
}

/// How far another member is, as its leader knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Who.
    pub member: MemberId,
    /// Index up to which its log is known to be the leader's.
    pub matched: u64,
    /// Whether it was heard of lately.
    pub active: bool,
    /// Whether a snapshot is on its way to it.
    pub snapshot: bool,
}

/// Where a member stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Who this is.
    pub member: MemberId,
    /// Who leads.
    pub leadership: Leadership,
    /// Index up to which entries are committed.
    pub commit: u64,
    /// Index up to which entries are applied.
    pub applied: u64,
    /// First index in the log.
    pub first_index: u64,
    /// Last index in the log.
    pub last_index: u64,
    /// The group as applied here.
    pub members: Members,
    /// The others, if this member leads.
    pub progress: Vec<Progress>,
    /// Messages refused since the start, by members with another log than they had.
    pub strangers_refused: u64,
}
