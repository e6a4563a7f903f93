//! Placement: which nodes hold a module. A module belongs to one of 4096 slots, and a layout says for each slot which nodes
//! hold it and which of them, the first, owns it.
//!
//! Invariant: a layout follows from the layout before it, the candidates and the options alone.

mod balance;
mod board;
mod candidate;
mod check;
mod diff;
mod encode;
mod fair;
mod path;
mod plan;
mod rendezvous;
mod rings;
mod seats;
mod settle;
mod slot;
mod table;
mod transition;

pub use balance::{Balance, Load};
pub use candidate::{Candidate, Candidates, CandidatesError, NODES_MAX, Standing};
pub use check::{FULLEST_OVER_MEAN_MAX_PPM, Finding, Severity, check};
pub use diff::{Change, Diff, Flow, diff};
pub use encode::{DecodeError, LAYOUT_BYTES_MAX};
pub use plan::{Options, PlanError, plan};
pub use seats::{REPLICAS_MAX, ReplicationFactor};
pub use slot::{SLOTS, Slot};
pub use table::{Layout, LayoutError, Located, Replicas};
pub use transition::{Transition, TransitionError};
