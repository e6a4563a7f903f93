//! Raft's messages for crate `raft`: types that prost generates, with the accessors and the few functions that raft
//! calls. Both are fixed by what raft expects; nothing else belongs here.

#![forbid(unsafe_code)]

mod accessors;
mod change;

pub use change::{ConfChangeI, conf_state_eq, new_conf_change_single};

/// The messages, by the name raft knows them under.
pub mod eraftpb {
    #![allow(missing_docs, reason = "generated; proto/raft.proto has the words")]
    include!(concat!(env!("OUT_DIR"), "/eraftpb.rs"));
}

/// What raft re-exports.
pub mod prelude {
    pub use crate::eraftpb::{
        ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
        EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata,
    };
}
