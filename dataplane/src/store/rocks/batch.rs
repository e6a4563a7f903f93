//! Changes that become visible and durable together.

use bytes::Bytes;
use rocksdb::{AsColumnFamilyRef, WriteBatch};

use super::super::records;

/// One change.
enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Add(Vec<u8>, i64),
    PutChunk([u8; 12], Bytes),
    DeleteChunk([u8; 12]),
    DeleteChunks([u8; 12], [u8; 12]),
}

/// Changes that become visible and durable together.
#[derive(Default)]
pub(in super::super) struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    pub(in super::super) fn put(&mut self, key: Vec<u8>, value: impl Into<Vec<u8>>) {
        self.changes.push(Change::Put(key, value.into()));
    }

    pub(in super::super) fn delete(&mut self, key: Vec<u8>) {
        self.changes.push(Change::Delete(key));
    }

    pub(in super::super) fn add(&mut self, key: impl Into<Vec<u8>>, change: i64) {
        if change != 0 {
            self.changes.push(Change::Add(key.into(), change));
        }
    }

    pub(in super::super) fn put_chunk(&mut self, key: [u8; 12], value: Bytes) {
        self.changes.push(Change::PutChunk(key, value));
    }

    pub(in super::super) fn delete_chunk(&mut self, key: [u8; 12]) {
        self.changes.push(Change::DeleteChunk(key));
    }

    /// Deletes all from `first` up to but without `end`. For rare use: reads have to look at every such range.
    pub(in super::super) fn delete_chunks(&mut self, first: [u8; 12], end: [u8; 12]) {
        self.changes.push(Change::DeleteChunks(first, end));
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn into_writes(
        self,
        meta: &impl AsColumnFamilyRef,
        chunks: &impl AsColumnFamilyRef,
    ) -> WriteBatch {
        let mut writes = WriteBatch::default();
        for change in self.changes {
            match change {
                Change::Put(key, value) => writes.put_cf(meta, key, value),
                Change::Delete(key) => writes.delete_cf(meta, key),
                Change::Add(key, change) => writes.merge_cf(meta, key, records::encode_number(change)),
                Change::PutChunk(key, value) => writes.put_cf(chunks, key, value),
                Change::DeleteChunk(key) => writes.delete_cf(chunks, key),
                Change::DeleteChunks(first, end) => writes.delete_range_cf(chunks, first, end),
            }
        }
        writes
    }
}
