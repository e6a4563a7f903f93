//! The store by itself: what survives closing, what is refused, and what damage does.

use std::path::Path;

use cluster::{ClusterId, MemberId};

use super::super::disk::{
    AppliedState, Disk, DiskError, Identity, Incarnation, LogEntry, LogWrite, Members, Vote,
};
use super::super::machine::{Change, Digest, Record};
use super::{LogStore, OpenError};

const CLUSTER: ClusterId = ClusterId::from_bytes([1; 16]);

fn member(number: u64) -> MemberId {
    MemberId::new(number).unwrap()
}

fn identity(number: u64) -> Identity {
    Identity { cluster: CLUSTER, member: member(number), incarnation: Incarnation(77) }
}

fn create(dir: &Path) -> LogStore {
    let members = Members::of_voters([(member(1), Incarnation(77))]);
    LogStore::create(dir, identity(1), Some(&members)).unwrap()
}

fn open(dir: &Path) -> Result<LogStore, OpenError> {
    LogStore::open(dir, CLUSTER, member(1))
}

fn entry(index: u64, term: u64) -> LogEntry {
    LogEntry {
        index,
        term,
        bytes: format!("entry {index} of {term}, {}", "x".repeat(100)).into_bytes().into(),
    }
}

fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> LogWrite {
    LogWrite { entries: range.map(|index| entry(index, term)).collect(), ..LogWrite::default() }
}

fn records(store: &LogStore) -> Vec<Record> {
    let mut all = Vec::new();
    store.records(&mut |record| all.push(record)).unwrap();
    all
}

fn put(key: &str, value: &str) -> Change {
    Change::Put { key: key.into(), value: value.into() }
}

fn record(key: &str, value: &str) -> Record {
    (key.into(), value.into())
}

fn applied(index: u64) -> AppliedState {
    let members = Members::of_voters([(member(1), Incarnation(77))]);
    AppliedState { index, term: 2, members, digest: Digest([3; 32]), records: 1 }
}

#[test]
fn a_log_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(dir.path());
    let vote = Vote { term: 2, voted_for: 1 };
    store.persist(LogWrite { vote: Some(vote), ..entries(2..=9, 2) }, true).unwrap();
    store.persist(entries(6..=7, 3), true).unwrap();
    store.apply(&[put("a", "1"), put("b", "2")], &applied(5)).unwrap();
    store.apply(&[Change::Delete { key: b"a".to_vec() }], &applied(6)).unwrap();
    drop(store);
    let mut store = open(dir.path()).unwrap();
    let boot = store.load().unwrap();
    assert_eq!((boot.vote, boot.commit, boot.last_index, boot.truncated), (vote, 6, 7, (1, 1)));
    assert_eq!(boot.applied, applied(6));
    assert_eq!(records(&store), [record("b", "2")]);
    assert_eq!(store.entries(5, 8, u64::MAX).unwrap(), [entry(5, 2), entry(6, 3), entry(7, 3)]);
    assert_eq!(store.entries(5, 8, 1).unwrap().len(), 1, "at least one");
    assert_eq!((store.term(7).unwrap(), store.term(8).unwrap()), (Some(3), None));
    store.compact(5, 2).unwrap();
    drop(store);
    let boot = open(dir.path()).unwrap().load().unwrap();
    assert_eq!((boot.truncated, boot.last_index), ((5, 2), 7));
}

#[test]
fn a_state_is_installed_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(dir.path());
    store.persist(entries(2..=4, 2), true).unwrap();
    store.apply(&[put("old", "1")], &applied(3)).unwrap();
    store.stage_begin().unwrap();
    store.stage(&[record("half", "1")]).unwrap();
    drop(store);
    let mut store = open(dir.path()).unwrap();
    assert_eq!(records(&store), [record("old", "1")], "what was staged is not the state");
    store.stage_begin().unwrap();
    store.stage(&[record("new", "1"), record("newer", "2")]).unwrap();
    let mut staged = 0;
    store.staged(&mut |_| staged += 1).unwrap();
    assert_eq!(staged, 2, "what was staged before is gone");
    let pinned = store.pin().unwrap();
    store.install(&applied(50), Vote { term: 9, voted_for: 0 }).unwrap();
    for again in [false, true] {
        assert_eq!(records(&store), [record("new", "1"), record("newer", "2")]);
        let boot = store.load().unwrap();
        assert_eq!((boot.truncated, boot.last_index, boot.commit, boot.vote.term), ((50, 2), 50, 50, 9));
        if !again {
            let mut source = pinned_records(&mut *store.pin().unwrap().source);
            source.sort();
            assert_eq!(source.len(), 2);
        }
    }
    // A state that is held fast outlasts the one that took its place, and its family.
    let mut pinned = pinned;
    assert_eq!(pinned.applied.index, 3);
    store.stage_begin().unwrap();
    assert_eq!(pinned_records(&mut *pinned.source), [record("old", "1")]);
}

fn pinned_records(source: &mut dyn super::super::disk::RecordSource) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let next = source.next_records(1).unwrap();
        if next.is_empty() {
            return all;
        }
        assert_eq!(next.len(), 1, "as much as was asked for");
        all.extend(next);
    }
}

#[test]
fn a_directory_is_one_members() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Absent { .. })));
    let store = create(dir.path());
    assert!(matches!(open(dir.path()), Err(OpenError::InUse { .. })));
    drop(store);
    assert!(matches!(LogStore::create(dir.path(), identity(1), None), Err(OpenError::Exists { .. })));
    let other = LogStore::open(dir.path(), ClusterId::from_bytes([2; 16]), member(1));
    assert!(matches!(other, Err(OpenError::Other { found_cluster, .. }) if found_cluster == CLUSTER));
    let other = LogStore::open(dir.path(), CLUSTER, member(2));
    assert!(matches!(other, Err(OpenError::Other { found_member, .. }) if found_member == member(1)));
}

#[test]
fn a_lost_log_is_told_from_a_new_member() {
    for lost in ["raft/db", "raft/IDENTITY"] {
        let dir = tempfile::tempdir().unwrap();
        drop(create(dir.path()));
        let lost = dir.path().join(lost);
        std::fs::remove_dir_all(&lost).or_else(|_| std::fs::remove_file(&lost)).unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::LogLost { .. })), "{}", lost.display());
        assert!(LogStore::create(dir.path(), identity(1), None).is_err(), "and not made anew");
    }
}

#[test]
fn another_members_database_is_not_taken_for_ours() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(create(one.path()));
    drop(LogStore::create(two.path(), identity(2), None).unwrap());
    std::fs::remove_dir_all(one.path().join("raft/db")).unwrap();
    std::fs::rename(two.path().join("raft/db"), one.path().join("raft/db")).unwrap();
    assert!(matches!(open(one.path()), Err(OpenError::LogLost { .. })));
}

#[test]
fn a_directory_that_was_half_made_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("raft.new/db")).unwrap();
    std::fs::write(dir.path().join("raft.new/db/CURRENT"), b"nonsense").unwrap();
    assert!(create(dir.path()).load().is_ok());
}

/// A directory as a crash would leave it: copied while the store is open, so that nothing was tidied up.
fn crashed(writes: u64) -> (tempfile::TempDir, std::path::PathBuf) {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(create(dir.path()));
    let mut store = open(dir.path()).unwrap();
    for index in 2..2 + writes {
        store.persist(entries(index..=index, 2), true).unwrap();
    }
    let (from, to) = (dir.path().join("raft"), copy.path().join("raft"));
    std::fs::create_dir_all(to.join("db")).unwrap();
    std::fs::copy(from.join("IDENTITY"), to.join("IDENTITY")).unwrap();
    for file in std::fs::read_dir(from.join("db")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join("db").join(file.file_name())).unwrap();
    }
    let log = std::fs::read_dir(to.join("db")).unwrap().map(|file| file.unwrap().path());
    let log = log.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap();
    (copy, log)
}

#[test]
fn a_damaged_middle_is_refused_wherever_it_is() {
    let (dir, log) = crashed(20);
    let whole = std::fs::read(&log).unwrap();
    assert_eq!(open(dir.path()).unwrap().load().unwrap().last_index, 21);
    for eighth in 1..7 {
        let (dir, log) = crashed(20);
        let mut bytes = whole.clone();
        bytes.truncate(std::fs::read(&log).unwrap().len());
        let at = bytes.len() * eighth / 8;
        bytes[at] ^= 0x10;
        std::fs::write(&log, bytes).unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::DamagedMiddle { .. })), "at {at}");
    }
}

#[test]
fn a_torn_tail_is_cut_off() {
    let (dir, log) = crashed(20);
    let bytes = std::fs::read(&log).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    std::fs::write(&log, &bytes[..end - 20]).unwrap();
    assert_eq!(open(dir.path()).unwrap().load().unwrap().last_index, 20);
}

#[test]
fn a_log_with_a_gap_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(dir.path());
    store.persist(entries(2..=3, 2), true).unwrap();
    store.persist(entries(5..=5, 2), true).unwrap();
    assert!(matches!(store.load(), Err(DiskError::Damaged { .. })));
}

#[test]
fn a_log_that_does_not_reach_what_was_committed_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(dir.path());
    store.persist(LogWrite { commit: Some(9), ..entries(2..=3, 2) }, true).unwrap();
    assert!(matches!(store.load(), Err(DiskError::Damaged { .. })));
}
