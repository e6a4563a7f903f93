//! The state machine that a control node has, `core/cluster`'s, with a note of every request that was ever applied.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use cluster::{Command, Epoch, Outcome, Proposal, Revision, State};
use controlplane::raft::{Applied, Change, Digest, Machine, MachineError, Publication, Record, RequestId};

/// Before the keys of notes, and before those of the state's records.
const NOTE: u8 = 0;
const STATE: u8 = 1;

/// A command as it was applied somewhere.
#[derive(Clone, Debug)]
pub(crate) struct AppliedCommand {
    pub(crate) index: u64,
    pub(crate) request: RequestId,
    pub(crate) content: u64,
    /// The request had been applied before.
    pub(crate) again: bool,
    /// The layout in force afterwards.
    pub(crate) epoch: Option<Epoch>,
    /// What it was planned against, if it is a layout that was taken.
    pub(crate) follows: Option<Epoch>,
    /// What is wrong with the state afterwards.
    pub(crate) unsound: Option<String>,
}

/// What machines tell the simulation.
pub(crate) type Told = Rc<RefCell<Vec<AppliedCommand>>>;

#[derive(Clone, Default)]
pub(crate) struct Replica {
    state: State,
    notes: BTreeMap<RequestId, u64>,
    /// Sum over the notes.
    noted: u64,
    told: Told,
}

impl Replica {
    pub(crate) fn new(told: Told) -> Self {
        Self { told, ..Self::default() }
    }

    /// The state after everything that was applied.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The index at which a request was applied.
    pub(crate) fn index_of(&self, request: RequestId) -> Option<u64> {
        self.notes.get(&request).copied()
    }

    fn note(&mut self, request: RequestId, index: u64) -> Change {
        let (key, value) = (note_key(request), index.to_be_bytes().to_vec());
        if let Some(old) = self.notes.insert(request, index) {
            self.noted = self.noted.wrapping_sub(sum(&key, &old.to_be_bytes()));
        }
        self.noted = self.noted.wrapping_add(sum(&key, &value));
        Change::Put { key, value }
    }
}

fn note_key(request: RequestId) -> Vec<u8> {
    [[NOTE].as_slice(), &request.get().to_be_bytes()].concat()
}

fn sum(key: &[u8], value: &[u8]) -> u64 {
    let mixed = hash(key).rotate_left(17) ^ hash(value);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// FNV-1a, which is enough to tell contents of a test apart.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn unreadable(why: &dyn std::fmt::Display) -> MachineError {
    MachineError::Record { detail: why.to_string() }
}

fn epoch_of(state: &State) -> Option<Epoch> {
    state.tables().transition.as_ref().map(|transition| transition.current)
}

impl Machine for Replica {
    type Answer = Outcome;

    fn restore(&self, index: u64, records: &mut dyn Iterator<Item = Record>) -> Result<Self, MachineError> {
        let mut restored = Self::new(Rc::clone(&self.told));
        let mut of_state = Vec::new();
        for (key, value) in records {
            match key.split_first() {
                Some((&NOTE, request)) => {
                    let request = RequestId::new(u128::from_be_bytes(
                        request.try_into().map_err(|error| unreadable(&error))?,
                    ));
                    let index =
                        u64::from_be_bytes(value.as_slice().try_into().map_err(|error| unreadable(&error))?);
                    restored.note(request, index);
                }
                Some((&STATE, key)) => {
                    of_state.push(cluster::Record::decode(key, &value).map_err(|error| unreadable(&error))?);
                }
                _ => return Err(unreadable(&"a key of nothing")),
            }
        }
        restored.state = State::load(Revision::new(index), of_state).map_err(|error| unreadable(&error))?;
        Ok(restored)
    }

    fn apply(
        &mut self,
        index: u64,
        request: RequestId,
        command: &[u8],
    ) -> Result<Applied<Outcome>, MachineError> {
        let proposal =
            Proposal::decode(command).map_err(|error| MachineError::Command { detail: error.to_string() })?;
        let outcome = self.state.apply(Revision::new(index), &proposal);
        self.state.commit(Revision::new(index), outcome.changes.iter().cloned());
        let again = self.notes.contains_key(&request);
        let mut changes = vec![self.note(request, index)];
        changes.extend(outcome.changes.iter().map(write));
        let follows = match &proposal.command {
            Command::ApplyLayout(command) if outcome.result.is_ok() => Some(command.expect_epoch),
            _ => None,
        };
        self.told.borrow_mut().push(AppliedCommand {
            index,
            request,
            content: hash(command),
            again,
            epoch: epoch_of(&self.state),
            follows,
            unsound: self.state.check().first().map(ToString::to_string),
        });
        Ok(Applied { answer: outcome, changes })
    }

    fn digest(&self) -> Digest {
        let mut digest = self.state.digest().to_bytes();
        for (byte, noted) in digest.iter_mut().zip(self.noted.to_be_bytes()) {
            *byte ^= noted;
        }
        Digest(digest)
    }

    fn record_count(&self) -> u64 {
        (self.state.tables().len() + self.notes.len()) as u64
    }

    fn published(&mut self, publication: Publication<'_>) {
        let (Publication::Changes { index, .. } | Publication::Whole { index }) = publication;
        self.state.commit(Revision::new(index), []);
    }
}

/// A change of the state as bytes.
fn write(change: &cluster::Change) -> Change {
    let of_state = |key: Vec<u8>| [[STATE].as_slice(), &key].concat();
    match change {
        cluster::Change::Put(record) => {
            Change::Put { key: of_state(record.key().encode()), value: record.encode() }
        }
        cluster::Change::Delete(key) => Change::Delete { key: of_state(key.encode()) },
    }
}
