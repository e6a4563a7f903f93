//! The member of a Raft group that keeps the cluster's truth: the only place that sees crate `raft`.
//!
//! [`Peer`] is a member without threads, sockets or clocks; [`RaftNode`] runs one on a thread and [`RaftHandle`] talks
//! to it; [`Disk`], [`Machine`] and [`Transport`] are what it stands on. docs/adr/0018 has the reasons.

mod config;
mod convert;
mod digests;
mod disk;
mod effect;
mod envelope;
mod error;
mod handle;
pub mod local;
mod log;
mod log_store;
mod machine;
mod members;
mod node;
mod peer;
mod proposals;
mod read_index;
mod ready;
mod receive;
mod rescue;
mod slog_bridge;
mod snapshot;
mod transport;
mod wire;

#[cfg(feature = "sabotage")]
pub use config::Sabotage;
pub use config::{Config, Limits, Timing};
pub use disk::{
    AppliedState, Boot, Disk, DiskError, Identity, Incarnation, LogEntry, LogWrite, Members, Pinned,
    RecordSource, Vote,
};
pub use effect::{Effect, Leadership, MemberChange, Progress, ReadId, Role, Status};
pub use error::{
    ChangeError, Divergence, Fatal, MessageError, ProposeError, ReadError, SnapshotError, StartError,
    TransferError,
};
pub use handle::{Answered, RaftHandle, SnapshotReceiver};
pub use log_store::{DiskPace, LogStore, OpenError};
pub use machine::{Applied, Change, Digest, Machine, MachineError, Publication, Record, RequestId};
pub use node::{RaftNode, SpawnError, Stopped};
pub use peer::Peer;
pub use ready::Sink;
pub use rescue::{Rescue, RescueError, Standing};
pub use snapshot::{IncomingId, OutgoingSnapshot};
pub use transport::Transport;
