//! Owns what is kept of a checksum database and under which keys.
//!
//! Invariant: everything kept was verified before it was put here, so what is read back is not verified again.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

/// Where verified records, tiles and the tree head are kept. Calls block.
pub trait SumStore: Send + Sync + std::fmt::Debug {
    /// The value of `key`.
    fn get(&self, key: &str) -> Result<Option<Bytes>, SumStoreError>;
    /// As [`Self::get`] for what can be fetched and proven again: what cannot be read counts as not there, and what comes in its place is put
    /// over it.
    fn get_replaceable(&self, key: &str) -> Option<Bytes> {
        self.get(key).unwrap_or_else(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                key,
                error,
                "failed to read what is held of the checksum database; it is fetched again"
            );
            None
        })
    }
    /// Puts all pairs, or none of them.
    fn put(&self, pairs: Vec<(String, Bytes)>) -> Result<(), SumStoreError>;

    /// As [`Self::put`] for what can be fetched and proven again: not kept, and no error, while there is no place for it.
    fn put_where_there_is_place(&self, pairs: Vec<(String, Bytes)>) -> Result<(), SumStoreError> {
        self.put(pairs)
    }
}

/// The store below could not do it.
#[derive(Debug, thiserror::Error)]
#[error("use the store of the checksum database")]
pub struct SumStoreError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Keeps everything in memory: for tests, and for a server without a disk.
#[derive(Debug, Default)]
pub struct MemorySumStore(Mutex<BTreeMap<String, Bytes>>);

impl SumStore for MemorySumStore {
    fn get(&self, key: &str) -> Result<Option<Bytes>, SumStoreError> {
        Ok(self.0.lock().get(key).cloned())
    }

    fn put(&self, pairs: Vec<(String, Bytes)>) -> Result<(), SumStoreError> {
        self.0.lock().extend(pairs);
        Ok(())
    }
}

/// The keys of one database.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    name: String,
}

impl Keys {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// The latest signed tree head.
    pub(super) fn head(&self) -> String {
        format!("{}/head", self.name)
    }

    /// A record, without tree head; `path` is `lookup/…` as asked.
    pub(super) fn lookup(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    /// The widest part known of a tile; `tile` is the complete one.
    pub(super) fn tile(&self, tile: &gomod::sumdb::Tile) -> String {
        format!("{}/{}", self.name, tile.completed())
    }

    /// Not empty while a fork is known and no operator has cleared it.
    pub(super) fn alarm(&self) -> String {
        format!("{}/fork/alarm", self.name)
    }

    /// The tree head of ours that a fork contradicts. Stays after the alarm is cleared.
    pub(super) fn fork_ours(&self) -> String {
        format!("{}/fork/ours", self.name)
    }

    /// The signed tree head that contradicts ours. Stays after the alarm is cleared.
    pub(super) fn fork_theirs(&self) -> String {
        format!("{}/fork/theirs", self.name)
    }
}
