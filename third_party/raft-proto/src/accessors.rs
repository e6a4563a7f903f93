//! Accessors in protobuf 2's style, which is the one that raft calls.

use std::sync::LazyLock;

use crate::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
    EntryType, Message, MessageType, Snapshot, SnapshotMetadata,
};

/// `get_`, `set_`, `mut_` and `take_` of plain fields.
macro_rules! plain {
    ($message:ty: $($field:ident: $type:ty, $get:ident $set:ident $mut:ident $take:ident;)*) => {
        impl $message {$(
            #[doc = concat!("The field `", stringify!($field), "`.")]
            pub fn $get(&self) -> &$type {
                &self.$field
            }
            #[doc = concat!("Replaces the field `", stringify!($field), "`.")]
            pub fn $set(&mut self, value: $type) {
                self.$field = value;
            }
            #[doc = concat!("The field `", stringify!($field), "`, to be changed.")]
            pub fn $mut(&mut self) -> &mut $type {
                &mut self.$field
            }
            #[doc = concat!("Takes the field `", stringify!($field), "` out.")]
            pub fn $take(&mut self) -> $type {
                std::mem::take(&mut self.$field)
            }
        )*}
    };
}

/// The same for messages in messages: one that is not there reads as an empty one.
macro_rules! nested {
    ($message:ty: $field:ident: $type:ty, $get:ident $set:ident $mut:ident $take:ident) => {
        impl $message {
            #[doc = concat!("The field `", stringify!($field), "`.")]
            pub fn $get(&self) -> &$type {
                static EMPTY: LazyLock<$type> = LazyLock::new(<$type>::default);
                self.$field.as_ref().unwrap_or(&EMPTY)
            }
            #[doc = concat!("Replaces the field `", stringify!($field), "`.")]
            pub fn $set(&mut self, value: $type) {
                self.$field = Some(value);
            }
            #[doc = concat!("The field `", stringify!($field), "`, to be changed.")]
            pub fn $mut(&mut self) -> &mut $type {
                self.$field.get_or_insert_with(<$type>::default)
            }
            #[doc = concat!("Takes the field `", stringify!($field), "` out.")]
            pub fn $take(&mut self) -> $type {
                self.$field.take().unwrap_or_default()
            }
        }
    };
}

/// Numbers: raft reads some by `get_` and writes some by `set_`.
macro_rules! numbers {
    ($message:ty: $($field:ident: $type:ty, $get:ident $set:ident;)*) => {
        impl $message {$(
            #[doc = concat!("The field `", stringify!($field), "`.")]
            pub fn $get(&self) -> $type {
                self.$field
            }
            #[doc = concat!("Replaces the field `", stringify!($field), "`.")]
            pub fn $set(&mut self, value: $type) {
                self.$field = value;
            }
        )*}
    };
}

/// Enumerations, whose `set_` prost makes. A number that is unknown reads as the first of them.
macro_rules! kinds {
    ($($message:ty: $field:ident: $type:ty, $get:ident;)*) => {$(
        impl $message {
            #[doc = concat!("The field `", stringify!($field), "`.")]
            pub fn $get(&self) -> $type {
                <$type>::try_from(self.$field).unwrap_or_default()
            }
        }
    )*};
}

plain! { Entry:
    data: prost::bytes::Bytes, get_data set_data mut_data take_data;
    context: prost::bytes::Bytes, get_context set_context mut_context take_context;
}
plain! { Message:
    entries: Vec<Entry>, get_entries set_entries mut_entries take_entries;
    context: prost::bytes::Bytes, get_context set_context mut_context take_context;
}
plain! { Snapshot:
    data: prost::bytes::Bytes, get_data set_data mut_data take_data;
}
plain! { ConfState:
    voters: Vec<u64>, get_voters set_voters mut_voters take_voters;
    learners: Vec<u64>, get_learners set_learners mut_learners take_learners;
    voters_outgoing: Vec<u64>, get_voters_outgoing set_voters_outgoing mut_voters_outgoing take_voters_outgoing;
    learners_next: Vec<u64>, get_learners_next set_learners_next mut_learners_next take_learners_next;
}
plain! { ConfChange:
    context: prost::bytes::Bytes, get_context set_context mut_context take_context;
}
plain! { ConfChangeV2:
    changes: Vec<ConfChangeSingle>, get_changes set_changes mut_changes take_changes;
    context: prost::bytes::Bytes, get_context set_context mut_context take_context;
}
nested! { Message: snapshot: Snapshot, get_snapshot set_snapshot mut_snapshot take_snapshot }
nested! { Snapshot: metadata: SnapshotMetadata, get_metadata set_metadata mut_metadata take_metadata }
nested! { SnapshotMetadata: conf_state: ConfState, get_conf_state set_conf_state mut_conf_state take_conf_state }
numbers! { Entry: term: u64, get_term set_term; index: u64, get_index set_index; }
numbers! { Message: term: u64, get_term set_term; index: u64, get_index set_index; commit: u64, get_commit set_commit; }
kinds! {
    Entry: entry_type: EntryType, get_entry_type;
    Message: msg_type: MessageType, get_msg_type;
    ConfChange: change_type: ConfChangeType, get_change_type;
    ConfChangeSingle: change_type: ConfChangeType, get_change_type;
    ConfChangeV2: transition: ConfChangeTransition, get_transition;
}

impl Snapshot {
    /// Whether it stands for no snapshot at all.
    pub fn is_empty(&self) -> bool {
        self.get_metadata().index == 0
    }
}

impl<V, L> From<(V, L)> for ConfState
where
    V: IntoIterator<Item = u64>,
    L: IntoIterator<Item = u64>,
{
    fn from((voters, learners): (V, L)) -> Self {
        Self {
            voters: voters.into_iter().collect(),
            learners: learners.into_iter().collect(),
            ..Self::default()
        }
    }
}
