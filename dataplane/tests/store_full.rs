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

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dataplane::store::{CHUNK_BYTES, CommitError, Durability, Store, StoreError};
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
    let patch = dataplane::store::Patch {
        info: Some(info_of(&mv)),
        zip: Some((sealed, h1_of(&zip))),
        ..Default::default()
    };
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
