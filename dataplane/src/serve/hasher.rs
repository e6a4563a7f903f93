//! Hashing a zip as it arrives: SHA-256 of the whole, and the digests of its entries where they can be had in
//! passing.

use bytes::Bytes;
use gomod::ModuleVersion;
use gomod::zip::{EntryDigests, PreHasher, ZipError};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::error::ServeError;
use super::ingest::not_a_module_zip;

/// Chunks that may wait for the hasher; they bound what a fetch holds in memory beyond its open chunk.
const CHUNKS_WAITING_MAX: usize = 2;

/// What hashing in passing yields: of the whole, and of each entry.
pub(crate) type Hashes = ([u8; 32], EntryDigests);

/// Hashes chunks as they are filled. The first is kept and hashed at the end, so that a small zip costs no thread
/// of its own; a larger zip is hashed on blocking threads beside its download.
///
/// Invariant: no thread waits for chunks. Where threads are few, storing a chunk would wait for the thread and the
/// thread for the chunk.
pub(crate) struct Hasher {
    first: Option<Bytes>,
    beside: Option<Beside>,
}

impl Hasher {
    /// Ready for the first chunk.
    pub(crate) fn start() -> Self {
        Self { first: None, beside: None }
    }

    /// Whether more chunks are wanted; when not, [`Hasher::finish`] tells why.
    pub(crate) async fn push(&mut self, chunk: Bytes) -> bool {
        if let Some(beside) = &mut self.beside {
            return beside.push(chunk).await;
        }
        match self.first.take() {
            None => self.first = Some(chunk),
            Some(first) => self.beside = Some(Beside::start(vec![first, chunk])),
        }
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
            Some(beside) => match beside.finish().await {
                Some(Ok(state)) => Ok((state.sha256.finalize().into(), state.entries.finish())),
                Some(Err(error)) => Err(not_a_module_zip(version, &error)),
                None => Err(ServeError::Internal { what: "hash a zip".to_owned() }),
            },
        }
    }
}

/// How far hashing has come.
struct State {
    sha256: Sha256,
    entries: PreHasher,
}

impl State {
    fn take_in(mut self, chunks: Vec<Bytes>) -> Result<Self, ZipError> {
        for chunk in chunks {
            self.sha256.update(&chunk);
            self.entries.push(&chunk);
            // A zip that unpacks to more than a module may have is not worth the rest of its bytes.
            if let Some(error) = self.entries.over_limit() {
                return Err(error);
            }
        }
        Ok(self)
    }
}

/// A zip that is hashed beside its download: one task after the other, each with the chunks that have come.
struct Beside {
    /// `None` once hashing has failed.
    running: Option<JoinHandle<Result<State, ZipError>>>,
    waiting: Vec<Bytes>,
    failed: Option<ZipError>,
}

impl Beside {
    fn start(chunks: Vec<Bytes>) -> Self {
        let mut beside = Self { running: None, waiting: chunks, failed: None };
        beside.run(State { sha256: Sha256::new(), entries: PreHasher::new() });
        beside
    }

    fn run(&mut self, state: State) {
        let chunks = std::mem::take(&mut self.waiting);
        self.running = Some(tokio::task::spawn_blocking(move || state.take_in(chunks)));
    }

    /// Waits for the task that runs.
    async fn landed(&mut self) -> Option<State> {
        match self.running.take()?.await {
            Ok(Ok(state)) => Some(state),
            Ok(Err(error)) => {
                self.failed = Some(error);
                None
            }
            Err(_) => None,
        }
    }

    async fn push(&mut self, chunk: Bytes) -> bool {
        self.waiting.push(chunk);
        let is_busy = self.running.as_ref().is_some_and(|task| !task.is_finished());
        if is_busy && self.waiting.len() < CHUNKS_WAITING_MAX {
            return true;
        }
        let Some(state) = self.landed().await else { return false };
        self.run(state);
        true
    }

    /// The end of it; `None` when a task died.
    async fn finish(mut self) -> Option<Result<State, ZipError>> {
        if !self.waiting.is_empty()
            && let Some(state) = self.landed().await
        {
            self.run(state);
        }
        match self.landed().await {
            Some(state) => Some(Ok(state)),
            None => self.failed.map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gomod::{ModulePath, Version};

    use super::*;

    #[test]
    fn hashing_keeps_no_thread_while_it_waits_for_chunks() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().max_blocking_threads(1).build().expect("runtime");
        let chunks: Vec<_> = (0..9_u8).map(|number| Bytes::from(vec![number; 100_000])).collect();
        let hashing = async {
            let mut hasher = Hasher::start();
            for chunk in &chunks {
                assert!(hasher.push(chunk.clone()).await);
                // As storing the chunk does, which comes before the next one.
                tokio::task::spawn_blocking(|| ()).await.expect("the only thread is free");
            }
            let module = ModulePath::parse("example.com/a").expect("module path");
            let version = Version::parse("v1.0.0").expect("version");
            hasher.finish(&ModuleVersion { module, version }).await.expect("hashes").0
        };
        let hashed = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), hashing).await });
        let expected: [u8; 32] = Sha256::digest(chunks.concat()).into();
        assert_eq!(hashed.expect("no thread is left"), expected);
    }
}
