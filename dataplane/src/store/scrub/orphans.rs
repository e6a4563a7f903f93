//! What takes up space to no purpose: chunks and manifests that nothing accounts for.

use bytes::Bytes;

use super::super::commit::decode_blob;
use super::super::error::StoreError;
use super::super::types::BlobId;
use super::super::{Inner, Store, go_on, keys};

/// Manifests read at once.
const PAGE_MANIFESTS: usize = 256;
/// Chunk keys read at once.
const PAGE_CHUNKS: usize = 1024;

/// What is stored to no purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Chunks that neither a version nor a marker accounts for.
    pub chunks: u64,
    /// Blob manifests that no version refers to.
    pub manifests: u64,
}

impl Store {
    /// Looks for what takes up space to no purpose; there should be nothing. Reads every chunk.
    pub fn orphans(&self) -> Result<Orphans, StoreError> {
        let (chunks, manifests) = (self.inner.orphan_chunks()?, self.inner.orphan_manifests()?);
        Ok(Orphans { chunks, manifests })
    }
}

impl Inner {
    /// Counts chunks whose blob has neither a back-reference nor a marker.
    fn orphan_chunks(&self) -> Result<u64, StoreError> {
        let mut orphans = 0;
        let mut start = Vec::new();
        loop {
            let mut chunks = Vec::with_capacity(PAGE_CHUNKS);
            let mut strange = 0;
            let mut last = Vec::new();
            self.rocks.scan_chunks(&start, |key| {
                last.clear();
                last.extend_from_slice(key);
                match keys::parse_chunk(key) {
                    Some(chunk) => chunks.push(chunk),
                    None => strange += 1,
                }
                go_on(chunks.len() < PAGE_CHUNKS)
            })?;
            orphans += strange;
            let full = chunks.len() == PAGE_CHUNKS;
            // The next page begins behind the last key.
            last.push(0);
            start = last;
            for page in chunks.chunk_by(|a, b| a.0 == b.0) {
                if let Some(&(blob, number)) = page.first()
                    && !self.accounted(blob, number)?
                {
                    orphans += page.len() as u64;
                }
            }
            if !full {
                return Ok(orphans);
            }
        }
    }

    fn accounted(&self, blob: BlobId, number: u32) -> Result<bool, StoreError> {
        let marker = self.rocks.get("blob marker", &keys::transient(blob))?;
        if marker.is_some() || !self.references(blob)?.is_empty() {
            return Ok(true);
        }
        // The scan saw the past: the blob may have been deleted since.
        Ok(self.rocks.chunk(keys::chunk(blob, number))?.is_none())
    }

    /// Counts blob manifests that no version refers to.
    fn orphan_manifests(&self) -> Result<u64, StoreError> {
        let mut orphans = 0;
        let mut start = keys::blobs();
        loop {
            let mut page = Vec::with_capacity(PAGE_MANIFESTS);
            self.rocks.scan("blob manifest", &keys::blobs(), &start, |key, value| {
                page.push((key.to_vec(), Bytes::copy_from_slice(value)));
                go_on(page.len() < PAGE_MANIFESTS)
            })?;
            let Some((last, _)) = page.last() else { return Ok(orphans) };
            start.clone_from(last);
            start.push(0);
            for (key, value) in page {
                let blob = decode_blob(&value)?.blob;
                // One that is gone by now was removed since it was scanned.
                let orphan =
                    self.references(blob)?.is_empty() && self.rocks.get("blob manifest", &key)?.is_some();
                orphans += u64::from(orphan);
            }
        }
    }
}
