//! A zip that has arrived, for reading it wherever its chunks went.

use std::io;

use bytes::Bytes;
use gomod::zip::ReadAt;
use parking_lot::Mutex;

use super::sink::Places;
use crate::store::{BlobId, CHUNK_BYTES};

/// A zip that has been received, whether it is in the store or not.
pub(crate) struct Received {
    source: Source,
    bytes: u64,
}

enum Source {
    Memory(Vec<Bytes>),
    /// The last chunk read stays at hand: a zip's directory is read in many small steps.
    Store(Places, BlobId, Mutex<Option<(u32, Bytes)>>),
}

impl Received {
    /// In these chunks.
    pub(crate) fn in_memory(chunks: Vec<Bytes>, bytes: u64) -> Self {
        Self { source: Source::Memory(chunks), bytes }
    }

    /// In the store, as the chunks of a blob.
    pub(crate) fn in_store(places: Places, blob: BlobId, bytes: u64) -> Self {
        Self { source: Source::Store(places, blob, Mutex::default()), bytes }
    }
}

impl Source {
    fn chunk(&self, number: u32) -> io::Result<Bytes> {
        match self {
            Source::Memory(chunks) => {
                chunks.get(number as usize).cloned().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Source::Store(places, blob, last) => {
                if let Some((at, chunk)) = &*last.lock()
                    && *at == number
                {
                    return Ok(chunk.clone());
                }
                let chunk = match places.memory.chunk(*blob, number) {
                    Some(chunk) => chunk,
                    None => places.store.chunk(*blob, number).map_err(io::Error::other)?,
                };
                *last.lock() = Some((number, chunk.clone()));
                Ok(chunk)
            }
        }
    }
}

impl ReadAt for Received {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset >= self.bytes || buf.is_empty() {
            return Ok(0);
        }
        let chunk = self.source.chunk((offset / CHUNK_BYTES as u64) as u32)?;
        chunk.read_at(offset % CHUNK_BYTES as u64, buf)
    }

    fn len(&self) -> u64 {
        self.bytes
    }
}
