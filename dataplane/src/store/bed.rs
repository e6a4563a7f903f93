//! What tests of the store, and of what works on it, share: a store in a temporary folder, and versions with known content.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::clock::SystemClock;
use gomod::{H1, ModulePath, ModuleVersion, Version};
use sha2::{Digest as _, Sha256};

use super::evict::Watermarks;
use super::rocks::Batch;
use super::types::{CHUNK_BYTES, Durability, Patch};
use super::{Store, StoreOptions, keys};

/// The machine's disk is not what is tested.
pub(crate) fn options() -> StoreOptions {
    StoreOptions { reserve_bytes: 0, full_percent: 100, ..StoreOptions::default() }
}

/// Nor is it by housekeeping.
pub(crate) fn watermarks() -> Watermarks {
    Watermarks { high_percent: 100, hard_percent: 100, ..Watermarks::default() }
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, options(), Arc::new(SystemClock)).expect("open the store")
}

/// Versions of one module.
pub(crate) fn version(number: u8) -> ModuleVersion {
    let module = ModulePath::parse("example.com/a").expect("module path");
    ModuleVersion { module, version: Version::parse(&format!("v1.{number}.0")).expect("version") }
}

/// A whole version that nobody vouches for, with a zip of `len` bytes; the same `content` is the same zip.
pub(crate) fn patch(store: &Store, content: u8, len: usize) -> Patch {
    let zip = Bytes::from(vec![content; len]);
    let mut writer = store.begin_blob().expect("begin a blob");
    for start in (0..len).step_by(CHUNK_BYTES) {
        writer.append(zip.slice(start..len.min(start + CHUNK_BYTES))).expect("append");
    }
    let sealed = writer.seal(Sha256::digest(&zip).into());
    let zip = Some((sealed, H1::from_bytes([content; 32])));
    Patch { info: Some(Bytes::from_static(b"{}")), zip, ..Patch::default() }
}

pub(crate) fn put(store: &Store, number: u8, content: u8, len: usize) {
    store.commit(&version(number), patch(store, content, len), Durability::Buffered).expect("commit");
}

/// Gives a version a record that does not decode, whatever it had before.
pub(crate) fn spoil(store: &Store, mv: &ModuleVersion) {
    let mut batch = Batch::default();
    batch.put(keys::record(mv), *b"no record");
    store.inner.rocks.write("test", batch, Durability::Buffered).expect("write");
}
