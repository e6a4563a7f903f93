//! What the store's tests share: stores in temporary folders, versions with known content, checks of the whole.

#![allow(dead_code, reason = "each test file uses its own part of this module")]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::clock::{Clock, ManualClock, SystemClock};
use dataplane::store::{
    CHUNK_BYTES, Durability, Finding, OpenError, Orphans, Patch, ScrubReport, SealedBlob, Store,
    StoreOptions, Verified, VersionRecord,
};
use gomod::{H1, ModulePath, ModuleVersion, Version};
use sha2::{Digest as _, Sha256};

/// 2026-01-01T00:00:00Z in µs.
pub(crate) const NEW_YEAR_US: i64 = 1_767_225_600_000_000;

pub(crate) fn mv(module: &str, version: &str) -> ModuleVersion {
    ModuleVersion {
        module: ModulePath::parse(module).expect("module path"),
        version: Version::parse(version).expect("version"),
    }
}

/// The version that stands for a number.
pub(crate) fn numbered(number: u64) -> ModuleVersion {
    mv(&format!("example.com/m{}", number % 10), &format!("v1.{}.0", number / 10))
}

pub(crate) fn options() -> StoreOptions {
    StoreOptions { reserve_bytes: 0, full_percent: 100, ..StoreOptions::default() }
}

pub(crate) fn open(dir: &Path) -> Store {
    open_with(dir, &options())
}

pub(crate) fn open_with(dir: &Path, options: &StoreOptions) -> Store {
    let begun = Instant::now();
    loop {
        match Store::open(dir, options.clone(), Arc::new(SystemClock)) {
            // A test beside this one starts a program: between its fork and its exec that holds whatever was open here.
            Err(OpenError::Locked { .. }) if begun.elapsed() < Duration::from_secs(5) => {
                std::thread::yield_now();
            }
            opened => return opened.expect("open the store"),
        }
    }
}

pub(crate) fn open_at(dir: &Path, now_us: i64) -> (Store, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(now_us));
    let store = Store::open(dir, options(), Arc::clone(&clock) as Arc<dyn Clock>).expect("open the store");
    (store, clock)
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn content(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// An h1 that stands for the content; the store never computes it.
pub(crate) fn h1_of(bytes: &[u8]) -> H1 {
    H1::from_bytes(sha256(&[b"h1 of ", bytes].concat()))
}

pub(crate) fn write_blob(store: &Store, bytes: &Bytes) -> SealedBlob {
    let mut writer = store.begin_blob().expect("begin a blob");
    for start in (0..bytes.len()).step_by(CHUNK_BYTES) {
        let chunk = bytes.slice(start..bytes.len().min(start + CHUNK_BYTES));
        writer.append(chunk).expect("append");
    }
    writer.seal(sha256(bytes))
}

pub(crate) fn info_of(mv: &ModuleVersion) -> Bytes {
    Bytes::from(format!("{{\"Version\":\"{}\",\"Time\":\"2026-01-01T00:00:00Z\"}}", mv.version))
}

pub(crate) fn go_mod_of(mv: &ModuleVersion) -> Bytes {
    Bytes::from(format!("module {}\n\ngo 1.24\n", mv.module))
}

pub(crate) fn patch_of(store: &Store, mv: &ModuleVersion, zip: &Bytes) -> Patch {
    Patch {
        info: Some(info_of(mv)),
        go_mod: Some(go_mod_of(mv)),
        zip: Some((write_blob(store, zip), h1_of(zip))),
        verified: Verified::ChecksumDatabase,
        origin: "https://mirror.example".to_owned(),
        ..Patch::default()
    }
}

/// Stores a whole version.
pub(crate) fn put(store: &Store, mv: &ModuleVersion, zip: &Bytes, durability: Durability) -> VersionRecord {
    store.commit(mv, patch_of(store, mv, zip), durability).expect("commit")
}

/// The held zip's bytes, read through every layer; `None` when it is not held.
pub(crate) fn zip_of(store: &Store, mv: &ModuleVersion) -> Option<Bytes> {
    let reader = store.open_zip(mv).expect("open the zip")?;
    let chunks = (0..reader.manifest().chunks()).map(|number| reader.chunk(number).expect("chunk"));
    Some(chunks.collect::<Vec<_>>().concat().into())
}

/// Verifies every stored byte.
pub(crate) fn scrub(store: &Store) -> (ScrubReport, Vec<Finding>) {
    let mut findings = Vec::new();
    let report = store
        .scrub(&mut |_| std::ops::ControlFlow::Continue(()), &mut |finding| findings.push(finding))
        .expect("scrub");
    (report, findings)
}

/// Everything verifies, nothing is left over, and the counters fit what is there.
pub(crate) fn assert_sound(store: &Store) {
    store.collect().expect("collect");
    assert_eq!(scrub(store).1, []);
    assert_eq!(store.orphans().expect("orphans"), Orphans::default());
    let records = store.records_after(None, usize::MAX).expect("records");
    let mut blobs = std::collections::BTreeMap::new();
    let staged = store.staged(usize::MAX).expect("staged");
    for record in records.iter().map(|(_, record)| record).chain(staged.iter().map(|staged| &staged.record)) {
        if let Some(zip) = &record.zip {
            blobs.insert(zip.blob, zip.size);
        }
    }
    let usage = store.usage().expect("usage");
    assert_eq!(usage.records, records.iter().filter(|(_, record)| !record.is_stub()).count() as u64);
    assert_eq!(usage.zips, blobs.len() as u64);
    assert_eq!(usage.zip_bytes, blobs.values().sum::<u64>());
}

/// Bytes that the files of a folder take up on disk.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(dir).expect("read the folder");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("entry");
        let data = entry.metadata().expect("metadata");
        if data.is_dir() { disk_bytes(&entry.path()) } else { data.blocks() * 512 }
    });
    sizes.sum()
}

/// A copy of a whole folder.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("create");
    for entry in std::fs::read_dir(from).expect("read the folder") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.metadata().expect("metadata").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// The database's files whose names end so, in order.
pub(crate) fn files(dir: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir.join("db")).expect("read the folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}
