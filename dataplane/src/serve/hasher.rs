//! Hashing a zip as it arrives: SHA-256 of the whole, and the digests of its entries where they can be had in
//! passing.

use bytes::Bytes;
use gomod::ModuleVersion;
use gomod::zip::{EntryDigests, PreHasher, ZipError};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::ServeError;
use super::ingest::not_a_module_zip;

/// Chunks that may wait for the hasher; they bound what a fetch holds in memory beyond its open chunk.
const CHUNKS_WAITING_MAX: usize = 2;

/// What hashing in passing yields: of the whole, and of each entry.
pub(crate) type Hashes = ([u8; 32], EntryDigests);

type Hashed = Result<Hashes, ZipError>;

/// Hashes chunks as they are filled. The first is kept and hashed at the end, so that a small zip costs no thread
/// of its own; a larger zip is hashed on a blocking thread beside its download.
pub(crate) struct Hasher {
    first: Option<Bytes>,
    beside: Option<(mpsc::Sender<Bytes>, JoinHandle<Hashed>)>,
}

impl Hasher {
    /// Ready for the first chunk.
    pub(crate) fn start() -> Self {
        Self { first: None, beside: None }
    }

    /// Whether more chunks are wanted; when not, [`Hasher::finish`] tells why.
    pub(crate) async fn push(&mut self, chunk: Bytes) -> bool {
        if let Some((chunks, _)) = &self.beside {
            return chunks.send(chunk).await.is_ok();
        }
        let Some(first) = self.first.take() else {
            self.first = Some(chunk);
            return true;
        };
        let (sender, mut receiver) = mpsc::channel::<Bytes>(CHUNKS_WAITING_MAX);
        let task = tokio::task::spawn_blocking(move || {
            let (mut sha256, mut entries) = (Sha256::new(), PreHasher::new());
            let mut begun = [first, chunk].into_iter();
            while let Some(chunk) = begun.next().or_else(|| receiver.blocking_recv()) {
                sha256.update(&chunk);
                entries.push(&chunk);
                // A zip that unpacks to more than a module may have is not worth the rest of its bytes.
                if let Some(error) = entries.over_limit() {
                    return Err(error);
                }
            }
            Ok((sha256.finalize().into(), entries.finish()))
        });
        self.beside = Some((sender, task));
        true
    }

    /// The hashes, once all chunks were pushed; or why the zip is not worth its remaining bytes.
    pub(crate) async fn finish(self, version: &ModuleVersion) -> Result<Hashes, ServeError> {
        match self.beside {
            None => {
                let mut sha256 = Sha256::new();
                if let Some(first) = &self.first {
                    sha256.update(first);
                }
                Ok((sha256.finalize().into(), EntryDigests::default()))
            }
            Some((sender, task)) => {
                drop(sender);
                let hashed =
                    task.await.map_err(|_| ServeError::Internal { what: "hash a zip".to_owned() })?;
                hashed.map_err(|error| not_a_module_zip(version, &error))
            }
        }
    }
}
