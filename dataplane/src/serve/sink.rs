//! Where an arriving zip's chunks go: the store, or a little memory while nothing can be stored.

use std::sync::Arc;

use bytes::Bytes;

use super::clerk::Clerk;
use super::convert::from_store;
use super::error::ServeError;
use super::memory::Memory;
use super::overflow::{Kept, Overflow, Whole, no_room};
use super::received::Received;
use crate::store::{BlobId, BlobWriter, CHUNK_BYTES, SealedBlob, Store, StoreError};

/// The layers a sink writes to.
#[derive(Clone)]
pub(crate) struct Places {
    /// Where chunks belong.
    pub store: Arc<Store>,
    /// Does what is short there.
    pub clerk: Arc<Clerk>,
    /// Keeps them for the clients that read along.
    pub memory: Arc<Memory>,
    /// Keeps what the store does not take.
    pub overflow: Overflow,
}

/// See the head of this file.
pub(crate) struct Sink {
    places: Places,
    place: Place,
    /// The first chunk; all there is of most zips, and then written in one go with the rest of the commit.
    first: Option<Bytes>,
    chunks: u32,
    bytes: u64,
    /// What was announced.
    length: Option<u64>,
}

enum Place {
    /// Nothing is written before a second chunk comes.
    Undecided,
    Store(BlobWriter),
    /// The store took all but this last chunk.
    Refused(BlobWriter, Bytes),
    Memory(Kept),
    /// All of it is in one piece in memory.
    Joined(Bytes),
    /// Was in memory, and has been handed out whole.
    HandedOut,
}

impl Sink {
    /// Opens a sink for a zip of `length` bytes, if that is known.
    pub(crate) async fn open(places: Places, length: Option<u64>) -> Result<Self, ServeError> {
        let mut sink = Self { places, place: Place::Undecided, first: None, chunks: 0, bytes: 0, length };
        if length.is_none_or(|length| length > CHUNK_BYTES as u64) {
            sink.place = sink.decide().await?;
        }
        Ok(sink)
    }

    /// The blob that is being written, when clients can read along.
    pub(crate) fn blob(&self) -> Option<BlobId> {
        match &self.place {
            Place::Store(writer) => Some(writer.id()),
            Place::Undecided
            | Place::Refused(..)
            | Place::Memory(_)
            | Place::Joined(_)
            | Place::HandedOut => None,
        }
    }

    /// Whether it has taken room in memory that others may wait for.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    /// Adds a chunk: [`CHUNK_BYTES`] long, except for the last. [`Self::settle`] has to follow.
    pub(crate) async fn append(&mut self, chunk: Bytes) -> Result<(), ServeError> {
        self.bytes += chunk.len() as u64;
        self.chunks += 1;
        match std::mem::replace(&mut self.place, Place::Undecided) {
            Place::Undecided if self.first.is_none() => self.first = Some(chunk),
            Place::Undecided | Place::Refused(..) | Place::Joined(_) | Place::HandedOut => {
                return Err(ServeError::Internal { what: "store a zip longer than announced".to_owned() });
            }
            Place::Store(mut writer) => {
                let number = self.chunks - 1;
                // Of more than one chunk none is at hand: they are in the store.
                self.first = (number == 0).then(|| chunk.clone());
                let memory = Arc::clone(&self.places.memory);
                let zip_bytes = self.length.unwrap_or(self.bytes);
                let written = tokio::task::spawn_blocking(move || {
                    memory.put_chunk(writer.id(), number, &chunk, zip_bytes);
                    match writer.append(chunk.clone()) {
                        Ok(()) => Ok(Place::Store(writer)),
                        Err(error) if error.takes_nothing() => Ok(Place::Refused(writer, chunk)),
                        Err(error) => Err(error),
                    }
                })
                .await;
                self.place = written.map_err(|_| died())?.map_err(|error| refused(&error))?;
            }
            Place::Memory(mut kept) => {
                kept.push(chunk)?;
                self.place = Place::Memory(kept);
            }
        }
        Ok(())
    }

    /// Where the store did not take the last chunk, goes on in memory, waiting for room there: not while holding what
    /// others wait for. Tells the last chunk if it is in memory and not in the store, for those who read along.
    pub(crate) async fn settle(&mut self) -> Result<Option<Bytes>, ServeError> {
        self.place = match std::mem::replace(&mut self.place, Place::HandedOut) {
            Place::Refused(writer, last) => {
                let kept = self.places.overflow.reserve(self.length).await?;
                let (store, chunks) = (Arc::clone(&self.places.store), self.chunks);
                let moved =
                    tokio::task::spawn_blocking(move || move_over(&store, &writer, chunks, last, kept));
                Place::Memory(moved.await.map_err(|_| died())??)
            }
            settled @ (Place::Undecided
            | Place::Store(_)
            | Place::Memory(_)
            | Place::Joined(_)
            | Place::HandedOut) => settled,
        };
        match &self.place {
            Place::Memory(kept) => Ok(kept.chunks().last().cloned()),
            Place::Undecided | Place::Store(_) | Place::Refused(..) | Place::Joined(_) | Place::HandedOut => {
                Ok(None)
            }
        }
    }

    /// Ends a zip that is in memory: all of it in one piece, which has the room.
    pub(crate) fn join(&mut self) -> Option<Bytes> {
        self.place = match std::mem::replace(&mut self.place, Place::HandedOut) {
            Place::Memory(kept) => Place::Joined(kept.join(self.bytes)),
            place @ (Place::Undecided
            | Place::Store(_)
            | Place::Refused(..)
            | Place::Joined(_)
            | Place::HandedOut) => place,
        };
        match &self.place {
            Place::Joined(whole) => Some(whole.clone()),
            Place::Undecided | Place::Store(_) | Place::Refused(..) | Place::Memory(_) | Place::HandedOut => {
                None
            }
        }
    }

    /// Bytes received.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What has been received, for reading.
    pub(crate) fn received(&self) -> Received {
        let bytes = self.bytes;
        match &self.place {
            Place::Undecided => Received::in_memory(self.first.iter().cloned().collect(), bytes),
            Place::Store(writer) | Place::Refused(writer, _) => {
                Received::in_store(self.places.clone(), writer.id(), bytes)
            }
            Place::Memory(kept) => Received::in_memory(kept.chunks().to_vec(), bytes),
            Place::Joined(_) | Place::HandedOut => Received::in_memory(Vec::new(), bytes),
        }
    }

    /// The whole zip, if it is one chunk or in memory anyway; then it is taken out.
    pub(crate) fn whole(&mut self) -> Option<Whole> {
        match self.join() {
            Some(whole) => {
                self.place = Place::HandedOut;
                Some(Whole::Kept(whole))
            }
            None => self.first.clone().filter(|_| self.chunks <= 1).map(Whole::Chunk),
        }
    }

    /// Ends the blob, on a thread that may wait for the store; `None` when there was no room to store it.
    pub(crate) fn seal(self, store: &Store, sha256: [u8; 32]) -> Result<Option<SealedBlob>, ServeError> {
        let sealed = match self.place {
            Place::Memory(_) | Place::Refused(..) | Place::Joined(_) | Place::HandedOut => return Ok(None),
            Place::Store(writer) => Ok(writer.seal(sha256)),
            Place::Undecided => write_small(store, self.first, sha256),
        };
        match sealed {
            Ok(sealed) => Ok(Some(sealed)),
            Err(error) if error.takes_nothing() && self.chunks <= 1 => Ok(None),
            Err(error) => Err(refused(&error)),
        }
    }

    async fn decide(&self) -> Result<Place, ServeError> {
        match self.places.clerk.run(Store::begin_blob).await.ok_or_else(died)? {
            Ok(writer) => Ok(Place::Store(writer)),
            Err(error) if error.takes_nothing() => {
                Ok(Place::Memory(self.places.overflow.reserve(self.length).await?))
            }
            Err(error) => Err(refused(&error)),
        }
    }
}

/// Takes back what the store has of a zip, whose blob is then given up.
fn move_over(
    store: &Store,
    writer: &BlobWriter,
    chunks: u32,
    last: Bytes,
    mut kept: Kept,
) -> Result<Kept, ServeError> {
    for number in 0..chunks - 1 {
        let chunk =
            store.chunk(writer.id(), number).map_err(|error| from_store("read a zip back", &error))?;
        kept.push(chunk)?;
    }
    kept.push(last)?;
    Ok(kept)
}

fn write_small(store: &Store, only: Option<Bytes>, sha256: [u8; 32]) -> Result<SealedBlob, StoreError> {
    let mut writer = store.begin_blob()?;
    if let Some(only) = only {
        writer.append(only)?;
    }
    Ok(writer.seal(sha256))
}

fn died() -> ServeError {
    ServeError::Internal { what: "store a zip".to_owned() }
}

fn refused(error: &StoreError) -> ServeError {
    match error {
        StoreError::Full { .. } | StoreError::Unwritable { .. } | StoreError::Closed => no_room(),
        StoreError::Corrupt { .. }
        | StoreError::NoChunk { .. }
        | StoreError::Misuse { .. }
        | StoreError::Database { .. } => from_store("store a zip", error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::spool::Spool;
    use super::*;
    use crate::store::StoreOptions;
    use common::clock::SystemClock;
    use gomod::{ModulePath, ModuleVersion, Version};

    fn places(dir: &tempfile::TempDir, chunks: u64) -> Places {
        let store =
            Arc::new(Store::open(dir.path(), StoreOptions::default(), Arc::new(SystemClock)).unwrap());
        // Of which three quarters are lent.
        let memory = Arc::new(Memory::new(chunks * CHUNK_BYTES as u64 / 3 * 4 + 4));
        let overflow = Overflow::new(Arc::clone(&memory));
        Places { clerk: Clerk::new(Arc::clone(&store)), store, memory, overflow }
    }

    #[tokio::test]
    async fn what_is_kept_in_memory_counts_until_the_last_answer_lets_go_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir, 3);
        let mut sink = Sink::open(places.clone(), Some(1)).await.unwrap();
        sink.place = Place::Memory(places.overflow.reserve(None).await.unwrap());
        let mut sent = Vec::new();
        for (fill, length) in [(1, CHUNK_BYTES), (2, CHUNK_BYTES), (3, 7)] {
            let chunk = vec![fill; length];
            sent.extend_from_slice(&chunk);
            sink.append(chunk.clone().into()).await.unwrap();
            assert_eq!(sink.settle().await.unwrap(), Some(chunk.into()));
        }
        assert!(places.overflow.is_full());
        let answer = sink.whole().unwrap().into_bytes();
        assert!(sink.seal(&places.store, [0; 32]).unwrap().is_none());
        assert!(places.overflow.is_full(), "no room for others yet");
        assert!(answer == sent);
        let part = answer.slice(5..9);
        drop(answer);
        assert!(places.overflow.is_full(), "a part keeps the whole");
        drop(part);
        assert!(!places.overflow.is_full());
    }

    #[tokio::test]
    async fn whoever_reads_along_keeps_the_room_of_what_is_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir, 2);
        let version =
            ModuleVersion::new(ModulePath::parse("a.example/m").unwrap(), Version::parse("v1.0.0").unwrap());
        let version = Arc::new(version.unwrap());
        for is_good in [true, false] {
            let mut sink = Sink::open(places.clone(), Some(1)).await.unwrap();
            let lease = places.store.lease(places.store.begin_blob().unwrap().id());
            let spool = Spool::new(Arc::clone(&version), lease, 2 * CHUNK_BYTES as u64);
            sink.place = Place::Memory(places.overflow.reserve(None).await.unwrap());
            for fill in [1, 2] {
                sink.append(vec![fill; CHUNK_BYTES].into()).await.unwrap();
                spool.chunk_is_there(sink.settle().await.unwrap());
            }
            if is_good {
                spool.is_joined(&sink.join().unwrap());
                drop(sink.whole().unwrap());
                spool.end(Ok(()));
            } else {
                spool.end(Err(no_room()));
            }
            drop(sink);
            assert_eq!(places.overflow.is_full(), is_good, "nobody reads what has failed");
            drop(spool);
            assert!(!places.overflow.is_full());
        }
    }

    #[tokio::test]
    async fn a_zip_that_the_store_takes_no_more_of_goes_on_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir, 3);
        let chunks: Vec<Bytes> =
            (0..3_u8).map(|fill| vec![fill; CHUNK_BYTES - usize::from(fill / 2)].into()).collect();
        let length = chunks.iter().map(Bytes::len).sum::<usize>() as u64;
        let mut sink = Sink::open(places.clone(), Some(length)).await.unwrap();
        let lease = places.store.lease(sink.blob().unwrap());
        sink.append(chunks[0].clone()).await.unwrap();
        assert!(sink.settle().await.unwrap().is_none() && sink.whole().is_some());
        // What the store would do with the second.
        let Place::Store(writer) = std::mem::replace(&mut sink.place, Place::HandedOut) else {
            panic!("no writer")
        };
        sink.place = Place::Refused(writer, chunks[1].clone());
        (sink.chunks, sink.bytes) = (2, 2 * CHUNK_BYTES as u64);
        assert_eq!(sink.settle().await.unwrap().unwrap(), chunks[1]);
        assert!(sink.blob().is_none());
        sink.append(chunks[2].clone()).await.unwrap();
        assert_eq!(sink.settle().await.unwrap().unwrap(), chunks[2]);
        // Who reads along still has what was stored.
        assert_eq!(places.store.chunk(lease.blob(), 0).unwrap(), chunks[0]);
        assert!(sink.whole().unwrap().into_bytes() == chunks.concat());
    }
}
