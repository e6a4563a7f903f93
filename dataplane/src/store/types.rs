//! What the store's callers hold in their hands: records, manifests, answers. Values only, no IO.

use std::fmt;

use bytes::Bytes;
use gomod::{H1, ModuleVersion, Version};

use super::blob::SealedBlob;

/// Bytes in every chunk of a blob but the last.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Names a stored blob for as long as it lives; never used twice in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub(super) u64);

impl BlobId {
    /// The number behind it, for logs and cache keys.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much a version's copy here is worth; decides what eviction may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Can be fetched again: evictable.
    #[default]
    Cache,
    /// Kept although public: upstream may have lost it, or this is a mirror.
    Retained,
    /// Uploaded here or private: maybe the only copy on earth.
    Published,
}

impl Class {
    /// When a write of such a version counts as done.
    pub const fn durability(self) -> Durability {
        match self {
            Self::Cache | Self::Retained => Durability::Buffered,
            Self::Published => Durability::Synced,
        }
    }
}

/// Who vouches for a version's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verified {
    /// Nobody: it is private, or the checksum database is off, could not be asked, or has no record of it.
    #[default]
    Unchecked,
    /// The checksum database listed these hashes.
    ChecksumDatabase,
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the log: survives the death of the process, not of the machine.
    Buffered,
    /// In the log and on stable storage.
    Synced,
}

/// A held zip: what it is, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZipManifest {
    /// Where its chunks are.
    pub blob: BlobId,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the zip's bytes.
    pub sha256: [u8; 32],
    /// The `h1:` hash of its content.
    pub h1: H1,
}

impl ZipManifest {
    /// Number of chunks.
    pub fn chunks(&self) -> u32 {
        chunk_count(self.size)
    }

    /// Length of chunk `number` in bytes; 0 beyond the end.
    pub fn chunk_len(&self, number: u32) -> usize {
        chunk_len(self.size, number)
    }
}

/// Number of chunks of a blob of `size` bytes.
pub(super) fn chunk_count(size: u64) -> u32 {
    u32::try_from(size.div_ceil(CHUNK_BYTES as u64)).unwrap_or(u32::MAX)
}

/// Length of chunk `number` of a blob of `size` bytes; 0 beyond the end.
pub(super) fn chunk_len(size: u64, number: u32) -> usize {
    let start = u64::from(number) * CHUNK_BYTES as u64;
    size.saturating_sub(start).min(CHUNK_BYTES as u64) as usize
}

/// Everything known about one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionRecord {
    /// The `.info` document, byte for byte as first stored.
    pub info: Option<Bytes>,
    /// The go.mod file.
    pub go_mod: Option<Bytes>,
    /// The `h1:` hash of `go_mod`; stays bound.
    pub go_mod_h1: Option<H1>,
    /// The zip, while it is held.
    pub zip: Option<ZipManifest>,
    /// The `h1:` hash that the zip is bound to, also while it is not held.
    pub zip_h1: Option<H1>,
    /// What eviction may do.
    pub class: Class,
    /// Who vouches for it.
    pub verified: Verified,
    /// Where it came from.
    pub origin: String,
    /// When this store first heard of the version, wall clock, µs since the epoch.
    pub first_seen_us: i64,
    /// When its zip was first held, as the index feed tells it; strictly increasing over the store.
    pub held_us: Option<i64>,
}

impl VersionRecord {
    /// Whether it is a stub: the hashes that a version is bound to, of which nothing is held and nothing else is known any more. For
    /// whoever asks what is held it is as if there were no record.
    pub fn is_stub(&self) -> bool {
        let is_bound = self.zip_h1.is_some() || self.go_mod_h1.is_some();
        let is_held = self.info.is_some() || self.go_mod.is_some() || self.zip.is_some();
        is_bound && !is_held && self.held_us.is_none()
    }

    /// What has to stay when all else leaves. Nothing where nothing is bound, and nothing where the checksum database vouches: it lists the
    /// zip and the go.mod of a version together, forgets nothing, and is asked again when either comes back.
    pub(super) fn stub(&self) -> Option<Self> {
        let stub = Self {
            go_mod_h1: self.go_mod_h1,
            zip_h1: self.zip_h1,
            class: self.class,
            verified: self.verified,
            first_seen_us: self.first_seen_us,
            ..Self::default()
        };
        (stub.is_stub() && stub.verified == Verified::Unchecked).then_some(stub)
    }
}

/// What is held of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The versions whose zip is held, and of what class they are; in no order that means anything.
    pub versions: Vec<(Version, Class)>,
    /// Some record of the module cannot be read: more may be held.
    pub may_have_more: bool,
}

/// What a commit adds to a version; absent parts stay as they are.
#[derive(Debug, Default)]
pub struct Patch {
    /// The `.info` document; ignored when there is one already.
    pub info: Option<Bytes>,
    /// The go.mod file; must equal the stored one if there is one.
    pub go_mod: Option<Bytes>,
    /// The `h1:` hash of the go.mod that belongs to the zip: binds the version's go.mod before it is held.
    pub go_mod_h1: Option<H1>,
    /// The zip and its `h1:` hash; must equal what is bound if anything is.
    pub zip: Option<(SealedBlob, H1)>,
    /// Who vouches for what is added; never lowers what the record says.
    pub verified: Verified,
    /// Where it came from; kept from the first commit, or from the first after all but a stub had left.
    pub origin: String,
    /// Raises the class; never lowers it.
    pub class: Class,
}

/// An answer of an upstream that may be served again for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedAnswer {
    /// The body.
    pub body: Bytes,
    /// When it was fetched, wall clock, µs since the epoch.
    pub fetched_us: i64,
    /// The HTTP status it stands for.
    pub status: u16,
}

/// One line of the index feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The version.
    pub version: ModuleVersion,
    /// When its zip was first held, µs since the epoch; strictly increasing over the feed.
    pub held_us: i64,
}

/// What [`super::Store::quarantine`] takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The zip alone: it is fetched anew and must have the same `h1:`.
    Zip,
    /// The whole record, bound hashes included: as if never seen.
    Record,
}

/// What was taken out of service, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The version.
    pub version: ModuleVersion,
    /// When, wall clock, µs since the epoch.
    pub at_us: i64,
    /// What was dropped.
    pub scope: Scope,
    /// Why, for people.
    pub reason: String,
    /// SHA-256 and size of the zip as its manifest told them.
    pub zip: Option<([u8; 32], u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_stays_of_what_nobody_else_vouches_for() {
        let (zip_h1, go_mod_h1) = (Some(H1::from_bytes([1; 32])), Some(H1::from_bytes([2; 32])));
        let whole = VersionRecord {
            info: Some(Bytes::from_static(b"{}")),
            go_mod: Some(Bytes::from_static(b"module a\n")),
            go_mod_h1,
            zip_h1,
            origin: "origin".to_owned(),
            first_seen_us: 5,
            held_us: Some(6),
            ..VersionRecord::default()
        };
        let stub = VersionRecord { go_mod_h1, zip_h1, first_seen_us: 5, ..VersionRecord::default() };
        assert_eq!(whole.stub(), Some(stub.clone()));
        assert!(stub.is_stub() && !whole.is_stub());
        assert_eq!(VersionRecord { verified: Verified::ChecksumDatabase, ..whole.clone() }.stub(), None);
        assert_eq!(VersionRecord { go_mod_h1: None, zip_h1: None, ..whole }.stub(), None);
        // One whose zip was evicted, and which has no other file: the index tells of it.
        assert!(!VersionRecord { held_us: Some(6), ..stub }.is_stub());
        assert!(!VersionRecord::default().is_stub());
    }

    #[test]
    fn chunks_cover_a_blob_exactly() {
        let chunk = CHUNK_BYTES as u64;
        for size in [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 7] {
            let total: usize = (0..chunk_count(size)).map(|number| chunk_len(size, number)).sum();
            assert_eq!(total as u64, size);
            assert_eq!(chunk_len(size, chunk_count(size)), 0);
        }
    }
}
