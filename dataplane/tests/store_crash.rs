//! Killed at any moment, the store opens again with everything it acknowledged and nothing half done.
//!
//! Each test starts itself again as a child, which writes until it is killed or dies at a failpoint, and then
//! looks at what the child left. `SOAK=n` runs n rounds.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking and may print")]

mod store_bed;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use dataplane::store::{CHUNK_BYTES, Durability, Patch, Scope, Store};
use store_bed::*;

const CHILD_DIR: &str = "STORE_TEST_DIR";
const CHILD_SEED: &str = "STORE_TEST_SEED";
const CHILD_POINT: &str = "STORE_TEST_POINT";

/// The child's folder and seed, when this process is one.
fn role() -> Option<(PathBuf, u64)> {
    let dir = std::env::var_os(CHILD_DIR)?;
    let seed = std::env::var(CHILD_SEED).expect("a seed").parse().expect("a number");
    // Ends the line that the test harness began.
    println!();
    Some((dir.into(), seed))
}

fn spawn(test: &str, dir: &Path, seed: u64, point: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_SEED, seed.to_string())
        .env(CHILD_POINT, point)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the child");
    let output = BufReader::new(child.stdout.take().expect("output"));
    (child, output)
}

fn rounds(few: u64) -> u64 {
    std::env::var("SOAK").ok().and_then(|soak| soak.parse().ok()).unwrap_or(few)
}

fn zip_len(number: u64) -> usize {
    match number % 5 {
        0 => 300,
        1 => 90_000,
        2 => CHUNK_BYTES,
        3 => CHUNK_BYTES + 1,
        _ => 2 * CHUNK_BYTES + 77_777,
    }
}

fn zip(number: u64) -> bytes::Bytes {
    // Every seventh has the bytes of the one before.
    let number = if number % 7 == 6 { number - 1 } else { number };
    content(number, zip_len(number))
}

/// Writes, removes, quarantines and aborts for ever, telling each step once it is acknowledged.
fn write_for_ever(dir: &Path, from: u64) -> ! {
    let store = open(dir);
    let mut out = std::io::stdout();
    for number in from.. {
        let mv = numbered(number);
        if number % 6 == 1 {
            drop(write_blob(&store, &content(number + 1_000_000, 2 * CHUNK_BYTES)));
        }
        let durability = if number % 4 == 0 { Durability::Synced } else { Durability::Buffered };
        store.commit(&mv, patch_of(&store, &mv, &zip(number)), durability).expect("commit");
        writeln!(out, "put {number}").expect("tell");
        let victim = number.wrapping_mul(31) % (number + 1);
        match number % 9 {
            2 => {
                store.remove(&numbered(victim), Scope::Zip).expect("remove");
                writeln!(out, "zip-gone {victim}").expect("tell");
            }
            5 => {
                // Quarantine would, rightly, leave a twin with the same bytes for the scrub to find.
                if victim % 7 < 5 {
                    store.quarantine(&numbered(victim), Scope::Record, "test").expect("quarantine");
                } else {
                    store.remove(&numbered(victim), Scope::Record).expect("remove");
                }
                writeln!(out, "gone {victim}").expect("tell");
            }
            7 => {
                let again = Patch { info: Some(info_of(&mv)), ..Patch::default() };
                store.commit(&mv, again, Durability::Buffered).expect("commit again");
            }
            _ => {}
        }
    }
    unreachable!("numbers do not end")
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Held,
    ZipGone,
    Gone,
}

/// What the child told, by version. The step it was at when it died may have happened or not.
#[derive(Debug, Default)]
struct Told {
    states: std::collections::BTreeMap<u64, State>,
}

impl Told {
    fn line(&mut self, line: &str) -> bool {
        let mut words = line.split_whitespace();
        let (Some(word), Some(number)) = (words.next(), words.next()) else { return false };
        let state = match word {
            "put" => State::Held,
            "zip-gone" => State::ZipGone,
            "gone" => State::Gone,
            _ => return false,
        };
        let number = number.parse().expect("a number");
        // Removing what is not there has no effect.
        let now = self.states.get(&number).copied().unwrap_or(State::Gone);
        if state == State::Held || (now != State::Gone && state == State::Gone) || now == State::Held {
            self.states.insert(number, state);
        }
        true
    }

    fn next(&self) -> u64 {
        self.states.last_key_value().map_or(0, |(number, _)| number + 1)
    }

    /// Holds the store against it, and takes over what the unfinished step did.
    fn check(&mut self, store: &Store) {
        let mut differing = Vec::new();
        let unfinished = self.next();
        for (number, state) in &mut self.states {
            let record = store.record(&numbered(*number)).expect("record");
            let found = match &record {
                None => State::Gone,
                Some(record) if record.zip.is_none() => State::ZipGone,
                Some(_) => State::Held,
            };
            if found != *state {
                // Only the removal that was under way can differ, and only towards removal.
                assert!(
                    found == State::Gone || (*state, found) == (State::Held, State::ZipGone),
                    "version {number} was {state:?} and is {found:?}"
                );
                let was = std::mem::replace(state, found);
                differing.push((*number, was, found));
            }
            if let Some(record) = record {
                assert_eq!(record.info, Some(info_of(&numbered(*number))));
            }
            if found == State::Held {
                assert_eq!(zip_of(store, &numbered(*number)), Some(zip(*number)), "version {number}");
            }
        }
        assert!(differing.len() <= 1, "acknowledged steps are lost: {differing:?}");
        // The commit that was under way is there as a whole or not at all.
        let mv = numbered(unfinished);
        if let Some(record) = store.record(&mv).expect("record") {
            assert!(record.info.is_some() && record.go_mod.is_some());
            assert_eq!(zip_of(store, &mv), Some(zip(unfinished)));
            self.states.insert(unfinished, State::Held);
        }
        assert_sound(store);
    }
}

#[test]
fn killed_while_writing() {
    if let Some((dir, from)) = role() {
        write_for_ever(&dir, from);
    }
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut told = Told::default();
    for round in 0..rounds(4) {
        let (mut child, output) = spawn("killed_while_writing", dir.path(), told.next(), "");
        let mut steps = 20 + round.wrapping_mul(2_654_435_761) % 60;
        for line in output.lines() {
            let line = line.expect("line");
            if told.line(&line) && steps > 0 {
                steps -= 1;
                if steps == 0 {
                    // Lines that are in the pipe already are acknowledged too, so reading goes on.
                    child.kill().expect("kill");
                }
            }
        }
        child.wait().expect("wait");
        assert_eq!(steps, 0, "the child died by itself");
        told.check(&open(dir.path()));
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn dead_at_every_failpoint() {
    if let Some((dir, from)) = role() {
        let setting = std::env::var(CHILD_POINT).expect("a failpoint");
        let (point, skip) = setting.split_once('=').expect("point and number");
        let left = std::sync::atomic::AtomicI64::new(skip.parse().expect("a number"));
        let die = move || {
            if left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                std::process::abort();
            }
        };
        fail::cfg_callback(point, die).expect("failpoint");
        write_for_ever(&dir, from);
    }
    let points = [
        "store::blob::before_chunk",
        "store::blob::after_marker",
        "store::blob::after_chunk",
        "store::blob::before_seal",
        "store::commit::before_batch",
        "store::commit::after_batch",
        "store::delete::before_batch",
        "store::delete::after_manifest",
        "store::delete::after_chunks",
    ];
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut told = Told::default();
    for point in points {
        for skip in [0, 3, 7].into_iter().take(rounds(2) as usize) {
            let setting = format!("{point}={skip}");
            let (mut child, output) = spawn("dead_at_every_failpoint", dir.path(), told.next(), &setting);
            for line in output.lines() {
                told.line(&line.expect("line"));
            }
            let status = child.wait().expect("wait");
            assert!(!status.success(), "{point} was never reached");
            told.check(&open(dir.path()));
        }
    }
}

/// What a power cut does to the log: it ends anywhere after what was synced.
#[test]
fn a_power_cut_keeps_what_was_synced() {
    const SYNCED: u64 = 12;
    const TOTAL: u64 = 30;
    if let Some((dir, _)) = role() {
        let store = open(&dir);
        for number in 0..TOTAL {
            let durability = if number + 1 == SYNCED { Durability::Synced } else { Durability::Buffered };
            put(&store, &numbered(number), &content(number, zip_len(number) / 8), durability);
            let log = files(&dir, ".log").pop().expect("a log");
            println!("size {} {number}", log.metadata().expect("metadata").len());
        }
        std::process::abort();
    }
    let dir = tempfile::tempdir().expect("temporary folder");
    let (mut child, output) = spawn("a_power_cut_keeps_what_was_synced", dir.path(), 0, "");
    let sizes: Vec<u64> = output
        .lines()
        .filter_map(|line| line.expect("line").strip_prefix("size ")?.split(' ').next()?.parse().ok())
        .collect();
    child.wait().expect("wait");
    assert_eq!(sizes.len() as u64, TOTAL);
    let (synced, end) = (sizes[SYNCED as usize - 1], sizes[TOTAL as usize - 1]);
    let cuts = rounds(9);
    for cut in 0..=cuts {
        let len = synced + (end - synced) * cut / cuts;
        let copy = tempfile::tempdir().expect("temporary folder");
        copy_folder(dir.path(), copy.path());
        let log = files(copy.path(), ".log").pop().expect("a log");
        let file = std::fs::OpenOptions::new().write(true).open(log).expect("open the log");
        file.set_len(len).expect("cut the log");
        let store = open(copy.path());
        // All that was written before the cut is there, in order, and nothing of what was not.
        for number in 0..TOTAL {
            let expected = sizes[number as usize] <= len;
            let found = zip_of(&store, &numbered(number)).is_some();
            assert_eq!(found, expected, "version {number}, log cut at {len} of {end}");
            assert!(number >= SYNCED || found);
        }
        assert_sound(&store);
    }
}
