//! Zips that pass through memory while nothing can be stored: how much of them there may be.
//!
//! Their room is lent by the cache in memory. Who finds it taken waits for it.
//!
//! Invariants: a zip has room for all of it before its first byte is kept, so that no two wait for each other; its room is
//! taken until the last answer with its bytes has been sent.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ServeError;
use super::memory::{Loan, Memory};
use crate::store::CHUNK_BYTES;

/// The room that there is. Clones share it.
#[derive(Clone)]
pub(crate) struct Overflow {
    room: Arc<Semaphore>,
    chunks_max: u32,
    memory: Arc<Memory>,
}

impl Overflow {
    /// Room for three quarters of what `memory` may hold, which it lends.
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        let chunks = (memory.bytes_max() / 4 * 3 / CHUNK_BYTES as u64).clamp(1, u64::from(u32::MAX >> 3));
        Self { room: Arc::new(Semaphore::new(chunks as usize)), chunks_max: chunks as u32, memory }
    }

    /// Waits for room for a zip of `length` bytes; when that is not known, for all there is.
    pub(crate) async fn reserve(&self, length: Option<u64>) -> Result<Kept, ServeError> {
        let chunks = length.map_or(u64::from(self.chunks_max), |length| length.div_ceil(CHUNK_BYTES as u64));
        let chunks = u32::try_from(chunks.max(1)).unwrap_or(u32::MAX);
        if chunks > self.chunks_max {
            return Err(no_room());
        }
        let permits = Arc::clone(&self.room).acquire_many_owned(chunks).await.map_err(|_| no_room())?;
        let loan = self.memory.lend(u64::from(chunks) * CHUNK_BYTES as u64);
        Ok(Kept { chunks: Vec::new(), room: Room { permits, _loan: loan } })
    }

    /// The bytes of a zip that could not be stored, with room for them, which is waited for.
    pub(crate) async fn hold(&self, whole: Whole) -> Result<Bytes, ServeError> {
        let chunk = match whole {
            Whole::Kept(bytes) => return Ok(bytes),
            Whole::Chunk(chunk) => chunk,
        };
        let bytes = chunk.len() as u64;
        let mut kept = self.reserve(Some(bytes)).await?;
        kept.push(chunk)?;
        Ok(kept.join(bytes))
    }

    #[cfg(test)]
    pub(crate) fn is_full(&self) -> bool {
        self.room.available_permits() == 0
    }
}

struct Room {
    permits: OwnedSemaphorePermit,
    _loan: Loan,
}

/// Bytes and the room for them.
struct Held {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// All bytes of a zip.
#[derive(Clone)]
pub(crate) enum Whole {
    /// Kept in memory, with its room.
    Kept(Bytes),
    /// The only chunk.
    Chunk(Bytes),
}

impl Whole {
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Kept(bytes) | Self::Chunk(bytes) => bytes,
        }
    }
}

/// The chunks of one zip.
pub(crate) struct Kept {
    chunks: Vec<Bytes>,
    room: Room,
}

impl Kept {
    /// Adds a chunk.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<(), ServeError> {
        if self.chunks.len() == self.room.permits.num_permits() {
            return Err(no_room());
        }
        self.chunks.push(chunk);
        Ok(())
    }

    /// The chunks, in order.
    pub(crate) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// All of it, `bytes` long, in one piece that takes the room along. Each chunk goes as soon as it is copied.
    pub(crate) fn join(mut self, bytes: u64) -> Bytes {
        let spare = self.room.permits.num_permits().saturating_sub(self.chunks.len());
        drop(self.room.permits.split(spare));
        let mut whole = Vec::with_capacity(bytes as usize);
        for chunk in self.chunks.drain(..) {
            whole.extend_from_slice(&chunk);
        }
        Bytes::from_owner(Held { bytes: whole, _room: self.room })
    }
}

/// What is told when a zip can neither be stored nor pass through memory.
pub(crate) fn no_room() -> ServeError {
    ServeError::Unavailable {
        what: "this proxy".into(),
        why: "it can store nothing just now, and the zip is too large to pass through memory".to_owned(),
        next: Cow::Borrowed("the operator has to see to its disk; what is held already is still served"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn who_finds_the_room_taken_waits_for_all_that_it_needs() {
        let chunk = CHUNK_BYTES as u64;
        let memory = Arc::new(Memory::new(8 * chunk));
        let overflow = Overflow::new(Arc::clone(&memory));
        let mut first = overflow.reserve(Some(4 * chunk - 1)).await.unwrap();
        assert!(overflow.reserve(Some(3 * chunk)).now_or_never().is_none(), "there are six places");
        let small = overflow.reserve(Some(1)).now_or_never().unwrap().unwrap();
        assert!(overflow.reserve(None).now_or_never().is_none(), "it may need all");
        assert!(overflow.reserve(Some(7 * chunk)).await.is_err(), "there is never so much");
        assert!(memory.bytes_max_now() <= 3 * chunk, "the cache lends what is taken");
        drop(small);
        first.push(Bytes::from_static(b"zip")).unwrap();
        let answer = first.join(3);
        let (other, all) = (overflow.reserve(Some(5 * chunk)).await.unwrap(), overflow.reserve(None));
        drop(other);
        assert!(all.now_or_never().is_none(), "an answer keeps its room");
        drop(answer);
        assert!(overflow.reserve(None).now_or_never().is_some());
        assert_eq!(memory.bytes_max_now(), 8 * chunk);
    }
}
