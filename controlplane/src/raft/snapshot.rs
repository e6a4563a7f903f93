//! Whole states on their way from one member to another: descriptor, frames, and taking them in.
//!
//! Raft's message carries the descriptor; the records follow in frames. A frame is its number (4 bytes), the CRC32C of
//! what follows (4), and records: length of the key (4), of the value (4), key, value; numbers big-endian. Invariant: a
//! state is handed to raft only after every record arrived and the machine made of them has the announced digest.

use std::collections::BTreeMap;
use std::fmt;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use fail::fail_point;

use super::convert::{read_logs, write_logs};
use super::disk::{Disk, DiskError, Incarnation, RecordSource};
use super::error::SnapshotError;
use super::machine::{Digest, Machine, MachineError, Record};

const VERSION: u8 = 1;
/// Bytes of a descriptor before the members' logs.
const DESCRIPTOR_BYTES: usize = 49;
const FRAME_HEAD_BYTES: usize = 8;
const RECORD_HEAD_BYTES: usize = 8;

/// What a snapshot is, in raft's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Descriptor {
    /// Counted by the sender.
    pub(super) id: u64,
    pub(super) digest: Digest,
    pub(super) records: u64,
    /// Which log each member has, which raft's own list of members does not say.
    pub(super) logs: BTreeMap<u64, Incarnation>,
}

impl Descriptor {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(DESCRIPTOR_BYTES);
        bytes.put_u8(VERSION);
        bytes.put_u64(self.id);
        bytes.put_slice(&self.digest.0);
        bytes.put_u64(self.records);
        bytes.put(write_logs(self.logs.clone()));
        bytes.freeze()
    }

    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < DESCRIPTOR_BYTES || bytes.get_u8() != VERSION {
            return None;
        }
        let id = bytes.get_u64();
        let digest = Digest(bytes.split_to(32).as_ref().try_into().ok()?);
        let records = bytes.get_u64();
        Some(Self { id, digest, records, logs: read_logs(bytes)?.into_iter().collect() })
    }
}

/// A state to be sent: first [`Self::message`], then all frames. May be moved to another thread; it holds a state of
/// the store fast until it is dropped.
pub struct OutgoingSnapshot {
    pub(super) message: Bytes,
    pub(super) source: Box<dyn RecordSource>,
    pub(super) frame_bytes: usize,
    pub(super) frame: u32,
}

impl fmt::Debug for OutgoingSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingSnapshot").field("next_frame", &self.frame).finish_non_exhaustive()
    }
}

impl OutgoingSnapshot {
    /// What announces it.
    pub fn message(&self) -> Bytes {
        self.message.clone()
    }

    /// The next frame; `None` after the last. Reads from the disk, so call it where that may wait.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, DiskError> {
        fail_point!("raft::snapshot::send_frame", |_| Err(DiskError::Damaged {
            action: "read snapshot",
            detail: "failpoint".to_owned(),
        }));
        let records = self.source.next_records(self.frame_bytes)?;
        if records.is_empty() {
            return Ok(None);
        }
        let frame = write_frame(self.frame, &records);
        self.frame += 1;
        Ok(Some(frame))
    }
}

fn write_frame(number: u32, records: &[Record]) -> Bytes {
    let bytes = records.iter().map(|(key, value)| RECORD_HEAD_BYTES + key.len() + value.len()).sum::<usize>();
    let mut body = BytesMut::with_capacity(bytes);
    for (key, value) in records {
        body.put_u32(u32::try_from(key.len()).unwrap_or(u32::MAX));
        body.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        body.put_slice(key);
        body.put_slice(value);
    }
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_BYTES + body.len());
    frame.put_u32(number);
    frame.put_u32(checksum(number, &body));
    frame.put(body);
    frame.freeze()
}

/// The number is part of it, so that a frame in another's place is found.
fn checksum(number: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_be_bytes()), body)
}

fn read_frame(expected: u32, mut frame: Bytes) -> Result<Vec<Record>, &'static str> {
    if frame.len() < FRAME_HEAD_BYTES {
        return Err("it is shorter than its head");
    }
    let (number, sum) = (frame.get_u32(), frame.get_u32());
    if number != expected {
        return Err("another frame was expected");
    }
    if checksum(number, &frame) != sum {
        return Err("its checksum does not match");
    }
    let mut records = Vec::new();
    while !frame.is_empty() {
        let cut = "it ends within a record";
        let key_bytes = frame.try_get_u32().map_err(|_| cut)? as usize;
        let value_bytes = frame.try_get_u32().map_err(|_| cut)? as usize;
        if frame.len() < key_bytes.saturating_add(value_bytes) {
            return Err(cut);
        }
        records.push((frame.split_to(key_bytes).to_vec(), frame.split_to(value_bytes).to_vec()));
    }
    Ok(records)
}

/// Names one snapshot that is coming in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IncomingId(pub(super) u64);

/// A snapshot that is coming in.
pub(super) struct Incoming {
    pub(super) id: IncomingId,
    pub(super) message: Box<raft::eraftpb::Message>,
    pub(super) descriptor: Descriptor,
    frame: u32,
    records: u64,
}

/// One that arrived whole.
pub(super) struct Verified<M> {
    /// Index and term that raft knows it by.
    pub(super) at: (u64, u64),
    pub(super) descriptor: Descriptor,
    pub(super) machine: M,
}

impl Incoming {
    pub(super) fn new(id: IncomingId, message: Box<raft::eraftpb::Message>) -> Result<Self, SnapshotError> {
        let descriptor = Descriptor::decode(message.get_snapshot().data.clone())
            .ok_or_else(|| SnapshotError::Content { reason: "its descriptor cannot be read".to_owned() })?;
        Ok(Self { id, message, descriptor, frame: 0, records: 0 })
    }

    /// Reads a frame: the records to be staged.
    pub(super) fn frame(&mut self, frame: Bytes) -> Result<Vec<Record>, SnapshotError> {
        let number = self.frame;
        let records =
            read_frame(number, frame).map_err(|reason| SnapshotError::Frame { frame: number, reason })?;
        self.records += records.len() as u64;
        if self.records > self.descriptor.records {
            return Err(SnapshotError::Content { reason: "it has more records than announced".to_owned() });
        }
        self.frame += 1;
        Ok(records)
    }

    /// Makes a machine of what was staged and compares it with what was announced.
    pub(super) fn verify<M: Machine>(
        &self,
        machine: &M,
        disk: &impl Disk,
    ) -> Result<Verified<M>, NotVerified> {
        let content = |reason: String| NotVerified::Content(SnapshotError::Content { reason });
        let announced = &self.descriptor;
        if self.records != announced.records {
            return Err(content(format!("it has {} records instead of {}", self.records, announced.records)));
        }
        let mut records = Vec::new();
        disk.staged(&mut |record| records.push(record)).map_err(NotVerified::Disk)?;
        let machine = machine
            .restore(self.message.get_snapshot().get_metadata().index, &mut records.into_iter())
            .map_err(|error: MachineError| content(error.to_string()))?;
        if (machine.digest(), machine.record_count()) != (announced.digest, announced.records) {
            return Err(content(format!(
                "it hashes to {} instead of {}",
                machine.digest(),
                announced.digest
            )));
        }
        let metadata = self.message.get_snapshot().get_metadata();
        Ok(Verified { at: (metadata.index, metadata.term), descriptor: announced.clone(), machine })
    }
}

/// Why a snapshot that arrived was not taken.
pub(super) enum NotVerified {
    /// Its content: the sender can try again.
    Content(SnapshotError),
    /// Our disk.
    Disk(DiskError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_comes_back() {
        let logs = [(1, Incarnation(5)), (2, Incarnation(6))].into();
        let descriptor = Descriptor { id: 9, digest: Digest([7; 32]), records: 1 << 40, logs };
        assert_eq!(Descriptor::decode(descriptor.encode()), Some(descriptor.clone()));
        assert_eq!(Descriptor::decode(descriptor.encode().slice(1..)), None);
        assert_eq!(Descriptor::decode(Bytes::new()), None);
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_found() {
        let records: Vec<Record> = vec![(b"a".to_vec(), b"one".to_vec()), (b"bc".to_vec(), Vec::new())];
        let frame = write_frame(3, &records);
        assert_eq!(read_frame(3, frame.clone()), Ok(records));
        assert!(read_frame(2, frame.clone()).is_err());
        for bit in 0..frame.len() * 8 {
            let mut spoilt = frame.to_vec();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert!(read_frame(3, spoilt.into()).is_err(), "bit {bit}");
        }
        for cut in 0..frame.len() {
            assert!(read_frame(3, frame.slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
