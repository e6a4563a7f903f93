//! The control plane: the cluster's small replicated truth, the member that keeps it, and what is served from it.

#![forbid(unsafe_code)]

mod agreed_time;
mod assurance;
mod authorize;
mod calls;
mod control;
mod data_nodes;
mod invite;
mod issue;
mod keep;
mod last_copies;
mod metrics;
mod observed;
mod peers;
mod placement;
mod plane;
mod propose;
pub mod raft;
mod reconcile;
mod recover;
mod services;
mod sights;
mod start;
mod transport;
mod truth;
mod watch;

pub use invite::Inviter;
pub use plane::{Config, ControlPlane, PlaneError};
pub use recover::{MemberPlan, RecoverError, RecoverPlan, Recovery};
pub use start::{Begin, StartError};
