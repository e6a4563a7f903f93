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
mod views;

pub use agent::{Agent, AgentConfig};
pub use join::{JoinError, NodeBegin, NodeIdentity, prepare};
pub use metrics::ControlFamilies;
pub use views::{Views, ViewsError};

/// What a node says of itself with each heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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
}
