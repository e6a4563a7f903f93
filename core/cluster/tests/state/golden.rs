//! The bytes of keys, records, proposals and snapshots, as they were when they were first written. What a release wrote must be
//! read by every later one, so these files only grow. `GOLDEN=write` writes them anew, for a change that has not been released.

use std::fmt::Write as _;
use std::path::PathBuf;

use cluster::record::{Key, KeyError, RECORD_BYTES_MAX, RecordError};
use cluster::{Assembler, Proposal, ProposalError, Record, StateDigest};
use proptest::prelude::*;

use crate::properties::COMMANDS;
use crate::support::Cluster;
use crate::tour::{proposals, tour};

/// Longer values stand in the file as their hash: those of layouts, whose own bytes have golden tests.
const SHOWN_BYTES_MAX: usize = 2_000;

fn check_golden(name: &str, found: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|golden| golden == "write") {
        std::fs::write(&path, found).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    if golden != found {
        let lines =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
        let (golden, found) = (lines(&golden), lines(found));
        let first = golden.iter().zip(&found).position(|(one, other)| one != other);
        let at = first.unwrap_or(golden.len().min(found.len()));
        panic!("{name} line {}:\n  was {:?}\n  is  {:?}", at + 1, golden.get(at), found.get(at));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The version byte as two digits, then the text.
fn shown(value: &[u8]) -> String {
    if value.len() > SHOWN_BYTES_MAX {
        return format!("sha256 {}", cluster::Hash::of(value));
    }
    format!("{:02x} {}", value[0], std::str::from_utf8(&value[1..]).unwrap())
}

#[test]
fn records_are_golden() {
    let cluster = tour();
    let mut text = String::new();
    let mut tables = std::collections::BTreeSet::new();
    for record in cluster.state.records() {
        tables.insert(record.key().table());
        writeln!(text, "{} {}", hex(&record.key().encode()), shown(&record.encode())).unwrap();
    }
    writeln!(text, "digest {}", cluster.state.digest()).unwrap();
    check_golden("records.txt", text.as_bytes());
    assert_eq!(tables.into_iter().collect::<Vec<_>>(), (1..=18).collect::<Vec<u8>>(), "every table");
    // And it is read back from the file, not from what this release writes.
    let golden = include_str!("../golden/records.txt");
    let mut read = 0;
    for line in golden.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        if let Some(json) = value.strip_prefix("01 ") {
            let value = [&[1], json.as_bytes()].concat();
            let record = Record::decode(&unhex(key), &value).unwrap();
            assert!(cluster.state.records().any(|there| there == record));
            read += 1;
        }
    }
    assert!(read > 60, "{read}");
}

#[test]
fn proposals_are_golden() {
    let proposals = proposals();
    let lines: Vec<String> =
        proposals.iter().map(|proposal| shown(&proposal.encode().unwrap()) + "\n").collect();
    check_golden("proposals.txt", lines.concat().as_bytes());
    let mut names: Vec<_> = proposals.iter().map(|proposal| proposal.command.name()).collect();
    names.sort_unstable();
    names.dedup();
    let mut all = COMMANDS.to_vec();
    all.sort_unstable();
    assert_eq!(names, all, "every command");
    for (line, proposal) in include_str!("../golden/proposals.txt").lines().zip(&proposals) {
        if let Some(json) = line.strip_prefix("01 ") {
            assert_eq!(&Proposal::decode(&[&[1], json.as_bytes()].concat()).unwrap(), proposal);
        }
    }
}

#[test]
fn snapshots_are_golden() {
    let mut cluster = Cluster::new();
    cluster.join("a", "x");
    let bytes = cluster.state.snapshot_in(1_000).collect::<Vec<_>>().concat();
    check_golden("snapshot.bin", &bytes);
    // Chunks end where their head says.
    let mut left: &[u8] = include_bytes!("../golden/snapshot.bin");
    let mut assembler = Assembler::default();
    while !left.is_empty() {
        let payload_bytes = u32::from_be_bytes(left[9..13].try_into().unwrap()) as usize;
        let (chunk, rest) = left.split_at(13 + 16 + payload_bytes);
        assembler.push(chunk).unwrap();
        left = rest;
    }
    assert_eq!(assembler.finish().unwrap(), cluster.state);
}

#[test]
fn what_is_no_record_is_refused() {
    let cluster = Cluster::new();
    let record = cluster.state.tables().get(&Key::Cluster).unwrap();
    let (key, value) = (record.key().encode(), record.encode());
    let refused = |value: &[u8]| Record::decode(&key, value).unwrap_err();
    let json = std::str::from_utf8(&value[1..]).unwrap();
    let with = |json: &str| refused(&[&[1], json.as_bytes()].concat());
    assert!(matches!(refused(b""), RecordError::Empty { .. }));
    assert!(matches!(refused(&[2, b'{']), RecordError::Version { version: 2, .. }));
    assert!(matches!(refused(&vec![1; RECORD_BYTES_MAX + 1]), RecordError::TooLong { .. }));
    assert!(matches!(with(&json[1..]), RecordError::Json { .. }));
    assert!(matches!(with(&json.replace("\"id\"", "\"di\"")), RecordError::Json { .. }));
    assert!(matches!(with(&json.replace("\"home\"", "\"Home\"")), RecordError::Json { .. }));
    // A record, but not as it is written.
    assert!(matches!(with(&json.replace(':', ": ")), RecordError::Form { .. }));
    assert!(matches!(with(&json.replace("home", "h\\u006fme")), RecordError::Form { .. }));
    let member = cluster.state.tables().get(&Key::Member(cluster::MemberId::ONE)).unwrap();
    let other = Key::Member(cluster::MemberId::new(2).unwrap()).encode();
    let misplaced = Record::decode(&other, &member.encode());
    assert!(matches!(misplaced, Err(RecordError::Misplaced { .. })));
    for (bytes, error) in [
        (&b""[..], KeyError::Length),
        (b"\x00", KeyError::Table(0)),
        (b"\x13", KeyError::Table(19)),
        (b"\x11", KeyError::Length),
        (b"\x11\x09a.b", KeyError::MarkKind(9)),
        (b"\x01x", KeyError::Length),
        (b"\x03\0\0\0\0\0\0\0\0", KeyError::Nobody),
        (b"\x07\0", KeyError::Length),
        (b"\x0aabc", KeyError::Length),
        (b"\x04\xff", KeyError::Utf8),
    ] {
        assert_eq!(Key::decode(bytes).unwrap_err(), error, "{bytes:?}");
    }
    assert!(matches!(Key::decode(&[4; 2000]), Err(KeyError::TooLong { bytes: 2000 })));
}

#[test]
fn what_is_no_proposal_stops_who_reads_it() {
    let good = proposals().remove(0).encode().unwrap();
    let json = std::str::from_utf8(&good[1..]).unwrap();
    let with = |json: &str| Proposal::decode(&[&[1], json.as_bytes()].concat());
    assert!(with(json).is_ok());
    assert!(matches!(with(&json.replace("bootstrap", "boot_strap")), Err(ProposalError::Json(_))));
    assert!(matches!(with(&json.replacen("\"why\"", "\"when\":1,\"why\"", 1)), Err(ProposalError::Json(_))));
    assert!(matches!(Proposal::decode(b""), Err(ProposalError::Empty)));
    assert!(matches!(Proposal::decode(&[9]), Err(ProposalError::Version(9))));
    assert!(matches!(Proposal::decode(&vec![1; 2 << 20]), Err(ProposalError::TooLong { .. })));
}

#[test]
fn the_digest_is_a_sum() {
    let records: Vec<_> = tour().state.records().collect();
    let forward = StateDigest::of(records.iter().cloned());
    assert_eq!(StateDigest::of(records.iter().rev().cloned()), forward);
    assert_eq!(StateDigest::from_bytes(forward.to_bytes()), forward);
    let mut rest = forward;
    for record in &records {
        rest.subtract(&record.key(), &record.encode());
    }
    assert_eq!(rest, StateDigest::default());
    let mut borrowed = StateDigest::default();
    borrowed.subtract(&records[0].key(), &records[0].encode());
    assert_ne!(borrowed, StateDigest::default());
    borrowed.add(&records[0].key(), &records[0].encode());
    assert_eq!(borrowed, StateDigest::default());
}

proptest! {
    #[test]
    fn keys_are_refused_or_have_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..40), table in 0_u8..20) {
        for bytes in [bytes.clone(), [&[table], &bytes[..]].concat()] {
            if let Ok(key) = Key::decode(&bytes) {
                prop_assert_eq!(key.encode(), bytes);
            }
        }
    }

    #[test]
    fn damaged_records_are_refused_or_are_records(
        at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), to in "[ -~]|\\PC",
    ) {
        let records: Vec<_> = SAMPLE.with(Clone::clone);
        let record = at.get(&records);
        let mut value = record.encode();
        let place = byte.index(value.len());
        value.splice(place..=place, to.bytes());
        if let Ok(read) = Record::decode(&record.key().encode(), &value) {
            prop_assert_eq!(read.encode(), value);
            prop_assert_eq!(read.key(), record.key());
        }
    }

    #[test]
    fn noise_is_no_proposal(bytes: Vec<u8>) {
        prop_assert!(Proposal::decode(&bytes).is_err());
        prop_assert!(Proposal::decode(&[&[1], &bytes[..]].concat()).is_err());
    }
}

thread_local! {
    static SAMPLE: Vec<Record> = tour().state.records().collect();
}
