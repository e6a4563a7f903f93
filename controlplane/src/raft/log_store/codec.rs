//! Every byte that the store keeps beside raft's own and the records. Numbers are big-endian; what has a shape begins
//! with its version. Golden bytes below keep the first version readable.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut as _, Bytes};
use cluster::{ClusterId, MemberId};

use super::super::disk::{AppliedState, Identity, Incarnation, LogEntry, Members};
use super::super::machine::Digest;

const VERSION: u8 = 1;

/// Two numbers that are kept together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Numbers(pub(super) u64, pub(super) u64);

pub(super) fn write_number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

pub(super) fn write_numbers(one: u64, other: u64) -> [u8; 16] {
    ((u128::from(one) << 64) | u128::from(other)).to_be_bytes()
}

pub(super) fn numbers(bytes: &[u8]) -> Option<Numbers> {
    let (one, other) = bytes.split_first_chunk::<8>()?;
    Some(Numbers(u64::from_be_bytes(*one), number(other)?))
}

/// The term, then raft's encoding. The index is the key.
pub(super) fn write_entry(entry: &LogEntry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + entry.bytes.len());
    bytes.put_u64(entry.term);
    bytes.put_slice(&entry.bytes);
    bytes
}

pub(super) fn entry(key: &[u8], value: &[u8]) -> Option<LogEntry> {
    let (term, bytes) = value.split_first_chunk::<8>()?;
    Some(LogEntry {
        index: number(key)?,
        term: u64::from_be_bytes(*term),
        bytes: Bytes::copy_from_slice(bytes),
    })
}

pub(super) fn write_applied(applied: &AppliedState) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.put_u64(applied.index);
    bytes.put_u64(applied.term);
    bytes.put_slice(&applied.digest.0);
    bytes.put_u64(applied.records);
    let members = &applied.members;
    bytes.put_u8(u8::from(members.auto_leave));
    for list in [&members.voters, &members.learners, &members.voters_outgoing, &members.learners_next] {
        bytes.put_u32(u32::try_from(list.len()).unwrap_or(u32::MAX));
        for member in list {
            bytes.put_u64(*member);
        }
    }
    bytes.put_u32(u32::try_from(members.logs.len()).unwrap_or(u32::MAX));
    for (member, log) in &members.logs {
        bytes.put_u64(*member);
        bytes.put_u128(log.0);
    }
    bytes
}

pub(super) fn applied(mut bytes: &[u8]) -> Option<AppliedState> {
    let bytes = &mut bytes;
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let (index, term) = (bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
    let mut digest = Digest::default();
    bytes.try_copy_to_slice(&mut digest.0).ok()?;
    let records = bytes.try_get_u64().ok()?;
    let auto_leave = match bytes.try_get_u8().ok()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let [voters, learners, voters_outgoing, learners_next] =
        [list(bytes)?, list(bytes)?, list(bytes)?, list(bytes)?];
    let mut logs = BTreeMap::new();
    for _ in 0..bytes.try_get_u32().ok()? {
        logs.insert(bytes.try_get_u64().ok()?, Incarnation(bytes.try_get_u128().ok()?));
    }
    let members = Members { voters, learners, voters_outgoing, learners_next, auto_leave, logs };
    bytes.is_empty().then_some(AppliedState { index, term, members, digest, records })
}

fn list(bytes: &mut &[u8]) -> Option<BTreeSet<u64>> {
    (0..bytes.try_get_u32().ok()?).map(|_| bytes.try_get_u64().ok()).collect()
}

pub(super) fn write_identity(identity: &Identity) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.put_slice(identity.cluster.as_bytes());
    bytes.put_u64(identity.member.get());
    bytes.put_u128(identity.incarnation.0);
    bytes
}

pub(super) fn identity(mut bytes: &[u8]) -> Option<Identity> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let cluster = ClusterId::from_bytes(bytes.try_get_u128().ok()?.to_be_bytes());
    let member = MemberId::new(bytes.try_get_u64().ok()?)?;
    let incarnation = Incarnation(bytes.try_get_u128().ok()?);
    bytes.is_empty().then_some(Identity { cluster, member, incarnation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_state() -> AppliedState {
        AppliedState {
            index: 300,
            term: 7,
            members: Members {
                voters: [1, 2].into(),
                learners: [3].into(),
                voters_outgoing: BTreeSet::new(),
                learners_next: BTreeSet::new(),
                auto_leave: true,
                logs: [(1, Incarnation(5))].into(),
            },
            digest: Digest([9; 32]),
            records: 4,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(applied(&write_applied(&some_state())), Some(some_state()));
        assert_eq!(numbers(&write_numbers(5, u64::MAX)), Some(Numbers(5, u64::MAX)));
        assert_eq!(number(&write_number(1 << 50)), Some(1 << 50));
        let identity_one = Identity {
            cluster: ClusterId::from_bytes([3; 16]),
            member: MemberId::new(8).unwrap(),
            incarnation: Incarnation(1 << 99),
        };
        assert_eq!(identity(&write_identity(&identity_one)), Some(identity_one));
        let entry_one = LogEntry { index: 5, term: 2, bytes: Bytes::from_static(b"abc") };
        assert_eq!(entry(&5_u64.to_be_bytes(), &write_entry(&entry_one)), Some(entry_one));
    }

    #[test]
    fn the_first_version_stays_readable() {
        let mut golden = vec![1];
        golden.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 44, 0, 0, 0, 0, 0, 0, 0, 7]);
        golden.extend_from_slice(&[9; 32]);
        golden.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 4, 1]);
        golden.extend_from_slice(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        golden.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3]);
        golden.extend_from_slice(&[0; 8]);
        golden.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        golden.extend_from_slice(&5_u128.to_be_bytes());
        assert_eq!(write_applied(&some_state()), golden);
    }

    #[test]
    fn cut_and_strange_bytes_are_refused() {
        let bytes = write_applied(&some_state());
        for cut in 0..bytes.len() {
            assert_eq!(applied(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(applied(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(applied(&[&[2], &bytes[1..]].concat()), None, "another version");
    }
}
