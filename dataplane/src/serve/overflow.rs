//! Zips that pass through memory while the disk is full: how much of them there may be.
//!
//! Invariant: a chunk counts from its arrival until the last answer with its bytes has been sent.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ServeError;
use crate::store::CHUNK_BYTES;

/// What all zips together may take, in chunks: 64 MiB.
const CHUNKS_MAX: usize = 256;

/// The room that there is. Clones share it.
#[derive(Clone)]
pub(crate) struct Overflow {
    room: Arc<Semaphore>,
}

impl Default for Overflow {
    fn default() -> Self {
        Self::new(CHUNKS_MAX)
    }
}

impl Overflow {
    /// Room for `chunks`.
    pub(crate) fn new(chunks: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(chunks)) }
    }

    /// The bytes of a zip that is served from memory because it could not be stored, counted as long as they are held. A
    /// zip of more than one chunk was counted as it came.
    pub(crate) fn count(&self, whole: Option<Bytes>) -> Result<Bytes, ServeError> {
        let whole = whole.ok_or_else(no_room)?;
        if whole.len() > CHUNK_BYTES {
            return Ok(whole);
        }
        Ok(Bytes::from_owner(Counted { _permit: self.permit()?, bytes: whole }))
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, ServeError> {
        Arc::clone(&self.room).try_acquire_owned().map_err(|_| no_room())
    }

    #[cfg(test)]
    pub(crate) fn is_full(&self) -> bool {
        self.room.available_permits() == 0
    }
}

/// Bytes and the permits for them.
struct Counted<B> {
    bytes: B,
    _permit: OwnedSemaphorePermit,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Counted<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// The chunks of one zip.
#[derive(Default)]
pub(crate) struct Kept {
    chunks: Vec<Bytes>,
    permits: Option<OwnedSemaphorePermit>,
}

impl Kept {
    /// Adds a chunk, if there is room for it.
    pub(crate) fn push(&mut self, overflow: &Overflow, chunk: Bytes) -> Result<(), ServeError> {
        let permit = overflow.permit()?;
        self.chunks.push(chunk);
        match &mut self.permits {
            Some(permits) => permits.merge(permit),
            None => self.permits = Some(permit),
        }
        Ok(())
    }

    /// The chunks, in order.
    pub(crate) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// All of it, `bytes` long, in one piece that takes the permits along. Each chunk goes as soon as it is copied.
    pub(crate) fn join(&mut self, bytes: u64) -> Option<Bytes> {
        let permits = self.permits.take()?;
        let mut whole = Vec::with_capacity(bytes as usize);
        for chunk in self.chunks.drain(..) {
            whole.extend_from_slice(&chunk);
        }
        Some(Bytes::from_owner(Counted { bytes: whole, _permit: permits }))
    }
}

/// What is told when the disk is full and memory has no room either.
pub(crate) fn no_room() -> ServeError {
    ServeError::Unavailable {
        what: "this proxy".into(),
        why: "its disk is full, and the zip is too large to pass through memory just now".to_owned(),
        next: "the operator has to make room; what is held already is still served",
    }
}
