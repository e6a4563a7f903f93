//! Reads chunks of stored zips: from memory at once, else from the store on a blocking thread, one chunk ahead of
//! the client. Every chunk is verified as it is read; one that does not verify is never sent, and its version is
//! set aside so that the next request fetches it anew.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gomod::ModuleVersion;
use tokio::task::JoinHandle;

use super::memory::Memory;
use crate::http::{BodyError, ByteSource};
use crate::store::{BlobId, BlobLease, CHUNK_BYTES, Store, StoreError};

/// Told of a version whose stored bytes do not verify.
pub type OnDamage = Box<dyn Fn(&ModuleVersion, BlobId, &StoreError) + Send + Sync>;

/// See the head of this file.
pub struct BlobReader {
    store: Arc<Store>,
    memory: Arc<Memory>,
    on_damage: OnDamage,
}

impl BlobReader {
    /// Reads from `store` through `memory`.
    pub fn new(store: Arc<Store>, memory: Arc<Memory>, on_damage: OnDamage) -> Self {
        Self { store, memory, on_damage }
    }

    /// One chunk of the zip of `version`.
    pub fn read(self: &Arc<Self>, blob: BlobId, number: u32, version: &Arc<ModuleVersion>) -> ChunkRead {
        if let Some(bytes) = self.memory.chunk(blob, number) {
            return ChunkRead::There(Some(bytes));
        }
        let reader = Arc::clone(self);
        let version = Arc::clone(version);
        ChunkRead::Reading(tokio::task::spawn_blocking(move || match reader.store.chunk(blob, number) {
            Ok(bytes) => {
                reader.memory.put_chunk(blob, number, bytes.clone());
                Ok(bytes)
            }
            Err(error) => {
                (reader.on_damage)(&version, blob, &error);
                Err(error)
            }
        }))
    }

    /// The bytes of `range` of a blob.
    pub fn stream(
        self: &Arc<Self>,
        lease: BlobLease,
        version: Arc<ModuleVersion>,
        range: Range<u64>,
    ) -> Box<dyn ByteSource> {
        Box::new(BlobStream { reader: Arc::clone(self), lease, version, range, current: None, ahead: None })
    }
}

/// A chunk that is there or being read.
pub enum ChunkRead {
    /// In memory; taken once.
    There(Option<Bytes>),
    /// On its way from the store.
    Reading(JoinHandle<Result<Bytes, StoreError>>),
}

impl Future for ChunkRead {
    type Output = Result<Bytes, BodyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.get_mut() {
            ChunkRead::There(bytes) => {
                bytes.take().ok_or_else(|| BodyError::Source("chunk taken twice".to_owned()))
            }
            ChunkRead::Reading(task) => match ready!(Pin::new(task).poll(cx)) {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(error)) => Err(BodyError::Source(error.to_string())),
                Err(error) => Err(BodyError::Source(error.to_string())),
            },
        })
    }
}

struct BlobStream {
    reader: Arc<BlobReader>,
    lease: BlobLease,
    version: Arc<ModuleVersion>,
    range: Range<u64>,
    current: Option<ChunkRead>,
    ahead: Option<ChunkRead>,
}

impl BlobStream {
    fn begin(&self, number: u32) -> ChunkRead {
        self.reader.read(self.lease.blob(), number, &self.version)
    }
}

impl ByteSource for BlobStream {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.range.is_empty() {
            return Poll::Ready(None);
        }
        let number = (self.range.start / CHUNK_BYTES as u64) as u32;
        if self.current.is_none() {
            self.current = Some(self.ahead.take().unwrap_or_else(|| self.begin(number)));
            // Read ahead only where the store is read at all: chunks in memory are there when asked for.
            let last = (self.range.end - 1) / CHUNK_BYTES as u64;
            if u64::from(number) < last && matches!(self.current, Some(ChunkRead::Reading(_))) {
                self.ahead = Some(self.begin(number + 1));
            }
        }
        let Some(current) = &mut self.current else { return Poll::Pending };
        let chunk = ready!(Pin::new(current).poll(cx));
        self.current = None;
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        let begin = (self.range.start % CHUNK_BYTES as u64) as usize;
        let end = chunk.len().min(begin.saturating_add((self.range.end - self.range.start) as usize));
        if begin >= end {
            return Poll::Ready(Some(Err(BodyError::Source("a chunk is too short".to_owned()))));
        }
        self.range.start += (end - begin) as u64;
        Poll::Ready(Some(Ok(chunk.slice(begin..end))))
    }
}
