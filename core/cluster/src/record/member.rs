//! Control nodes.

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, LogId, MemberId, NodeName};
use crate::text::{Address, Hash, Note, Serial};
use crate::time::Timestamp;

/// Control nodes that there may be, staged ones included.
pub const MEMBERS_MAX: usize = 16;
/// Control nodes that may vote. More make every write slower and nothing safer.
pub const VOTERS_MAX: usize = 7;
/// Removed control nodes that are remembered.
pub const MEMBERS_REMOVED_MAX: usize = 100;

/// A control node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its number in the Raft group.
    pub id: MemberId,
    /// Its name, unique among the members that are not removed.
    pub name: NodeName,
    /// Where the others reach it; none while it is staged.
    pub rpc: Option<Address>,
    /// The log that it made when it joined, and comes with ever after; none while it is staged.
    pub log: Option<LogId>,
    /// How far it has come.
    pub state: MemberState,
    /// Its certificate; none while it is staged.
    pub certificate: Option<Certificate>,
    /// When it was staged.
    pub created: Timestamp,
    /// Since when it is in its state.
    pub since: Timestamp,
    /// Why it is in its state, if somebody said.
    pub reason: Option<Note>,
    /// With what it joined, so that an answer that was lost can be given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeemed: Option<Box<Redeemed>>,
}

/// How far a control node has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MemberState {
    /// It may join, once, with its secret.
    Staged(Invitation),
    /// It has joined, follows the log and does not vote.
    Learner,
    /// It votes.
    Voter,
    /// It is gone for good; its number is never given out again.
    Removed,
}

impl MemberState {
    /// The state in a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Staged(_) => "staged",
            Self::Learner => "learner",
            Self::Voter => "voter",
            Self::Removed => "removed",
        }
    }

    /// Whether it takes part in the Raft group.
    pub const fn is_in_group(&self) -> bool {
        matches!(self, Self::Learner | Self::Voter)
    }
}

/// A secret with which one may join, once, until it expires.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// The hash of the secret, which is itself not kept.
    pub secret: Hash,
    /// When it ceases to be good.
    pub expires: Timestamp,
}

/// An invitation that was taken up. Until it would have expired, who shows its secret again and has the same key is given the same
/// again: the answer may have been lost on the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redeemed {
    /// What was taken up.
    pub invitation: Invitation,
    /// The hash of the public key that was certified.
    pub key: Hash,
}

/// What is remembered of a certificate that the cluster's authority signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Its serial number.
    pub serial: Serial,
    /// When it expires.
    pub expires: Timestamp,
    /// The authority that signed it.
    pub authority: Generation,
}
