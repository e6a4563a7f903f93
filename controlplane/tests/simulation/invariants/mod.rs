//! What must hold in every history, one file each.

mod convergence;
mod epochs_rise;
mod equal_states;
mod exactly_once;
mod fresh_reads;
mod nothing_lost;
mod one_leader;

use std::collections::BTreeMap;

use cluster::{Epoch, MemberId};
use controlplane::raft::{Digest, RequestId};

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// A member leads in a term.
    Leads { member: MemberId, term: u64 },
    /// A member's state at an index.
    State { member: MemberId, index: u64, digest: Digest },
    /// A member applied a command.
    Command { member: MemberId, index: u64, request: RequestId, content: u64, again: bool },
    /// A member's layout after a command, and the one that it follows if the command brought it.
    Layout { member: MemberId, index: u64, epoch: Option<Epoch>, follows: Option<Epoch> },
    /// A member's state is not sound.
    Unsound { member: MemberId, index: u64, why: String },
    /// A client was told that its command happened.
    Acknowledged { request: RequestId, index: u64 },
    /// A client was told that its command did not happen and will not.
    Refused { request: RequestId },
    /// A client asked for a fresh state.
    ReadBegan { read: u64 },
    /// It was given a state.
    ReadEnded { read: u64, index: u64 },
    /// The network was whole and everybody alive for a long time.
    Healed { members: &'a BTreeMap<MemberId, Final> },
}

/// A member at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Final {
    pub(crate) applied: u64,
    pub(crate) digest: Digest,
    pub(crate) leads: bool,
    pub(crate) is_joint: bool,
    /// Index at which each command that any client proposed was applied.
    pub(crate) requests: BTreeMap<RequestId, u64>,
}

/// One that must hold.
pub(crate) trait Invariant {
    /// Looks at what happened; an error is a violation.
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String>;
}

pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(one_leader::OneLeader::default()),
        Box::new(nothing_lost::NothingLost::default()),
        Box::new(epochs_rise::EpochsRise::default()),
        Box::new(equal_states::EqualStates::default()),
        Box::new(exactly_once::ExactlyOnce::default()),
        Box::new(fresh_reads::FreshReads::default()),
        Box::new(convergence::Convergence),
    ]
}
