//! What the nodes of a cluster agree on, as functions of values. Nothing here does IO, reads a clock, draws a random number
//! or knows of HTTP, and nothing is decided by a float or by the order of a hash table: every node comes to the same result.

#![forbid(unsafe_code)]

pub mod command;
pub mod digest;
pub mod ids;
mod invariants;
pub mod layout;
pub mod marks;
pub mod outcome;
pub mod policy;
pub mod proposal;
pub mod record;
pub mod snapshot;
pub mod state;
pub mod tables;
pub mod text;
pub mod time;
pub mod view;

pub use command::Command;
pub use digest::StateDigest;
pub use ids::{
    AlarmCode, ClusterId, Datacenter, Epoch, Generation, Incarnation, JobId, JobKind, LABEL_BYTES_MAX,
    LabelError, LabelKey, LogId, MemberId, NodeName, NumberError, PolicyName, RequestId, Revision, RoleName,
    TokenId, TokenName, Zone,
};
pub use layout::{
    Candidate, Candidates, Layout, Options, ReplicationFactor, Slot, Standing, Transition, check, diff, plan,
};
pub use outcome::{Answer, Kind, Outcome, Refusal, RefusalCode};
pub use proposal::{Actor, ActorRole, Proposal, ProposalError, Role};
pub use record::{Change, Key, Record, RecordError};
pub use snapshot::{Assembler, SnapshotError};
pub use state::{LoadError, State, Violation};
pub use tables::Tables;
pub use text::{Address, Blob, Hash, IdempotencyKey, Name, Note, Serial, TextError};
pub use time::Timestamp;
pub use view::{View, ViewError, Whereabouts};
