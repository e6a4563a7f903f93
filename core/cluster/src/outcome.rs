//! What comes of a proposal: an answer and changes, or a refusal that says why not.
//!
//! Invariant: a refusal changes nothing, and its code never changes its meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Generation, Incarnation, JobId, MemberId, NodeName, TokenId, Zone};
use crate::record::Change;
use crate::text::{Address, IdempotencyKey};
use crate::time::Timestamp;

/// What came of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The answer for who asked.
    pub result: Result<Answer, Refusal>,
    /// What is to be committed, in order. Empty for a refusal and for a request that was carried out before.
    pub changes: Vec<Change>,
}

/// What is told to who asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// It is done.
    Done,
    /// A control node has this number.
    Member {
        /// Its number.
        id: MemberId,
    },
    /// A data node was started this often.
    Node {
        /// How often.
        incarnation: Incarnation,
    },
    /// A layout is in force.
    Layout {
        /// Its number.
        epoch: Epoch,
    },
    /// A node's report was taken.
    Sync {
        /// Whether it was the last one missing, and the layout before is retired.
        retired: bool,
    },
    /// A policy document is in force, or deleted.
    Policy {
        /// Its generation.
        generation: Generation,
    },
    /// A credential has this number.
    Token {
        /// Its number.
        id: TokenId,
    },
    /// A job has this number.
    Job {
        /// Its number.
        id: JobId,
    },
    /// A certificate authority has this generation.
    Authority {
        /// Its generation.
        generation: Generation,
    },
}

/// A kind of thing that commands are about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A control node.
    Member,
    /// A data node.
    Node,
    /// A layout.
    Layout,
    /// A policy document.
    Policy,
    /// An operator's credential.
    Token,
    /// An alarm.
    Alarm,
    /// A job.
    Job,
    /// A certificate authority.
    Authority,
    /// A module or a version.
    Module,
    /// What is said of a module.
    Mark,
    /// A published version.
    Binding,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Member => "member",
            Self::Node => "node",
            Self::Layout => "layout",
            Self::Policy => "policy",
            Self::Token => "token",
            Self::Alarm => "alarm",
            Self::Job => "job",
            Self::Authority => "authority",
            Self::Module => "module",
            Self::Mark => "mark",
            Self::Binding => "published version",
        })
    }
}

/// Why a command is not carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no cluster yet.
    #[error("the cluster is not bootstrapped")]
    NotBootstrapped,
    /// There is a cluster already.
    #[error("the cluster is bootstrapped already")]
    Bootstrapped,
    /// What it is about is not there.
    #[error("there is no {kind} {name}")]
    NotFound {
        /// What kind of thing.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// What it would make is there, or as it would make it.
    #[error("{kind} {name} is there already: {state}")]
    AlreadyThere {
        /// What kind of thing.
        kind: Kind,
        /// Which.
        name: String,
        /// How it is.
        state: &'static str,
    },
    /// Somebody else is reached there.
    #[error("{kind} {name} has address {address} already")]
    AddressTaken {
        /// What kind of thing has it.
        kind: Kind,
        /// Which.
        name: String,
        /// The address.
        address: Address,
    },
    /// It was made for another layout than the current one.
    #[error("the next layout would get epoch {}, not {}", .current.next(), .expected.next())]
    WrongEpoch {
        /// The epoch that it was made for.
        expected: Epoch,
        /// The epoch that there is.
        current: Epoch,
    },
    /// It was made for another generation than the current one.
    #[error("{kind} {name} has generation {current}, not {expected}")]
    WrongGeneration {
        /// What kind of thing.
        kind: Kind,
        /// Which.
        name: String,
        /// The generation that it was made for.
        expected: Generation,
        /// The generation that there is; 0 for none.
        current: Generation,
    },
    /// What it is about is in a state in which it cannot be done.
    #[error("{kind} {name} is {state}: {wanted}")]
    WrongState {
        /// What kind of thing.
        kind: Kind,
        /// Which.
        name: String,
        /// How it is.
        state: &'static str,
        /// What would have to be.
        wanted: &'static str,
    },
    /// The secret is not the one that was handed out.
    #[error("the join secret of {kind} {name} is another one")]
    WrongSecret {
        /// What kind of thing.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// The secret was not used in time.
    #[error("the join secret of {kind} {name} has expired")]
    SecretExpired {
        /// What kind of thing.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// Nothing would be left of what the cluster cannot be without.
    #[error("{kind} {name} is the last {what}")]
    Last {
        /// What kind of thing.
        kind: Kind,
        /// Which.
        name: String,
        /// The last of what.
        what: &'static str,
    },
    /// The only replicas of something may be there.
    #[error("node {name} holds {slots} slots: drain it and wait for the layout to settle")]
    WouldLoseData {
        /// The node.
        name: NodeName,
        /// Slots that it holds by a layout in force.
        slots: u32,
    },
    /// A node that was counted on to keep something.
    #[error("node {name}, which has copies of what was published, was removed meanwhile")]
    NoLongerThere {
        /// The node.
        name: NodeName,
    },
    /// Nobody could take what the node holds.
    #[error("no other node could take what node {name} holds")]
    NobodyElse {
        /// The node.
        name: NodeName,
    },
    /// Too many nodes of one zone were marked down by themselves.
    #[error("the storm brake holds: no node of zone {zone} is marked down by itself now")]
    Braked {
        /// The zone.
        zone: Zone,
        /// When the next may be; none while the brake is pulled by hand.
        until: Option<Timestamp>,
    },
    /// Moving is halted.
    #[error("the layout is paused: resume it first")]
    Paused,
    /// There are as many as there may be.
    #[error("there are {max} {kind} records, the most that there may be")]
    Limit {
        /// What kind of thing.
        kind: Kind,
        /// How many there may be.
        max: usize,
    },
    /// The idempotency key was used for another request.
    #[error("idempotency key {key} was used for another request")]
    KeyReused {
        /// The key.
        key: IdempotencyKey,
    },
    /// It makes no sense, however the cluster is.
    #[error("invalid: {}", problems.join("; "))]
    Invalid {
        /// Everything that is wrong with it.
        problems: Vec<String>,
    },
}

/// What a client does about a refusal. The texts are for programs and do not change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RefusalCode {
    /// Change something else first, or wait.
    Precondition,
    /// Look again, and decide again: the state that it was made for is no longer the current one.
    WrongEpoch,
    /// Nothing: it is there.
    AlreadyThere,
    /// Look for the right name.
    NotFound,
    /// Move data away first.
    WouldLoseData,
    /// Ask for something else.
    Invalid,
    /// Get another secret.
    Denied,
}

impl RefusalCode {
    /// The code as programs read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Precondition => "precondition",
            Self::WrongEpoch => "wrong-epoch",
            Self::AlreadyThere => "already-there",
            Self::NotFound => "not-found",
            Self::WouldLoseData => "would-lose-data",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
        }
    }
}

impl Refusal {
    /// What a client does about it.
    pub const fn code(&self) -> RefusalCode {
        match self {
            Self::NotBootstrapped
            | Self::WrongState { .. }
            | Self::Last { .. }
            | Self::Braked { .. }
            | Self::Paused
            | Self::Limit { .. } => RefusalCode::Precondition,
            Self::WrongEpoch { .. } | Self::WrongGeneration { .. } | Self::NoLongerThere { .. } => {
                RefusalCode::WrongEpoch
            }
            Self::Bootstrapped | Self::AlreadyThere { .. } | Self::AddressTaken { .. } => {
                RefusalCode::AlreadyThere
            }
            Self::NotFound { .. } => RefusalCode::NotFound,
            Self::WouldLoseData { .. } | Self::NobodyElse { .. } => RefusalCode::WouldLoseData,
            Self::Invalid { .. } | Self::KeyReused { .. } => RefusalCode::Invalid,
            Self::WrongSecret { .. } | Self::SecretExpired { .. } => RefusalCode::Denied,
        }
    }
}
