//! What the replicated truth promises: one encoding, one state for one log, invariants that no command breaks, snapshots and
//! views that lose nothing.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod authorities;
mod bindings;
mod bounds;
mod damage;
mod golden;
mod idempotency;
mod jobs;
mod layouts;
mod members;
mod nodes;
mod policies;
mod policy;
mod properties;
mod snapshots;
mod steps;
mod support;
mod tokens;
mod tour;
mod views;
