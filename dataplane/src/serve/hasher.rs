//! Hashing a zip as it arrives: SHA-256 of the whole, and the digests of its entries where they can be had in
//! passing.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use gomod::ModuleVersion;
use gomod::zip::{EntryDigests, PreHasher, ZipError};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::error::ServeError;
use super::ingest::not_a_module_zip;
use super::transit::Place;

/// Chunks that may wait for the hasher; they bound what a fetch holds in memory beyond its open chunk.
const CHUNKS_WAITING_MAX: usize = 2;

/// What hashing in passing yields: of the whole, and of each entry.
pub(crate) type Hashes = ([u8; 32], EntryDigests);

/// A chunk, and its place in memory, which is given back when it is hashed.
type Placed = (Bytes, Option<Place>);

/// Hashes chunks as they are filled. The first is kept and hashed at the end, so that a small zip costs no thread
/// of its own; a larger zip is hashed on blocking threads beside its download.
///
/// Invariants: no thread waits for chunks (where threads are few, storing a chunk would wait for the thread and the
/// thread for the chunk); no chunk that has a place waits for anything but a thread.
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
    pub(crate) async fn push(&mut self, chunk: Bytes, place: Option<Place>) -> bool {
        let beside = match (&mut self.beside, self.first.take()) {
            (Some(beside), _) => beside,
            // It has no place to keep others from.
            (None, None) if place.is_none() => {
                self.first = Some(chunk);
                return true;
            }
            (None, first) => self.beside.insert(Beside::start(first)),
        };
        beside.push((chunk, place)).await
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
    fn take_in(&mut self, chunk: &[u8]) -> Result<(), ZipError> {
        self.sha256.update(chunk);
        self.entries.push(chunk);
        // A zip that unpacks to more than a module may have is not worth the rest of its bytes.
        self.entries.over_limit().map_or(Ok(()), Err)
    }
}

/// Chunks between a fetch and the task that hashes them.
#[derive(Default)]
struct Queue {
    chunks: VecDeque<Placed>,
    /// A task works the queue off, and looks into it once more before it ends.
    worked_off: bool,
}

impl Queue {
    fn next(&mut self) -> Option<Placed> {
        let chunk = self.chunks.pop_front();
        self.worked_off = chunk.is_some();
        chunk
    }
}

/// A zip that is hashed beside its download: one task after the other, each until no chunk waits.
struct Beside {
    queue: Arc<Mutex<Queue>>,
    running: Option<JoinHandle<Result<State, ZipError>>>,
    /// Between two tasks; neither is there once hashing has failed.
    idle: Option<State>,
    failed: Option<ZipError>,
}

impl Beside {
    fn start(first: Option<Bytes>) -> Self {
        let queue =
            Queue { chunks: first.map(|chunk| (chunk, None)).into_iter().collect(), worked_off: false };
        let idle = Some(State { sha256: Sha256::new(), entries: PreHasher::new() });
        Self { queue: Arc::new(Mutex::new(queue)), running: None, idle, failed: None }
    }

    fn run(&mut self, mut state: State) {
        let queue = Arc::clone(&self.queue);
        queue.lock().worked_off = true;
        self.running = Some(tokio::task::spawn_blocking(move || {
            loop {
                // Not in the head of a `while let`: its body would run under the lock.
                let next = queue.lock().next();
                let Some((chunk, _place)) = next else { return Ok(state) };
                if let Err(error) = state.take_in(&chunk) {
                    *queue.lock() = Queue::default();
                    return Err(error);
                }
            }
        }));
    }

    /// Waits for the task that runs.
    async fn landed(&mut self) {
        let Some(task) = self.running.take() else { return };
        match task.await {
            Ok(Ok(state)) => self.idle = Some(state),
            Ok(Err(error)) => self.failed = Some(error),
            Err(_) => {}
        }
    }

    async fn push(&mut self, chunk: Placed) -> bool {
        let goes_on = {
            let mut queue = self.queue.lock();
            queue.chunks.push_back(chunk);
            queue.worked_off && queue.chunks.len() < CHUNKS_WAITING_MAX
        };
        if goes_on {
            return true;
        }
        self.landed().await;
        match self.idle.take() {
            Some(state) if self.queue.lock().chunks.is_empty() => self.idle = Some(state),
            Some(state) => self.run(state),
            None => {
                *self.queue.lock() = Queue::default();
                return false;
            }
        }
        true
    }

    /// The end of it; `None` when a task died.
    async fn finish(mut self) -> Option<Result<State, ZipError>> {
        self.landed().await;
        self.idle.map(Ok).or(self.failed.map(Err))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gomod::{ModulePath, Version};

    use super::*;
    use crate::serve::transit::Transit;

    /// Else all fetches could wait for places that stalled ones have.
    #[tokio::test]
    async fn places_come_free_though_no_more_chunks_come() {
        let transit = Transit::new(1);
        let mut hasher = Hasher::start();
        assert!(hasher.push(Bytes::from_static(b"first, which needs no place"), None).await);
        for number in 0..9_u8 {
            // The one place there is: whoever keeps it after the chunk is hashed stops everything.
            let place = tokio::time::timeout(Duration::from_secs(30), transit.place()).await;
            let place = place.expect("the place comes free");
            assert!(hasher.push(Bytes::from(vec![number; 1000]), place).await);
        }
        assert!(tokio::time::timeout(Duration::from_secs(30), transit.place()).await.is_ok());
    }

    #[tokio::test]
    async fn a_zip_that_unpacks_to_too_much_is_given_up_in_passing() {
        let mut zip = Vec::new();
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(&mut zip));
        writer.start_file("example.com/a@v1.0.0/a", zip::write::SimpleFileOptions::default()).expect("entry");
        let zeros = vec![0; 1 << 20];
        for _ in 0..=gomod::zip::UNPACKED_BYTES_MAX >> 20 {
            std::io::Write::write_all(&mut writer, &zeros).expect("zeros");
        }
        writer.finish().expect("zip");
        let mut hasher = Hasher::start();
        let pushing = async {
            for chunk in zip.chunks(100_000) {
                if !hasher.push(Bytes::copy_from_slice(chunk), None).await {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), pushing).await.expect("no push waits for ever");
        let version = ModuleVersion {
            module: ModulePath::parse("example.com/a").expect("module path"),
            version: Version::parse("v1.0.0").expect("version"),
        };
        let finished = tokio::time::timeout(Duration::from_mins(1), hasher.finish(&version)).await;
        assert!(finished.expect("it ends").is_err());
    }

    #[test]
    fn hashing_keeps_no_thread_while_it_waits_for_chunks() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().max_blocking_threads(1).build().expect("runtime");
        let chunks: Vec<_> = (0..9_u8).map(|number| Bytes::from(vec![number; 100_000])).collect();
        let hashing = async {
            let mut hasher = Hasher::start();
            for chunk in &chunks {
                assert!(hasher.push(chunk.clone(), None).await);
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
