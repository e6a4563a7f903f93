//! Blobs: written chunk by chunk, sealed, then named by a commit; read by chunk or at any offset.
//!
//! Owns the way from first chunk to seal and the way back. Invariants: the marker of a blob is in the log no
//! later than its first chunk, so that a crash leaves no chunk unaccounted; nothing names a blob before its
//! commit; a writer or sealed blob that is dropped is doomed, and dropping never touches the disk.
//!
//! A blob of one short chunk (most modules) is kept in memory until its commit writes everything at once.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fail::fail_point;
use gomod::zip::ReadAt;
use parking_lot::Mutex;

use super::Inner;
use super::error::StoreError;
use super::keys;
use super::lease::{BlobLease, Doomed};
use super::records::{self, Transient};
use super::rocks::Batch;
use super::types::{BlobId, CHUNK_BYTES, Durability, ZipManifest, chunk_count, chunk_len};

/// Takes a blob's chunks as they arrive. Dropping it aborts.
#[derive(Debug)]
pub struct BlobWriter {
    draft: Draft,
    size: u64,
    /// A short chunk was taken: no other may follow.
    ended: bool,
}

/// A whole blob that nothing names yet. Dropping it deletes it.
#[derive(Debug)]
pub struct SealedBlob {
    draft: Draft,
    size: u64,
    sha256: [u8; 32],
    /// The chunk last read, for sequential readers.
    last_read: Mutex<Option<(u32, Bytes)>>,
}

/// The stored or held chunks of a blob in the making.
#[derive(Debug)]
struct Draft {
    inner: Arc<Inner>,
    blob: BlobId,
    /// The only chunk, when it is short; not in the database yet.
    held: Option<Bytes>,
    /// Chunks that are in the database, or may be after a failed write; with the first, so is the marker.
    chunks: u32,
    /// From the first of these on: whoever dooms every blob that has a marker does not mean one that is still being written.
    lease: Option<BlobLease>,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.chunks > 0 {
            self.inner.leases.doom(Doomed { blob: self.blob, chunks: Some(self.chunks) });
        }
    }
}

impl BlobWriter {
    pub(super) fn new(inner: Arc<Inner>, blob: BlobId) -> Self {
        Self { draft: Draft { inner, blob, held: None, chunks: 0, lease: None }, size: 0, ended: false }
    }

    /// Names the blob for readers of chunks that are stored already.
    pub fn id(&self) -> BlobId {
        self.draft.blob
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Stores the next chunk: exactly [`CHUNK_BYTES`], or fewer for the last. A full chunk can be read with
    /// [`super::Store::chunk`] once this returns; a short first one only after the commit. [`StoreError::Full`] when the
    /// disk is about to be full.
    pub fn append(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        if self.ended {
            return Err(StoreError::Misuse { rule: "nothing follows a short chunk" });
        }
        if chunk.len() > CHUNK_BYTES {
            return Err(StoreError::Misuse { rule: "a chunk has at most 256 KiB" });
        }
        if chunk.is_empty() {
            return Err(StoreError::Misuse { rule: "a chunk has at least one byte" });
        }
        let len = chunk.len();
        if len < CHUNK_BYTES && self.size == 0 {
            self.draft.held = Some(chunk);
        } else {
            self.store(chunk)?;
        }
        self.ended = len < CHUNK_BYTES;
        self.size += len as u64;
        Ok(())
    }

    fn store(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let number = chunk_count(self.size);
        let draft = &mut self.draft;
        // Before the disk is full in earnest: with nothing left the database could not even remove anything.
        draft.inner.check_room()?;
        let rocks = &draft.inner.rocks;
        let mut batch = Batch::default();
        if number == 0 {
            draft.lease = Some(draft.inner.leases.take(draft.blob));
            batch.put(keys::transient(draft.blob), records::encode_transient(Transient::Writing));
        }
        batch.put_chunk(keys::chunk(draft.blob, number), chunk);
        fail_point!("store::blob::before_chunk");
        draft.chunks = number + 1;
        draft.inner.note_new(rocks.write("zip chunk", batch, Durability::Buffered))?;
        if number == 0 {
            fail_point!("store::blob::after_marker");
        }
        fail_point!("store::blob::after_chunk");
        Ok(())
    }

    /// Ends the blob, whose SHA-256 the caller computed while writing.
    pub fn seal(self, sha256: [u8; 32]) -> SealedBlob {
        fail_point!("store::blob::before_seal");
        let Self { draft, size, .. } = self;
        SealedBlob { draft, size, sha256, last_read: Mutex::new(None) }
    }
}

impl SealedBlob {
    /// Names the blob.
    pub fn id(&self) -> BlobId {
        self.draft.blob
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of all its bytes.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The bytes of chunk `number`, be they stored or held.
    pub fn chunk(&self, number: u32) -> Result<Bytes, StoreError> {
        match &self.draft.held {
            Some(held) if number == 0 => Ok(held.clone()),
            _ => self.draft.inner.chunk(self.draft.blob, number),
        }
    }

    /// Adds to the batch what is missing of the chunks and ends the draft: the commit names the blob now.
    pub(super) fn write_into(&self, batch: &mut Batch) {
        match &self.draft.held {
            Some(held) => batch.put_chunk(keys::chunk(self.draft.blob, 0), held.clone()),
            None => batch.delete(keys::transient(self.draft.blob)),
        }
    }

    /// Says that a commit named the blob, so that dropping the draft deletes nothing.
    pub(super) fn keep(mut self) {
        self.draft.chunks = 0;
    }

    /// Whether it was opened in this store.
    pub(super) fn belongs_to(&self, inner: &Arc<Inner>) -> bool {
        Arc::ptr_eq(&self.draft.inner, inner)
    }
}

impl ReadAt for SealedBlob {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_at(self.size, &self.last_read, offset, buffer, |number| self.chunk(number))
    }

    fn len(&self) -> u64 {
        self.size
    }
}

/// Reads a held zip, whose chunks stay for as long as this lives.
#[derive(Debug)]
pub struct BlobReader {
    inner: Arc<Inner>,
    manifest: ZipManifest,
    lease: BlobLease,
    last_read: Mutex<Option<(u32, Bytes)>>,
}

impl BlobReader {
    pub(super) fn new(inner: Arc<Inner>, manifest: ZipManifest, lease: BlobLease) -> Self {
        Self { inner, manifest, lease, last_read: Mutex::new(None) }
    }

    /// What is read.
    pub fn manifest(&self) -> &ZipManifest {
        &self.manifest
    }

    /// The lease, for readers that go on without this one.
    pub fn lease(&self) -> &BlobLease {
        &self.lease
    }

    /// The bytes of chunk `number`. Since the lease keeps it, absence and a wrong length are damage.
    pub fn chunk(&self, number: u32) -> Result<Bytes, StoreError> {
        let chunk = match self.inner.chunk(self.manifest.blob, number) {
            Err(StoreError::NoChunk { chunk, .. }) if chunk < self.manifest.chunks() => {
                return Err(StoreError::corrupt("zip chunk", format!("chunk {chunk} is missing")));
            }
            other => other?,
        };
        if chunk.len() != self.manifest.chunk_len(number) {
            return Err(StoreError::corrupt(
                "zip chunk",
                format!("chunk {number} has {} bytes", chunk.len()),
            ));
        }
        Ok(chunk)
    }
}

impl ReadAt for BlobReader {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_at(self.manifest.size, &self.last_read, offset, buffer, |number| self.chunk(number))
    }

    fn len(&self) -> u64 {
        self.manifest.size
    }
}

/// Copies from one chunk; the chunk last used is kept, for readers mostly go on where they were.
fn read_at(
    size: u64,
    last_read: &Mutex<Option<(u32, Bytes)>>,
    offset: u64,
    buffer: &mut [u8],
    fetch: impl FnOnce(u32) -> Result<Bytes, StoreError>,
) -> io::Result<usize> {
    if offset >= size || buffer.is_empty() {
        return Ok(0);
    }
    let number = (offset / CHUNK_BYTES as u64) as u32;
    let mut last_read = last_read.lock();
    let chunk = match &*last_read {
        Some((kept, chunk)) if *kept == number => chunk.clone(),
        _ => {
            let chunk = fetch(number).map_err(io::Error::other)?;
            *last_read = Some((number, chunk.clone()));
            chunk
        }
    };
    drop(last_read);
    let start = (offset % CHUNK_BYTES as u64) as usize;
    let len = buffer.len().min(chunk_len(size, number).saturating_sub(start));
    let (Some(from), Some(to)) = (chunk.get(start..start + len), buffer.get_mut(..len)) else {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "chunk is shorter than its blob says"));
    };
    to.copy_from_slice(from);
    Ok(len)
}
