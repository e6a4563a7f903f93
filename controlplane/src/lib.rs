//! The control plane: the cluster's small replicated truth, and the member that keeps it.

#![forbid(unsafe_code)]

pub mod raft;
