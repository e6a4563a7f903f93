//! What the nodes of a cluster agree on, as functions of values. Nothing here does IO, reads a clock, draws a random number
//! or knows of HTTP, and nothing is decided by a float or by the order of a hash table: every node comes to the same result.

#![forbid(unsafe_code)]

pub mod ids;
pub mod layout;

pub use ids::{
    ClusterId, Datacenter, Epoch, LABEL_BYTES_MAX, LabelError, MemberId, NodeName, NumberError, Revision,
    Zone,
};
pub use layout::{
    Candidate, Candidates, Layout, Options, ReplicationFactor, Slot, Standing, Transition, check, diff, plan,
};
