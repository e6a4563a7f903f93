//! Between our types and those of crate raft. Invariant: what is unknown is an error, never a default.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
};

use super::disk::{DiskError, Incarnation, LogEntry, Members};
use super::effect::MemberChange;

pub(super) fn to_conf_state(members: &Members) -> ConfState {
    let list = |members: &BTreeSet<u64>| members.iter().copied().collect();
    ConfState {
        voters: list(&members.voters),
        learners: list(&members.learners),
        voters_outgoing: list(&members.voters_outgoing),
        learners_next: list(&members.learners_next),
        auto_leave: members.auto_leave,
    }
}

/// The group of this state; of the logs, those of its members are kept.
pub(super) fn to_members(state: &ConfState, logs: impl IntoIterator<Item = (u64, Incarnation)>) -> Members {
    let set = |members: &[u64]| members.iter().copied().collect();
    let mut members = Members {
        voters: set(&state.voters),
        learners: set(&state.learners),
        voters_outgoing: set(&state.voters_outgoing),
        learners_next: set(&state.learners_next),
        auto_leave: state.auto_leave,
        logs: BTreeMap::new(),
    };
    let all = members.all();
    members.logs = logs.into_iter().filter(|(member, _)| all.contains(member)).collect();
    members
}

/// Which logs members have, as bytes: each a member (8 bytes) and its log (16), big-endian.
pub(super) fn write_logs(logs: impl IntoIterator<Item = (u64, Incarnation)>) -> Bytes {
    let mut bytes = BytesMut::new();
    for (member, log) in logs {
        bytes.put_u64(member);
        bytes.put_u128(log.0);
    }
    bytes.freeze()
}

pub(super) fn read_logs(mut bytes: Bytes) -> Option<Vec<(u64, Incarnation)>> {
    let mut logs = Vec::new();
    while !bytes.is_empty() {
        logs.push((bytes.try_get_u64().ok()?, Incarnation(bytes.try_get_u128().ok()?)));
    }
    Some(logs)
}

pub(super) fn to_log_entry(entry: &Entry) -> LogEntry {
    LogEntry { index: entry.index, term: entry.term, bytes: entry.encode_to_vec().into() }
}

pub(super) fn to_entry(entry: &LogEntry) -> Result<Entry, DiskError> {
    let damaged = |detail: String| DiskError::Damaged { action: "read log entry", detail };
    let decoded = Entry::decode(entry.bytes.clone())
        .map_err(|error| damaged(format!("entry {}: {error}", entry.index)))?;
    if (decoded.index, decoded.term) != (entry.index, entry.term) {
        return Err(damaged(format!("entry {} is another one inside", entry.index)));
    }
    Ok(decoded)
}

/// What kind of entry this is; `None` for one that a newer program wrote.
pub(super) fn kind_of(entry: &Entry) -> Option<EntryType> {
    EntryType::try_from(entry.entry_type).ok()
}

/// Reads a change of members out of an entry. One that ends a joint configuration is empty.
pub(super) fn to_conf_change(entry: &Entry) -> Result<ConfChangeV2, &'static str> {
    ConfChangeV2::decode(entry.data.clone()).map_err(|_| "it is no change of members")
}

/// Makes raft's change of ours, with the request's envelope along.
pub(super) fn from_changes(changes: &[MemberChange], envelope: Bytes) -> ConfChangeV2 {
    let single = |change: &MemberChange| {
        let (kind, member) = match change {
            MemberChange::Add { member, .. } | MemberChange::Demote { member } => {
                (ConfChangeType::AddLearnerNode, member)
            }
            MemberChange::Promote { member } => (ConfChangeType::AddNode, member),
            MemberChange::Remove { member } => (ConfChangeType::RemoveNode, member),
        };
        ConfChangeSingle { change_type: kind.into(), node_id: member.get() }
    };
    ConfChangeV2 {
        transition: ConfChangeTransition::Auto.into(),
        changes: changes.iter().map(single).collect(),
        context: envelope,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back() {
        let members = Members {
            voters: [1, 2].into(),
            learners: [3].into(),
            voters_outgoing: [2, 4].into(),
            learners_next: [4].into(),
            auto_leave: true,
            logs: [(1, Incarnation(7)), (4, Incarnation(u128::MAX))].into(),
        };
        let logs = read_logs(write_logs(members.logs.clone())).unwrap();
        let gone = (9, Incarnation(1));
        assert_eq!(to_members(&to_conf_state(&members), logs.into_iter().chain([gone])), members);
        assert_eq!(read_logs(write_logs(members.logs).slice(1..)), None);
    }

    #[test]
    fn an_entry_is_what_its_key_says() {
        let entry = Entry { index: 3, term: 2, data: Bytes::from_static(b"x"), ..Entry::default() };
        let mut stored = to_log_entry(&entry);
        assert_eq!(to_entry(&stored).unwrap(), entry);
        stored.index = 4;
        assert!(matches!(to_entry(&stored), Err(DiskError::Damaged { .. })));
        let unknown = Entry { entry_type: 9, ..Entry::default() };
        assert_eq!(kind_of(&unknown), None);
    }
}
