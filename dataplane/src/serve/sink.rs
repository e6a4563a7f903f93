//! Where an arriving zip's chunks go: the store, or a little memory while the disk is full.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use gomod::zip::ReadAt;
use parking_lot::Mutex;

use super::clerk::Clerk;
use super::convert::from_store;
use super::error::ServeError;
use super::memory::Memory;
use super::overflow::{Kept, Overflow, no_room};
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
    /// Keeps what finds no room on the disk.
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
}

enum Place {
    /// Nothing is written before a second chunk comes.
    Undecided,
    Store(BlobWriter),
    Memory(Kept),
}

impl Sink {
    /// Opens a sink for a zip of `length` bytes, if that is known.
    pub(crate) async fn open(places: Places, length: Option<u64>) -> Result<Self, ServeError> {
        let mut sink = Self { places, place: Place::Undecided, first: None, chunks: 0, bytes: 0 };
        if length.is_none_or(|length| length > CHUNK_BYTES as u64) {
            sink.place = sink.decide().await?;
        }
        Ok(sink)
    }

    /// The blob that is being written, when clients can read along.
    pub(crate) fn blob(&self) -> Option<BlobId> {
        match &self.place {
            Place::Store(writer) => Some(writer.id()),
            Place::Undecided | Place::Memory(_) => None,
        }
    }

    /// Adds a chunk: [`CHUNK_BYTES`] long, except for the last.
    pub(crate) async fn append(&mut self, chunk: Bytes) -> Result<(), ServeError> {
        self.bytes += chunk.len() as u64;
        self.chunks += 1;
        match std::mem::replace(&mut self.place, Place::Undecided) {
            Place::Undecided if self.first.is_none() => self.first = Some(chunk),
            Place::Undecided => {
                return Err(ServeError::Internal { what: "store a zip longer than announced".to_owned() });
            }
            Place::Store(mut writer) => {
                let number = self.chunks - 1;
                self.first.get_or_insert_with(|| chunk.clone());
                let memory = Arc::clone(&self.places.memory);
                let written = tokio::task::spawn_blocking(move || {
                    memory.put_chunk(writer.id(), number, chunk.clone());
                    writer.append(chunk).map(|()| writer)
                })
                .await;
                self.place = Place::Store(written.map_err(|_| died())?.map_err(|error| refused(&error))?);
            }
            Place::Memory(mut kept) => {
                kept.push(&self.places.overflow, chunk)?;
                self.place = Place::Memory(kept);
            }
        }
        Ok(())
    }

    /// What has been received, for reading.
    pub(crate) fn received(&self) -> Received {
        let source = match &self.place {
            Place::Undecided => Source::Memory(self.first.iter().cloned().collect()),
            Place::Store(writer) => Source::Store(self.places.clone(), writer.id(), Mutex::default()),
            Place::Memory(kept) => Source::Memory(kept.chunks().to_vec()),
        };
        Received { source, bytes: self.bytes }
    }

    /// The whole zip, if it is one chunk or in memory anyway; then it is taken out.
    pub(crate) fn whole(&mut self) -> Option<Bytes> {
        match &mut self.place {
            Place::Memory(kept) => kept.join(self.bytes),
            _ if self.chunks <= 1 => self.first.clone(),
            Place::Undecided | Place::Store(_) => None,
        }
    }

    /// Ends the blob, on a thread that may wait for the store; `None` when there was no room to store it.
    pub(crate) fn seal(self, store: &Store, sha256: [u8; 32]) -> Result<Option<SealedBlob>, ServeError> {
        let sealed = match self.place {
            Place::Memory(_) => return Ok(None),
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
            Err(error) if error.takes_nothing() => Ok(Place::Memory(Kept::default())),
            Err(error) => Err(refused(&error)),
        }
    }
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
        StoreError::Full { .. } | StoreError::Unwritable { .. } => no_room(),
        StoreError::Corrupt { .. }
        | StoreError::NoChunk { .. }
        | StoreError::Misuse { .. }
        | StoreError::Database { .. }
        | StoreError::Io { .. } => from_store("store a zip", error),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;
    use common::clock::SystemClock;

    fn places(dir: &tempfile::TempDir, permits: usize) -> Places {
        let store =
            Arc::new(Store::open(dir.path(), StoreOptions::default(), Arc::new(SystemClock)).unwrap());
        Places {
            clerk: Clerk::new(Arc::clone(&store)),
            store,
            memory: Arc::new(Memory::new(1 << 20)),
            overflow: Overflow::new(permits),
        }
    }

    #[tokio::test]
    async fn what_is_kept_in_memory_counts_until_the_last_answer_lets_go_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir, 3);
        let mut sink = Sink::open(places.clone(), Some(1)).await.unwrap();
        sink.place = Place::Memory(Kept::default());
        let mut sent = Vec::new();
        for (fill, length) in [(1, CHUNK_BYTES), (2, CHUNK_BYTES), (3, 7)] {
            let chunk = vec![fill; length];
            sent.extend_from_slice(&chunk);
            sink.append(chunk.into()).await.unwrap();
        }
        assert!(places.overflow.is_full());
        let whole = sink.whole();
        assert!(sink.seal(&places.store, [0; 32]).unwrap().is_none());
        assert!(places.overflow.is_full(), "no room for others yet");
        let answer = places.overflow.count(whole).unwrap();
        assert!(answer == sent);
        let part = answer.slice(5..9);
        drop(answer);
        assert!(places.overflow.is_full(), "a part keeps the whole");
        drop(part);
        assert!(!places.overflow.is_full());
    }

    #[tokio::test]
    async fn a_zip_of_one_chunk_that_could_not_be_stored_counts_too() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir, 1);
        let mut sink = Sink::open(places.clone(), Some(4)).await.unwrap();
        sink.append(Bytes::from_static(b"zip!")).await.unwrap();
        let answer = places.overflow.count(sink.whole()).unwrap();
        assert_eq!(answer, &b"zip!"[..]);
        assert!(places.overflow.count(sink.whole()).is_err(), "one more than there is room for");
        drop(answer);
        assert!(places.overflow.count(sink.whole()).is_ok());
    }
}
