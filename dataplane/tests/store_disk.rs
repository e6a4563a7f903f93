//! A disk of its own for the store, as real as a file can make it: power cuts that lose all that was not synced, blocks
//! that cannot be read, and a mount that turns read-only.
//!
//! The file system is ext4 on a loop device, so its image is what a disk would hold at that moment: what the kernel has
//! in its caches is not in it. Needs root.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and may print"
)]

mod store_bed;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use common::clock::SystemClock;
use dataplane::store::evict::{Policy, Watermarks, run_once};
use dataplane::store::{CHUNK_BYTES, Durability, Scope, Store, StoreError, StoreOptions};
use gomod::ModuleVersion;
use rustix::process::{Pid, Signal, kill_process};
use store_bed::*;

const CHILD_DIR: &str = "STORE_TEST_DIR";

/// A mounted image; unmounted at the end.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// An empty file system; `None` where none can be made and mounted.
    fn make(mib: u64) -> Option<Self> {
        let disk = Self { dir: tempfile::tempdir().expect("temporary folder") };
        let image = std::fs::File::create(disk.image()).expect("create");
        image.set_len(mib << 20).expect("size");
        let made = run("mkfs.ext4", &["-q", "-F"], &[&disk.image()]) && disk.mount();
        if !made {
            println!("skipped: ext4 cannot be made and mounted on a loop device here");
        }
        made.then_some(disk)
    }

    /// What a disk that loses power now would hold.
    fn cut_power(&self) -> Self {
        let copy = Self { dir: tempfile::tempdir().expect("temporary folder") };
        std::fs::copy(self.image(), copy.image()).expect("copy");
        assert!(copy.mount(), "the file system does not come back");
        copy
    }

    fn mount(&self) -> bool {
        std::fs::create_dir_all(self.path()).expect("create");
        // The journal is written when somebody asks for it, not every five seconds.
        run("mount", &["-o", "loop,commit=600"], &[&self.image(), &self.path()])
    }

    fn unmount(&self) -> bool {
        run("umount", &[], &[&self.path()])
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-lq").arg(self.path()).output();
    }
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> bool {
    let output = Command::new(program).args(arguments).args(paths).output();
    output.is_ok_and(|output| output.status.success())
}

/// A child that ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Versions are put in order; each tenth step also removes a zip of some steps before.
fn removed_in(step: u64) -> Option<u64> {
    (step % 10 == 9).then(|| step - 5)
}

fn is_synced(step: u64) -> bool {
    step % 16 == 3
}

fn zip(number: u64) -> Bytes {
    content(
        number,
        [300, 90_000, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 77_777][number as usize % 5],
    )
}

/// Takes all steps, telling of each once it is acknowledged.
fn take_steps(dir: &Path) -> ! {
    // Small enough that tables are written, merged and deleted all the time.
    let options = StoreOptions { write_buffer_bytes: 4 * 1024 * 1024, ..options() };
    let store = Store::open(dir, options, Arc::new(SystemClock)).expect("open the store");
    let watermarks = Watermarks { high_percent: 100, hard_percent: 100, ..Watermarks::default() };
    let policy = Policy { garbage_floor_bytes: 0, watermarks, ..Policy::default() };
    println!();
    for step in 0.. {
        let durability = if is_synced(step) { Durability::Synced } else { Durability::Buffered };
        put(&store, &numbered(step), &zip(step), durability);
        println!("step {step}");
        if let Some(number) = removed_in(step) {
            store.remove(&numbered(number), Scope::Zip).expect("remove");
            run_once(&store, &policy, NEW_YEAR_US).expect("pass");
        }
    }
    std::process::abort();
}

/// The store is as it was after some step, and no step before `synced`.
fn check_steps(store: &Store, synced: u64) {
    let is_there = |&step: &u64| store.record(&numbered(step)).expect("record").is_some();
    let steps = (0..u64::MAX).take_while(is_there).count() as u64;
    assert!(steps > synced, "step {synced} was synced, and {steps} are there");
    assert_eq!(store.records_after(None, usize::MAX).expect("records").len() as u64, steps, "there is a gap");
    let removed: Vec<u64> = (0..steps).filter_map(removed_in).collect();
    for number in 0..steps {
        match zip_of(store, &numbered(number)) {
            Some(found) => {
                assert!(found == zip(number), "version {number}");
                // The last step may have come as far as its first half.
                assert!(
                    !removed.contains(&number) || removed_in(steps - 1) == Some(number),
                    "version {number}"
                );
            }
            None => assert!(removed.contains(&number), "version {number} of {steps} is lost"),
        }
    }
    assert_sound(store);
}

#[test]
fn a_power_cut_loses_nothing_that_was_synced_and_leaves_nothing_half_done() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        take_steps(Path::new(&dir));
    }
    let rounds = std::env::var("SOAK").ok().and_then(|soak| soak.parse().ok()).unwrap_or(5);
    // Each round adds about eight, and as much again is written before garbage goes.
    let Some(disk) = Disk::make(128 + 24 * rounds) else { return };
    let child = Command::new(std::env::current_exe().expect("own path"))
        .args([
            "a_power_cut_loses_nothing_that_was_synced_and_leaves_nothing_half_done",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD_DIR, disk.path().join("store"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the child");
    let mut child = Killed(child);
    let id = Pid::from_child(&child.0);
    let send = |signal| kill_process(id, signal).expect("send a signal to the child");
    let output = BufReader::new(child.0.stdout.take().expect("output"));
    let lines = output.lines().map(|line| line.expect("line"));
    let mut steps = lines.filter_map(|line| line.strip_prefix("step ")?.parse::<u64>().ok());
    let (mut synced, mut round, mut lost) = (0, 0, 0);
    // Some cuts come just after a sync; that none loses anything would be strange.
    while round < rounds || (lost == 0 && round < 4 * rounds) {
        let mut told = 0;
        for step in steps.by_ref().take((20 + round * 13 % 17) as usize) {
            synced = if is_synced(step) { step } else { synced };
            told = step;
        }
        send(Signal::STOP);
        let after = disk.cut_power();
        let store = open(&after.path().join("store"));
        check_steps(&store, synced);
        lost += u64::from(told >= store.usage().expect("usage").records);
        drop(store);
        check_steps(&open(&after.path().join("store")), synced);
        send(Signal::CONT);
        round += 1;
    }
    assert!(lost > 0, "no cut lost anything: this is no power cut");
}

/// A store with `count` versions in as many blob files as it was opened, and the first of these files.
fn filled(dir: &Path, opened: u64, each: u64) -> PathBuf {
    for round in 0..opened {
        let store = open(dir);
        for number in round * each..(round + 1) * each {
            put(&store, &numbered(number), &content(number, 2 * CHUNK_BYTES), Durability::Buffered);
        }
    }
    files(dir, ".blob").remove(0)
}

/// Moves a file to a disk that has lost the blocks of its second half.
fn lose_blocks(file: &Path) -> Option<Disk> {
    let disk = Disk::make(16)?;
    let moved = disk.path().join("moved");
    let bytes = std::fs::read(file).expect("read");
    std::fs::write(&moved, &bytes).expect("write");
    // Out of the kernel's cache, so that what is read comes from the disk.
    assert!(disk.unmount() && disk.mount());
    let image = std::fs::read(disk.image()).expect("read");
    let middle = &bytes[bytes.len() / 2..][..64];
    let at = image.windows(middle.len()).position(|window| window == middle).expect("its place on the disk");
    let image = std::fs::OpenOptions::new().write(true).open(disk.image()).expect("open");
    image.set_len(at as u64 / 4096 * 4096).expect("cut");
    std::fs::remove_file(file).expect("remove");
    std::os::unix::fs::symlink(&moved, file).expect("link");
    let error = std::fs::read(file).expect_err("blocks are gone");
    assert!(error.to_string().contains("Input/output error"), "{error}");
    Some(disk)
}

fn damaged(store: &Store, numbers: std::ops::Range<u64>) -> Vec<ModuleVersion> {
    let mut damaged = Vec::new();
    for number in numbers {
        let reader = store.open_zip(&numbered(number)).expect("open").expect("held");
        for (chunk, wanted) in content(number, 2 * CHUNK_BYTES).chunks(CHUNK_BYTES).enumerate() {
            match reader.chunk(chunk as u32) {
                Ok(found) => assert!(found == wanted, "version {number}"),
                Err(StoreError::Corrupt { .. }) => damaged.push(numbered(number)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    damaged.dedup();
    damaged
}

#[test]
fn blocks_that_cannot_be_read_are_damage_and_heal() {
    for collected_first in [false, true] {
        let dir = tempfile::tempdir().expect("temporary folder");
        let blob = filled(dir.path(), 2, 6);
        let Some(_disk) = lose_blocks(&blob) else { return };
        let store = open(dir.path());
        let policy = Policy { garbage_floor_bytes: 0, ..Policy::default() };
        let bad = damaged(&store, 0..12);
        assert!((1..=6).contains(&bad.len()), "{bad:?}");
        if collected_first {
            // What is left of the file has to be read for it, which stops the database until it is healed.
            for number in 9..12 {
                store.remove(&numbered(number), Scope::Zip).expect("remove");
            }
            let interrupted = run_once(&store, &policy, NEW_YEAR_US).expect_err("it meets the blocks");
            assert!(matches!(interrupted.source, StoreError::Corrupt { .. }), "{interrupted:?}");
            assert!(store.is_stopped());
            let report = run_once(&store, &policy, NEW_YEAR_US).expect("healed");
            assert_eq!(report.healed.quarantined, bad);
        } else {
            for version in &bad {
                store.quarantine(version, Scope::Zip, "it cannot be read").expect("quarantine");
            }
        }
        for version in &bad {
            assert_eq!(zip_of(&store, version), None);
        }
        for number in (0..12).filter(|&number| zip_of(&store, &numbered(number)).is_none()) {
            put(&store, &numbered(number), &content(number, 2 * CHUNK_BYTES), Durability::Synced);
        }
        assert!(damaged(&store, 0..12).is_empty());
        run_once(&store, &policy, NEW_YEAR_US).expect("nothing that lives is on lost blocks");
        assert_sound(&store);
        drop(store);
        assert!(damaged(&open(dir.path()), 0..12).is_empty());
    }
}

/// Lays a read-only mount of the disk over it: what is open stays writable, nothing else can be opened for writing.
fn turn_read_only(disk: &Disk) {
    let path = disk.path();
    assert!(run("mount", &["--bind"], &[&path, &path]) && run("mount", &["-o", "remount,ro,bind"], &[&path]));
}

fn turn_writable(disk: &Disk) {
    let path = disk.path();
    assert!(run("mount", &["-o", "remount,rw,bind"], &[&path]) && run("umount", &["-l"], &[&path]));
}

#[test]
fn a_disk_that_turns_read_only_stops_storing_until_it_is_writable_again() {
    let Some(disk) = Disk::make(256) else { return };
    let policy = Policy {
        watermarks: Watermarks { high_percent: 100, hard_percent: 100, ..Watermarks::default() },
        ..Policy::default()
    };
    let store = open(&disk.path().join("store"));
    for number in 0..5 {
        put(&store, &numbered(number), &zip(number), Durability::Synced);
    }
    turn_read_only(&disk);
    // Writing out takes a new file.
    let error = store.flush().expect_err("a new file on a read-only mount");
    assert!(matches!(&error, StoreError::Unwritable { why, .. } if why.contains("Read-only")), "{error:?}");
    for _ in 0..2 {
        assert!(store.begin_blob().is_err_and(|error| error.takes_nothing()));
        assert_eq!(store.unwritable().as_deref(), Some("Read-only file system"));
        assert!(store.usage().expect("usage").unwritable && !store.is_stopped());
        assert!((0..5).all(|number| zip_of(&store, &numbered(number)) == Some(zip(number))));
        // A pass finds it as it is, and nothing to complain of.
        assert!(!run_once(&store, &policy, NEW_YEAR_US).expect("pass").healed.reopened);
    }
    turn_writable(&disk);
    assert!(run_once(&store, &policy, NEW_YEAR_US).expect("pass").healed.reopened);
    assert_eq!(store.unwritable(), None);
    for number in 5..10 {
        put(&store, &numbered(number), &zip(number), Durability::Synced);
    }
    store.flush().expect("flush");
    drop(store);

    // A start on a disk that is read-only serves what is held, and stores again when it can.
    turn_read_only(&disk);
    let store = open(&disk.path().join("store"));
    assert!((0..10).all(|number| zip_of(&store, &numbered(number)) == Some(zip(number))));
    assert!(store.begin_blob().is_err_and(|error| error.takes_nothing()));
    turn_writable(&disk);
    assert!(store.heal().expect("heal").reopened);
    put(&store, &numbered(10), &zip(10), Durability::Synced);
    assert_sound(&store);
}
