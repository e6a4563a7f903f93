//! Reads chunks of stored zips: from memory at once, else from the store on a blocking thread, one chunk ahead of
//! the client. Every chunk is verified as it is read; one that does not verify is never sent, and its version is
//! set aside so that the next request fetches it anew.
//!
//! Invariant: beside the chunk that it sends, a client holds at most one more, and all clients together hold no more of
//! those than there are permits for. The chunk that is sent is shared among those who read the same zip while it stays in
//! memory; at worst each of the connections that are permitted holds one of its own (`--max-requests-in-flight` chunks of
//! 256 KiB beside `--memory`).

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gomod::ModuleVersion;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::memory::Memory;
use super::ready::BlobContent;
use crate::http::{BodyError, ByteSource};
use crate::store::{BlobId, CHUNK_BYTES, Store, StoreError};

/// Told of a version whose stored bytes do not verify.
pub type OnDamage = Box<dyn Fn(&ModuleVersion, &StoreError) + Send + Sync>;

/// See the head of this file.
pub struct BlobReader {
    store: Arc<Store>,
    memory: Arc<Memory>,
    on_damage: OnDamage,
    /// Permits for chunks that are read ahead.
    ahead: Arc<Semaphore>,
}

impl BlobReader {
    /// Reads from `store` through `memory`; at most `ahead_max` chunks at a time are read before they are asked for.
    pub fn new(store: Arc<Store>, memory: Arc<Memory>, on_damage: OnDamage, ahead_max: usize) -> Self {
        let ahead = Arc::new(Semaphore::new(ahead_max.min(Semaphore::MAX_PERMITS)));
        Self { store, memory, on_damage, ahead }
    }

    /// One chunk of the zip of `version`, of `zip_bytes`.
    pub fn read(
        self: &Arc<Self>,
        blob: BlobId,
        number: u32,
        version: &Arc<ModuleVersion>,
        zip_bytes: u64,
    ) -> ChunkRead {
        if let Some(bytes) = self.memory.chunk(blob, number) {
            return ChunkRead::There(Some(bytes));
        }
        let reader = Arc::clone(self);
        let (version, span) = (Arc::clone(version), tracing::Span::current());
        ChunkRead::Reading(tokio::task::spawn_blocking(move || match reader.store.chunk(blob, number) {
            Ok(bytes) => {
                reader.memory.put_chunk(blob, number, &bytes, zip_bytes);
                Ok(bytes)
            }
            Err(error) => {
                span.in_scope(|| (reader.on_damage)(&version, &error));
                Err(error)
            }
        }))
    }

    /// The bytes of `range` of a blob.
    pub fn stream(self: &Arc<Self>, blob: &BlobContent, range: Range<u64>) -> Box<dyn ByteSource> {
        let (reader, blob) = (Arc::clone(self), blob.clone());
        Box::new(BlobStream { reader, blob, range, current: None, ahead: None })
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
    blob: BlobContent,
    range: Range<u64>,
    current: Option<ChunkRead>,
    ahead: Option<(ChunkRead, OwnedSemaphorePermit)>,
}

impl BlobStream {
    fn begin(&self, number: u32) -> ChunkRead {
        self.reader.read(self.blob.lease.blob(), number, &self.blob.version, self.blob.size)
    }
}

impl ByteSource for BlobStream {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.range.is_empty() {
            return Poll::Ready(None);
        }
        let number = (self.range.start / CHUNK_BYTES as u64) as u32;
        if self.current.is_none() {
            let ahead = self.ahead.take().map(|(read, _)| read);
            self.current = Some(ahead.unwrap_or_else(|| self.begin(number)));
            // Read ahead only where the store is read at all: chunks in memory are there when asked for.
            let last = (self.range.end - 1) / CHUNK_BYTES as u64;
            if u64::from(number) < last
                && matches!(self.current, Some(ChunkRead::Reading(_)))
                && let Ok(permit) = Arc::clone(&self.reader.ahead).try_acquire_owned()
            {
                self.ahead = Some((self.begin(number + 1), permit));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;
    use common::clock::SystemClock;
    use gomod::{ModulePath, Version};

    const CHUNKS: u8 = 4;

    async fn read(stream: &mut BlobStream) -> Vec<u8> {
        std::future::poll_fn(|cx| stream.poll_next(cx)).await.unwrap().unwrap().to_vec()
    }

    #[tokio::test]
    async fn chunks_are_read_ahead_only_with_a_permit_and_the_content_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Arc::new(Store::open(dir.path(), StoreOptions::default(), Arc::new(SystemClock)).unwrap());
        let mut writer = store.begin_blob().unwrap();
        for number in 0..CHUNKS {
            writer.append(vec![number; CHUNK_BYTES].into()).unwrap();
        }
        let (version, module) =
            (Version::parse("v1.0.0").unwrap(), ModulePath::parse("a.example/m").unwrap());
        let version = Arc::new(ModuleVersion::new(module, version).unwrap());
        // No room in memory, so that everything is read from the store.
        let memory = Arc::new(Memory::new(1));
        let reader = Arc::new(BlobReader::new(Arc::clone(&store), memory, Box::new(|_, _| {}), 1));
        let size = u64::from(CHUNKS) * CHUNK_BYTES as u64;
        let stream = || BlobStream {
            reader: Arc::clone(&reader),
            blob: BlobContent { lease: store.lease(writer.id()), version: Arc::clone(&version), size },
            range: 0..size,
            current: None,
            ahead: None,
        };
        let (mut first, mut second) = (stream(), stream());
        for number in 0..CHUNKS {
            let expected = vec![number; CHUNK_BYTES];
            assert!(read(&mut first).await == expected);
            assert!(read(&mut second).await == expected);
            assert_eq!(first.ahead.is_some(), number + 1 < CHUNKS);
            assert!(second.ahead.is_none() || number + 1 == CHUNKS, "one permit, and the first has it");
        }
        assert_eq!(reader.ahead.available_permits(), 1);
        let mut third = stream();
        read(&mut third).await;
        assert!(third.ahead.is_some());
        drop(third);
        assert_eq!(reader.ahead.available_permits(), 1, "a client that leaves gives its permit back");
    }
}
