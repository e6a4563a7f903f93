//! A full disk: storing stops with an error that says so, reading goes on, and storing resumes without a restart.
//!
//! Needs root, to mount a small tmpfs.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and may print"
)]

mod store_bed;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dataplane::store::evict::{Policy, Report, run_once};
use dataplane::store::{CHUNK_BYTES, CommitError, Durability, Patch, Store, StoreError, StoreOptions};
use store_bed::*;

/// A small file system, unmounted at the end.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(mib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let size = format!("size={mib}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self { dir }),
            failed => {
                println!("skipped: a tmpfs cannot be mounted here ({failed:?})");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn try_put(store: &Store, number: u64) -> Result<(), StoreError> {
    let (mv, zip) = (numbered(number), content(number, 2 * CHUNK_BYTES));
    let mut writer = store.begin_blob()?;
    writer.append(zip.slice(..CHUNK_BYTES))?;
    writer.append(zip.slice(CHUNK_BYTES..))?;
    let sealed = writer.seal(sha256(&zip));
    let patch = Patch { info: Some(info_of(&mv)), zip: Some((sealed, h1_of(&zip))), ..Default::default() };
    match store.commit(&mv, patch, Durability::Synced) {
        Ok(_) => Ok(()),
        Err(CommitError::Store(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

fn check_readable(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(zip_of(store, &numbered(number)), Some(content(number, 2 * CHUNK_BYTES)));
    }
}

#[test]
fn the_disk_fills_up_under_the_store() {
    let Some(disk) = SmallDisk::mount(40) else { return };
    let store = open(&disk.path().join("store"));
    let mut stored = 0;
    let error = loop {
        match try_put(&store, stored) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 200, "the disk does not fill up");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(stored >= 10, "{stored}");
    check_readable(&store, 0..stored);
    assert!(store.usage().expect("usage").out_of_space);
    assert!(matches!(try_put(&store, stored), Err(StoreError::Full { .. })));

    // Somebody makes room: by a larger disk, here.
    let grown = Command::new("mount").args(["-o", "remount,size=120m"]).arg(disk.path()).status();
    assert!(grown.expect("remount").success());
    // The database looks for space every five seconds.
    let start = Instant::now();
    while let Err(error) = try_put(&store, stored) {
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(30), "storing does not resume");
        // waits for: the database's own look for space, which nothing announces.
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!store.usage().expect("usage").out_of_space);
    check_readable(&store, 0..stored + 1);
    assert_sound(&store);
    drop(store);
    let store = open(&disk.path().join("store"));
    check_readable(&store, 0..stored + 1);
    assert_sound(&store);
}

#[test]
fn a_store_opens_for_reading_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let store = open(&disk.path().join("store"));
    for number in 0..8 {
        try_put(&store, number).expect("put");
    }
    drop(store);
    let mut ballast = std::fs::File::create(disk.path().join("ballast")).expect("create");
    let written = std::io::copy(&mut std::io::repeat(1), &mut ballast);
    assert_eq!(written.expect_err("full").kind(), std::io::ErrorKind::StorageFull);
    let store = open(&disk.path().join("store"));
    check_readable(&store, 0..8);
    assert!(matches!(try_put(&store, 9), Err(StoreError::Full { .. })));

    drop(ballast);
    std::fs::remove_file(disk.path().join("ballast")).expect("remove");
    assert!(store.heal().expect("heal").reopened);
    try_put(&store, 9).expect("put");
    check_readable(&store, 0..8);
    check_readable(&store, 9..10);
    assert_sound(&store);
}

/// With a reserve, which is 8 MiB of a disk of 256.
fn reserving() -> StoreOptions {
    StoreOptions { reserve_bytes: 1 << 20, write_buffer_bytes: 2 << 20, ..options() }
}

fn reserve(disk: &SmallDisk) -> PathBuf {
    disk.path().join("store/RESERVE")
}

fn free_bytes(disk: &SmallDisk) -> u64 {
    rustix::fs::statvfs(disk.path()).map(|stat| stat.f_bavail * stat.f_frsize).expect("statvfs")
}

/// Fills the disk up but for so many bytes.
fn leave(disk: &SmallDisk, name: &str, bytes: u64) {
    let ballast = File::create(disk.path().join(name)).expect("create");
    let taken = || {
        let len = free_bytes(disk).saturating_sub(bytes).max(1);
        rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, len)
    };
    // The database may be writing as well.
    assert!((0..100).any(|_| taken().is_ok()), "the disk cannot be filled");
}

/// A store with eight zips on a disk that has just enough room for a reserve.
fn filled(disk: &SmallDisk) -> Store {
    let store = open_with(&disk.path().join("store"), &reserving());
    for number in 0..8 {
        try_put(&store, number).expect("put");
    }
    pass(&store);
    assert!(!reserve(disk).exists(), "nobody needs it yet");
    leave(disk, "ballast", 52 << 20);
    assert!(pass(&store).evicted.is_empty());
    assert_eq!(reserve(disk).metadata().expect("a reserve").len(), 8 << 20);
    store
}

fn pass(store: &Store) -> Report {
    run_once(store, &Policy::default(), NEW_YEAR_US).expect("pass")
}

/// Writes until the disk takes no more of it.
fn exhaust(store: &Store) {
    for number in 100..1000 {
        let info = Some(content(number, 200_000));
        match store.commit(&numbered(number), Patch { info, ..Patch::default() }, Durability::Buffered) {
            Ok(_) => {}
            Err(CommitError::Store(StoreError::Full { .. })) => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk does not fill up");
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_is_made_room_on() {
    let Some(disk) = SmallDisk::mount(256) else { return };
    let store = filled(&disk);
    leave(&disk, "more", 0);
    exhaust(&store);
    assert!(store.is_out_of_space());
    assert!(matches!(try_put(&store, 8), Err(StoreError::Full { .. })));
    check_readable(&store, 0..8);

    // The database looks for space every five seconds.
    let start = Instant::now();
    while pass(&store).evicted.is_empty() {
        assert!(!reserve(&disk).exists());
        assert!(start.elapsed() < Duration::from_secs(30), "nothing leaves");
        // waits for: the database's own look for space, which nothing announces.
        std::thread::sleep(Duration::from_millis(200));
    }
    std::fs::remove_file(disk.path().join("more")).expect("remove");
    pass(&store);
    assert!(reserve(&disk).exists(), "it is there again");
    try_put(&store, 8).expect("put");
    assert!(!store.is_out_of_space());
    assert_sound(&store);
}

#[test]
fn a_start_on_a_disk_that_is_full_to_the_last_byte_makes_room_on_it() {
    let Some(disk) = SmallDisk::mount(256) else { return };
    drop(filled(&disk));
    leave(&disk, "more", 0);
    let store = open_with(&disk.path().join("store"), &reserving());
    check_readable(&store, 0..8);
    assert!(matches!(store.flush(), Err(StoreError::Full { .. })), "it is not open for reading alone");
    let report = pass(&store);
    assert!(report.healed.reopened && !report.evicted.is_empty(), "{report:?}");
    std::fs::remove_file(disk.path().join("more")).expect("remove");
    try_put(&store, 9).expect("put");
    assert_sound(&store);
}

/// What arrives stops while there is still room for removing things.
#[test]
fn a_zip_that_would_fill_the_disk_is_refused_in_its_middle() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let options = StoreOptions { reserve_bytes: 8 << 20, ..reserving() };
    let store = open_with(&disk.path().join("store"), &options);
    let mut writer = store.begin_blob().expect("begin a blob");
    let mut chunks = 0;
    let error = loop {
        match writer.append(content(chunks, CHUNK_BYTES)) {
            Ok(()) => chunks += 1,
            Err(error) => break error,
        }
        assert!(chunks < 1000, "the disk does not fill up");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(free_bytes(&disk) > 2 << 20, "{}", free_bytes(&disk));
    assert_eq!(store.chunk(writer.id(), 0).expect("chunk"), content(0, CHUNK_BYTES));
    drop(writer);
    store.flush().expect("flush");
    assert_sound(&store);
}
