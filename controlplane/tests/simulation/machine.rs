//! A small state machine: a few registers, and a note of every request that was ever applied.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use controlplane::raft::{Applied, Change, Digest, Machine, MachineError, Publication, Record, RequestId};

/// A command as it was applied somewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppliedCommand {
    pub(crate) index: u64,
    pub(crate) request: RequestId,
    pub(crate) content: u64,
    /// The request had been applied before.
    pub(crate) again: bool,
}

/// What machines tell the simulation.
pub(crate) type Told = Rc<RefCell<Vec<AppliedCommand>>>;

#[derive(Clone, Default)]
pub(crate) struct Registers {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    digest: [u64; 4],
    told: Told,
}

impl Registers {
    pub(crate) fn new(told: Told) -> Self {
        Self { told, ..Self::default() }
    }

    /// The index at which a request was applied.
    pub(crate) fn index_of(&self, request: RequestId) -> Option<u64> {
        let value = self.records.get(&note_key(request))?;
        Some(u64::from_be_bytes(value.as_slice().try_into().ok()?))
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Change {
        if let Some(old) = self.records.insert(key.clone(), value.clone()) {
            self.count(&key, &old, u64::wrapping_sub);
        }
        self.count(&key, &value, u64::wrapping_add);
        Change::Put { key, value }
    }

    fn count(&mut self, key: &[u8], value: &[u8], by: fn(u64, u64) -> u64) {
        let mut hash = hash(key).rotate_left(17) ^ hash(value);
        for lane in &mut self.digest {
            hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *lane = by(*lane, hash);
        }
    }
}

fn note_key(request: RequestId) -> Vec<u8> {
    [b"r/".as_slice(), &request.get().to_be_bytes()].concat()
}

/// FNV-1a, which is enough to tell states of a test apart.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

impl Machine for Registers {
    type Answer = u64;

    fn restore(&self, _index: u64, records: &mut dyn Iterator<Item = Record>) -> Result<Self, MachineError> {
        let mut restored = Self::new(Rc::clone(&self.told));
        for (key, value) in records {
            restored.put(key, value);
        }
        Ok(restored)
    }

    fn apply(
        &mut self,
        index: u64,
        request: RequestId,
        command: &[u8],
    ) -> Result<Applied<u64>, MachineError> {
        let again = self.records.contains_key(&note_key(request));
        let content = hash(command);
        self.told.borrow_mut().push(AppliedCommand { index, request, content, again });
        let register = [b"k/".as_slice(), &command[..1]].concat();
        let note = self.put(note_key(request), index.to_be_bytes().to_vec());
        let value = self.put(register, command.to_vec());
        Ok(Applied { answer: content, changes: vec![note, value] })
    }

    fn digest(&self) -> Digest {
        let mut digest = [0; 32];
        for (bytes, lane) in digest.chunks_exact_mut(8).zip(self.digest) {
            bytes.copy_from_slice(&lane.to_be_bytes());
        }
        Digest(digest)
    }

    fn record_count(&self) -> u64 {
        self.records.len() as u64
    }

    fn published(&mut self, _publication: Publication<'_>) {}
}
