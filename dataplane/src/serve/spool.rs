//! A zip that is arriving: written to the store by its fetch and read by any number of clients at once, its tail
//! held back until the whole has been verified.
//!
//! Memory is bounded by the chunk that is open, not by the clients: finished chunks are in the store, and in
//! the memory cache as long as that sees fit. Only where the store stops taking chunks in the middle of a zip, its rest is
//! kept here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use gomod::ModuleVersion;
use parking_lot::Mutex;

use super::blobs::{BlobReader, ChunkRead};
use super::error::ServeError;
use super::proof::Proof;
use crate::http::{BodyError, ByteSource};
use crate::store::{BlobLease, CHUNK_BYTES};

/// Bytes at the end that no client gets before the zip is verified. They hold the end-of-directory record, without
/// which no reader can open a zip.
pub(crate) const TAIL_BYTES_HELD: u64 = CHUNK_BYTES as u64;

/// See the head of this file.
pub struct Spool {
    version: Arc<ModuleVersion>,
    /// Keeps the chunks for those who read along, whatever becomes of the blob.
    lease: BlobLease,
    length: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Chunks that are in the store, whole.
    chunks: u32,
    /// The pieces of the first chunk while it is being filled.
    open: Vec<Bytes>,
    open_bytes: u64,
    /// Chunks that the store did not take, which are in memory, and the number of the first of them.
    kept: Option<(u32, Vec<Bytes>)>,
    proof: Option<Proof>,
    end: Option<Result<(), ServeError>>,
    waiting: Vec<Waker>,
    /// Counts the times that all who waited were woken.
    round: u64,
}

/// Where a reader's waker is, in one round of waiting.
#[derive(Clone, Copy)]
struct Seat {
    round: u64,
    index: usize,
}

impl State {
    fn received(&self) -> u64 {
        u64::from(self.chunks) * CHUNK_BYTES as u64 + self.open_bytes
    }

    fn keep(&mut self, kept: Option<Bytes>) {
        if let Some(chunk) = kept {
            self.kept.get_or_insert_with(|| (self.chunks, Vec::new())).1.push(chunk);
        }
    }

    fn kept_chunk(&self, number: u32) -> Option<&Bytes> {
        let (first, chunks) = self.kept.as_ref()?;
        chunks.get(number.checked_sub(*first)? as usize)
    }

    /// One waker for each reader, however often it asks and however many there are.
    fn wait(&mut self, seat: &mut Option<Seat>, cx: &Context<'_>) {
        let taken = seat.filter(|seat| seat.round == self.round);
        if let Some(waker) = taken.and_then(|seat| self.waiting.get_mut(seat.index)) {
            waker.clone_from(cx.waker());
        } else {
            *seat = Some(Seat { round: self.round, index: self.waiting.len() });
            self.waiting.push(cx.waker().clone());
        }
    }
}

impl Spool {
    /// A spool for the zip of `version`, of `length` bytes, that is being written as the blob of `lease`.
    pub fn new(version: Arc<ModuleVersion>, lease: BlobLease, length: u64) -> Self {
        Self { version, lease, length, state: Mutex::default() }
    }

    /// Bytes of the whole zip.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that have arrived, and of the whole.
    pub fn progress(&self) -> (u64, u64) {
        (self.state.lock().received(), self.length)
    }

    /// Adds a piece to the open chunk.
    ///
    /// Only the first chunk's pieces are handed out: a first byte should leave at once, but thousands of small
    /// writes per client would cost more than they gain. Whoever waits for a first byte gets it before this
    /// returns and a processor is taken up with hashing.
    pub async fn push(&self, piece: Bytes) {
        if self.add(piece) {
            tokio::task::yield_now().await;
        }
    }

    /// Tells whether it is the first of all.
    fn add(&self, piece: Bytes) -> bool {
        let mut state = self.state.lock();
        let is_first = state.received() == 0;
        state.open_bytes += piece.len() as u64;
        if state.chunks == 0 {
            state.open.push(piece);
            wake(&mut state);
        }
        is_first
    }

    /// The open chunk is in the store, or `kept` in memory; the next one begins.
    pub fn chunk_is_there(&self, kept: Option<Bytes>) {
        let mut state = self.state.lock();
        state.keep(kept);
        state.chunks += 1;
        state.open.clear();
        state.open_bytes = 0;
        wake(&mut state);
    }

    /// The last chunk, which nobody gets before the end, is in the store, or `kept` in memory.
    pub fn last_chunk(&self, kept: Option<Bytes>) {
        self.state.lock().keep(kept);
    }

    /// All of the zip, in one piece that has the room for it: what the store did not take is read from there.
    pub fn is_joined(&self, whole: &Bytes) {
        let chunks = (0..whole.len()).step_by(CHUNK_BYTES);
        let chunks = chunks.map(|from| whole.slice(from..whole.len().min(from + CHUNK_BYTES))).collect();
        self.state.lock().kept = Some((0, chunks));
    }

    /// What the zip was found to be, before its end.
    pub fn prove(&self, proof: Proof) {
        self.state.lock().proof = Some(proof);
    }

    /// Why the zip never will be whole, once that is known.
    pub fn failure(&self) -> Option<ServeError> {
        self.state.lock().end.as_ref()?.as_ref().err().cloned()
    }

    /// What the zip is, once it has ended well.
    pub fn proof(&self) -> Option<Proof> {
        let state = self.state.lock();
        state.proof.clone().filter(|_| matches!(state.end, Some(Ok(()))))
    }

    /// The zip is verified and its record visible, or it never will be.
    pub fn end(&self, result: Result<(), ServeError>) {
        let mut state = self.state.lock();
        if result.is_err() {
            // Nobody reads on, and the room for it is free.
            state.kept = None;
        }
        state.end = Some(result);
        wake(&mut state);
    }

    /// Whether any byte may have left for a client.
    pub fn has_released(&self) -> bool {
        let state = self.state.lock();
        state.received().min(self.length.saturating_sub(TAIL_BYTES_HELD)) > 0
    }

    /// What there is at `offset`; if nothing yet, the reader waits in `seat`, which it keeps for its next call.
    fn at(&self, offset: u64, seat: &mut Option<Seat>, cx: &Context<'_>) -> At {
        let mut state = self.state.lock();
        let released = match &state.end {
            Some(Err(error)) => return At::Failed(error.to_string()),
            Some(Ok(())) => self.length,
            None => state.received().min(self.length.saturating_sub(TAIL_BYTES_HELD)),
        };
        let number = (offset / CHUNK_BYTES as u64) as u32;
        let within = offset % CHUNK_BYTES as u64;
        if offset < released {
            if let Some(chunk) = state.kept_chunk(number)
                && within < chunk.len() as u64
            {
                return At::Piece(clip(chunk.slice(within as usize..), released - offset));
            }
            if number < state.chunks || state.end.is_some() {
                return At::Chunk { number, skip: within as usize, take_max: released - offset };
            }
            if state.chunks == 0
                && let Some(piece) = piece_at(&state.open, within, released - offset)
            {
                return At::Piece(piece);
            }
        }
        state.wait(seat, cx);
        At::NotYet
    }
}

enum At {
    Chunk { number: u32, skip: usize, take_max: u64 },
    Piece(Bytes),
    NotYet,
    Failed(String),
}

fn wake(state: &mut State) {
    state.round += 1;
    for waker in state.waiting.drain(..) {
        waker.wake();
    }
}

/// The rest of the piece that covers `offset`, at most `take_max` bytes of it.
fn piece_at(pieces: &[Bytes], offset: u64, take_max: u64) -> Option<Bytes> {
    let mut begin = 0;
    for piece in pieces {
        let end = begin + piece.len() as u64;
        if offset < end {
            let rest = piece.slice((offset - begin) as usize..);
            return Some(clip(rest, take_max));
        }
        begin = end;
    }
    None
}

fn clip(mut bytes: Bytes, take_max: u64) -> Bytes {
    bytes.truncate(usize::try_from(take_max).unwrap_or(usize::MAX));
    bytes
}

/// One client's view of a spool.
pub struct SpoolReader {
    spool: Arc<Spool>,
    blobs: Arc<BlobReader>,
    offset: u64,
    seat: Option<Seat>,
    reading: Option<(ChunkRead, usize, u64)>,
}

impl SpoolReader {
    /// Reads `spool` from `offset` on.
    pub fn new(spool: Arc<Spool>, blobs: Arc<BlobReader>, offset: u64) -> Self {
        Self { spool, blobs, offset, seat: None, reading: None }
    }
}

impl ByteSource for SpoolReader {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.offset >= self.spool.length {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            match self.spool.at(self.offset, &mut self.seat, cx) {
                At::NotYet => return Poll::Pending,
                At::Failed(why) => return Poll::Ready(Some(Err(BodyError::Source(why)))),
                At::Piece(piece) => {
                    self.offset += piece.len() as u64;
                    return Poll::Ready(Some(Ok(piece)));
                }
                At::Chunk { number, skip, take_max } => {
                    let spool = &self.spool;
                    let read = self.blobs.read(spool.lease.blob(), number, &spool.version, spool.length);
                    self.reading = Some((read, skip, take_max));
                }
            }
        }
        let Some((read, skip, take_max)) = &mut self.reading else { return Poll::Pending };
        let chunk = ready!(Pin::new(read).poll(cx));
        let (skip, take_max) = (*skip, *take_max);
        self.reading = None;
        let chunk = match chunk {
            Ok(chunk) if skip < chunk.len() => clip(chunk.slice(skip..), take_max),
            Ok(_) => return Poll::Ready(Some(Err(BodyError::Source("a chunk is too short".to_owned())))),
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        self.offset += chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, StoreOptions};
    use common::clock::SystemClock;
    use gomod::{ModulePath, Version};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_reader_waits_once_a_round_with_its_newest_waker() {
        let mut state = State::default();
        let (old, new, other) = (Arc::<Woken>::default(), Arc::<Woken>::default(), Arc::<Woken>::default());
        let wakers = [&old, &new, &other].map(|woken| Waker::from(Arc::clone(woken)));
        let contexts = wakers.each_ref().map(Context::from_waker);
        let (mut first, mut second) = (None, None);
        for round in 1..=3 {
            for _ in 0..5 {
                state.wait(&mut first, &contexts[0]);
                state.wait(&mut second, &contexts[2]);
                // The connection went to another task.
                state.wait(&mut first, &contexts[1]);
            }
            assert_eq!(state.waiting.len(), 2);
            wake(&mut state);
            assert!(state.waiting.is_empty());
            let counts = [&old, &new, &other].map(|woken| woken.0.load(Ordering::Relaxed));
            assert_eq!(counts, [0, round, round]);
        }
    }

    #[tokio::test]
    async fn a_first_byte_is_handed_out_before_any_more_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default(), Arc::new(SystemClock)).unwrap();
        let lease = store.lease(store.begin_blob().unwrap().id());
        let version =
            ModuleVersion::new(ModulePath::parse("a.example/m").unwrap(), Version::parse("v1.0.0").unwrap());
        let spool = Arc::new(Spool::new(Arc::new(version.unwrap()), lease, 2 * CHUNK_BYTES as u64));
        let taken = Arc::<AtomicUsize>::default();
        let (reading, took) = (Arc::clone(&spool), Arc::clone(&taken));
        tokio::spawn(async move {
            let mut seat = None;
            std::future::poll_fn(|context| match reading.at(0, &mut seat, context) {
                At::Piece(piece) => {
                    took.store(piece.len(), Ordering::Relaxed);
                    Poll::Ready(())
                }
                At::NotYet | At::Chunk { .. } | At::Failed(_) => Poll::Pending,
            })
            .await;
        });
        tokio::task::yield_now().await;
        spool.push(Bytes::from_static(b"zip")).await;
        assert_eq!(taken.load(Ordering::Relaxed), 3);
        assert_eq!(spool.progress(), (3, 2 * CHUNK_BYTES as u64));
    }
}
