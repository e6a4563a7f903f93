//! The node's side of the control plane: it joins once, then follows what the cluster agrees on and says that it lives.
//!
//! Invariant: serving never waits for anything here. What was agreed on last is on disk and in use, whether a control node can be
//! reached or not.

mod agent;
mod beat;
mod follow;
mod join;
mod link;
mod metrics;
mod view_age;
mod views;

use gomod::{H1, ModuleVersion};

pub use agent::{Agent, AgentConfig};
pub use join::{JoinError, NodeBegin, NodeIdentity, joined_through, prepare};
pub use metrics::ControlFamilies;
pub use view_age::ViewAge;
pub use views::{Views, ViewsError};

/// What a node says of itself with each heartbeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Bytes that the disk under the data directory has.
    pub disk_bytes: u64,
    /// Bytes of it that are free.
    pub disk_free_bytes: u64,
    /// Bytes that the store takes.
    pub store_bytes: u64,
    /// Versions held.
    pub version_count: u64,
    /// Requests a second, over the last while.
    pub requests_per_second: f64,
    /// Requests being answered.
    pub requests_in_flight: u32,
    /// The layout that the node has everything of; 0 if it is in none.
    pub synced_epoch: u64,
    /// Bytes that have still to come for the layout in force.
    pub bytes_left: u64,
    /// The disk takes no writes though it has room.
    pub disk_unwritable: bool,
    /// The disk takes long to put something on stable storage.
    pub disk_slow: bool,
    /// Published versions that wait for their names to be bound.
    pub staged: Vec<(ModuleVersion, H1)>,
}

/// What became of the name of a published version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is bound to this content.
    Bound {
        /// Since when, in µs since the Unix epoch.
        since_us: i64,
    },
    /// It is bound to other content, or was taken down.
    Other,
    /// It is not bound.
    Unbound,
}

/// A time in µs since the Unix epoch.
pub(crate) fn time_us(time: prost_types::Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1000)
}

/// The node's own store, as the control plane concerns it.
pub trait Holdings: Send + Sync {
    /// What the node says of itself.
    fn load(&self) -> Load;

    /// The control plane says what became of the name of a version that waits.
    fn told(&self, version: ModuleVersion, zip_h1: H1, verdict: Verdict);
}
