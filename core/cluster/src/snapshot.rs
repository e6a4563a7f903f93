//! A whole state as bytes, in chunks that fit a message each: what a member that fell behind is sent, and what a backup keeps.
//!
//! Version 1, numbers big-endian. The content is a header (`GPS` and the version; revision, 8 bytes; number of records, 8; digest,
//! 32) and the records in the order of their keys: key length, 4; key; value length, 4; value. It is cut into chunks at any byte: `GPC`
//! and the version; chunk number from 0, 4; 1 for the last, else 0, 1; payload length, 4; the first 16 bytes of the SHA-256 of
//! all that and the payload; payload.
//!
//! Invariant: one state has one content. What is read is checked in three ways: each chunk by its hash, each record by its
//! encoding, the whole by count and digest; a state comes out whole or not at all.

use sha2::{Digest as _, Sha256};

use crate::digest::StateDigest;
use crate::ids::Revision;
use crate::record::{KEY_BYTES_MAX, RECORD_BYTES_MAX, Record, RecordError};
use crate::state::{LoadError, State};

/// Before the content, the version last.
const MAGIC: [u8; 4] = *b"GPS\x01";
/// Before each chunk, the version last.
const CHUNK_MAGIC: [u8; 4] = *b"GPC\x01";
/// Bytes of the content's header.
const HEADER_BYTES: usize = MAGIC.len() + 8 + 8 + 32;
/// Bytes of a chunk's header without its checksum.
const CHUNK_HEAD_BYTES: usize = CHUNK_MAGIC.len() + 4 + 1 + 4;
/// Bytes of a chunk's checksum.
const CHECKSUM_BYTES: usize = 16;

/// Payload of a chunk in bytes: far from the limit of a message, and few enough chunks.
pub const CHUNK_PAYLOAD_BYTES: usize = 256 << 10;
/// Bound of a chunk in bytes.
pub const CHUNK_BYTES_MAX: usize = CHUNK_HEAD_BYTES + CHECKSUM_BYTES + CHUNK_PAYLOAD_BYTES;

/// Why bytes are no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Something else, or damaged.
    #[error("snapshot does not begin with its mark")]
    Mark,
    /// Written by a release that knows more.
    #[error("snapshot has encoding {0}, which is not known")]
    Version(u8),
    /// A chunk is cut off, or has more in it than it says, or more than [`CHUNK_BYTES_MAX`].
    #[error("chunk {number} of a snapshot has a bad length")]
    Length {
        /// The chunk that was waited for.
        number: u32,
    },
    /// A chunk is damaged.
    #[error("chunk {number} of a snapshot is damaged")]
    Checksum {
        /// The chunk that was waited for.
        number: u32,
    },
    /// A chunk is missing, or comes again.
    #[error("chunk {found} of a snapshot came instead of chunk {expected}")]
    Order {
        /// The chunk that was waited for.
        expected: u32,
        /// The chunk that came.
        found: u32,
    },
    /// A record that is longer than any can be.
    #[error("snapshot has a record of {bytes} bytes")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A record is none.
    #[error("read a record of a snapshot")]
    Record(#[from] RecordError),
    /// A record does not come after the one before it.
    #[error("the records of a snapshot are not in order")]
    Unordered,
    /// It ends before it is whole, or goes on after it.
    #[error("snapshot has {found} records instead of {expected}")]
    Count {
        /// The number in the header.
        expected: u64,
        /// Those that were read.
        found: u64,
    },
    /// The last chunk did not come.
    #[error("snapshot is cut off")]
    CutOff,
    /// The records are not those that the header is about.
    #[error("snapshot has digest {found} instead of {expected}")]
    Digest {
        /// The digest in the header.
        expected: StateDigest,
        /// That of the records.
        found: StateDigest,
    },
    /// The records are no state.
    #[error("load the records of a snapshot")]
    Load(#[from] LoadError),
}

/// The chunks of a state, in order.
pub struct Chunks<'a> {
    records: Box<dyn Iterator<Item = Record> + Send + 'a>,
    /// Content that is not yet in a chunk.
    waiting: Vec<u8>,
    payload_bytes: usize,
    number: u32,
    ended: bool,
}

impl std::fmt::Debug for Chunks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks").field("number", &self.number).finish_non_exhaustive()
    }
}

impl State {
    /// The state as chunks of a snapshot. Made one by one: beside the state there is never more than one chunk and one record.
    pub fn snapshot(&self) -> Chunks<'_> {
        self.snapshot_in(CHUNK_PAYLOAD_BYTES)
    }

    /// The same with another payload in each chunk, 1 to [`CHUNK_PAYLOAD_BYTES`] bytes.
    pub fn snapshot_in(&self, payload_bytes: usize) -> Chunks<'_> {
        let mut waiting = Vec::with_capacity(CHUNK_PAYLOAD_BYTES);
        waiting.extend_from_slice(&MAGIC);
        waiting.extend(self.revision().get().to_be_bytes());
        waiting.extend((self.tables().len() as u64).to_be_bytes());
        waiting.extend(self.digest().to_bytes());
        Chunks {
            records: Box::new(self.records()),
            waiting,
            payload_bytes: payload_bytes.clamp(1, CHUNK_PAYLOAD_BYTES),
            number: 0,
            ended: false,
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        // One byte more than a payload tells whether it is the last.
        while self.waiting.len() <= self.payload_bytes {
            let Some(record) = self.records.next() else { break };
            for part in [record.key().encode(), record.encode()] {
                self.waiting.extend((part.len() as u32).to_be_bytes());
                self.waiting.extend(part);
            }
        }
        self.ended = self.waiting.len() <= self.payload_bytes;
        let rest = self.waiting.split_off(self.waiting.len().min(self.payload_bytes));
        let payload = std::mem::replace(&mut self.waiting, rest);
        let chunk = seal(self.number, self.ended, &payload);
        self.number = self.number.saturating_add(1);
        Some(chunk)
    }
}

fn seal(number: u32, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(CHUNK_HEAD_BYTES + CHECKSUM_BYTES + payload.len());
    chunk.extend_from_slice(&CHUNK_MAGIC);
    chunk.extend(number.to_be_bytes());
    chunk.push(u8::from(last));
    chunk.extend((payload.len() as u32).to_be_bytes());
    let checksum = checksum(&chunk, payload);
    chunk.extend(checksum);
    chunk.extend_from_slice(payload);
    chunk
}

fn checksum(head: &[u8], payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    hash.update(head);
    hash.update(payload);
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// What the content begins with.
#[derive(Clone, Copy, Debug)]
struct Header {
    revision: Revision,
    count: u64,
    digest: StateDigest,
}

/// Puts the chunks of a snapshot together again.
#[derive(Debug, Default)]
pub struct Assembler {
    next: u32,
    last: bool,
    header: Option<Header>,
    /// Content that is not a whole record yet.
    waiting: Vec<u8>,
    records: Vec<Record>,
    /// The key of the last record, whose successors must be greater.
    before: Vec<u8>,
}

impl Assembler {
    /// Takes the next chunk; true if it was the last. After an error the assembler is of no use.
    pub fn push(&mut self, chunk: &[u8]) -> Result<bool, SnapshotError> {
        let number = self.next;
        let length = || SnapshotError::Length { number };
        if chunk.len() > CHUNK_BYTES_MAX || self.last {
            return Err(length());
        }
        let (head, rest) = chunk.split_first_chunk::<CHUNK_HEAD_BYTES>().ok_or_else(length)?;
        let mut left = Reader(head);
        check_mark(left.array()?, CHUNK_MAGIC)?;
        let found = u32::from_be_bytes(left.array()?);
        let [last] = left.array()?;
        let payload_bytes = u32::from_be_bytes(left.array()?);
        let (sum, payload) = rest.split_first_chunk::<CHECKSUM_BYTES>().ok_or_else(length)?;
        if payload.len() as u64 != u64::from(payload_bytes) {
            return Err(length());
        }
        if checksum(head, payload) != *sum || last > 1 {
            return Err(SnapshotError::Checksum { number });
        }
        if found != number {
            return Err(SnapshotError::Order { expected: number, found });
        }
        self.waiting.extend_from_slice(payload);
        self.read_what_is_whole()?;
        self.next = number.saturating_add(1);
        self.last = last == 1;
        Ok(self.last)
    }

    /// The state, once the last chunk is there.
    pub fn finish(self) -> Result<State, SnapshotError> {
        let header =
            self.header.filter(|_| self.last && self.waiting.is_empty()).ok_or(SnapshotError::CutOff)?;
        let found = self.records.len() as u64;
        if found != header.count {
            return Err(SnapshotError::Count { expected: header.count, found });
        }
        let state = State::load(header.revision, self.records)?;
        if state.digest() != header.digest {
            return Err(SnapshotError::Digest { expected: header.digest, found: state.digest() });
        }
        Ok(state)
    }

    fn read_what_is_whole(&mut self) -> Result<(), SnapshotError> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut left = Reader(&waiting);
        if self.header.is_none() {
            if left.0.len() < HEADER_BYTES {
                self.waiting = waiting;
                return Ok(());
            }
            check_mark(left.array()?, MAGIC)?;
            self.header = Some(Header {
                revision: Revision::new(u64::from_be_bytes(left.array()?)),
                count: u64::from_be_bytes(left.array()?),
                digest: StateDigest::from_bytes(left.array()?),
            });
        }
        loop {
            let whole = left.0;
            let Some(key) = left.part(KEY_BYTES_MAX)? else {
                self.waiting = whole.to_vec();
                return Ok(());
            };
            let Some(value) = left.part(RECORD_BYTES_MAX)? else {
                self.waiting = whole.to_vec();
                return Ok(());
            };
            let record = Record::decode(key, value)?;
            if !self.records.is_empty() && self.before.as_slice() >= key {
                return Err(SnapshotError::Unordered);
            }
            self.before = key.to_vec();
            self.records.push(record);
        }
    }
}

fn check_mark(found: [u8; 4], known: [u8; 4]) -> Result<(), SnapshotError> {
    let ([mark @ .., version], [known_mark @ .., known_version]) = (found, known);
    if mark != known_mark {
        return Err(SnapshotError::Mark);
    }
    if version != known_version {
        return Err(SnapshotError::Version(version));
    }
    Ok(())
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (taken, left) = self.0.split_first_chunk().ok_or(SnapshotError::CutOff)?;
        self.0 = left;
        Ok(*taken)
    }

    /// What a length and as many bytes say; none if they are not all there.
    fn part(&mut self, max: usize) -> Result<Option<&'a [u8]>, SnapshotError> {
        let Some((length, left)) = self.0.split_first_chunk() else { return Ok(None) };
        let bytes = u32::from_be_bytes(*length) as usize;
        if bytes > max {
            return Err(SnapshotError::TooLong { bytes });
        }
        let Some((taken, left)) = left.split_at_checked(bytes) else { return Ok(None) };
        self.0 = left;
        Ok(Some(taken))
    }
}
