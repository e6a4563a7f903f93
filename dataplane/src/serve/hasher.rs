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
use crate::store::CHUNK_BYTES;

/// Pieces that may wait for the hasher. A piece is at most one read buffer of the HTTP client (about 400 KiB), so
/// this bounds what one fetch holds in memory to about 3 MiB.
const PIECES_WAITING_MAX: usize = 8;

/// What hashing in passing yields: of the whole, and of each entry.
pub(crate) type Hashes = ([u8; 32], EntryDigests);

type Hashed = Result<Hashes, ZipError>;

/// Hashes pieces as they come. The first chunk's worth is kept and hashed at the end in one go, so that a small
/// zip costs no thread of its own; a larger one is hashed on a blocking thread beside its download.
pub(crate) struct Hasher {
    held: Vec<Bytes>,
    held_bytes: usize,
    beside: Option<(mpsc::Sender<Bytes>, JoinHandle<Hashed>)>,
}

impl Hasher {
    /// Ready for the first piece.
    pub(crate) fn start() -> Self {
        Self { held: Vec::new(), held_bytes: 0, beside: None }
    }

    /// Whether more pieces are wanted; when not, [`Hasher::finish`] tells why.
    pub(crate) async fn push(&mut self, piece: Bytes) -> bool {
        if let Some((pieces, _)) = &self.beside {
            return pieces.send(piece).await.is_ok();
        }
        self.held_bytes += piece.len();
        self.held.push(piece);
        if self.held_bytes > CHUNK_BYTES {
            let (sender, mut receiver) = mpsc::channel::<Bytes>(PIECES_WAITING_MAX);
            let held = std::mem::take(&mut self.held);
            let task = tokio::task::spawn_blocking(move || {
                let (mut sha256, mut entries) = (Sha256::new(), PreHasher::new());
                let mut held = held.into_iter();
                while let Some(piece) = held.next().or_else(|| receiver.blocking_recv()) {
                    sha256.update(&piece);
                    entries.push(&piece);
                    // A zip that unpacks to more than a module may have is not worth the rest of its bytes.
                    if let Some(error) = entries.over_limit() {
                        return Err(error);
                    }
                }
                Ok((sha256.finalize().into(), entries.finish()))
            });
            self.beside = Some((sender, task));
        }
        true
    }

    /// The hashes, once all pieces were pushed; or why the zip is not worth its remaining bytes.
    pub(crate) async fn finish(self, version: &ModuleVersion) -> Result<Hashes, ServeError> {
        match self.beside {
            None => {
                let mut sha256 = Sha256::new();
                self.held.iter().for_each(|piece| sha256.update(piece));
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
