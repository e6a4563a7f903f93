//! A disk that forgets what was not synced when the power goes, and can fail at any write.
//!
//! What is written is a journal: a power cut keeps some beginning of what was not synced, which is what a write-ahead
//! log with checksums leaves, its torn tail included.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use cluster::{ClusterId, MemberId};
use controlplane::raft::{
    AppliedState, Boot, Change, Disk, DiskError, Identity, Incarnation, LogEntry, LogWrite, Members, Pinned,
    Record, RecordSource, Vote,
};

use super::rng::Rng;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([0xc1; 16]);

type Records = Arc<BTreeMap<Vec<u8>, Vec<u8>>>;

/// What is on a disk.
#[derive(Clone)]
struct Content {
    identity: Identity,
    vote: Vote,
    commit: u64,
    applied: AppliedState,
    truncated: (u64, u64),
    log: BTreeMap<u64, LogEntry>,
    records: Records,
    staged: Records,
}

#[derive(Clone)]
enum Write {
    Log(LogWrite),
    Apply(Vec<Change>, AppliedState),
    Compact(u64, u64),
    StageBegin,
    Stage(Vec<Record>),
    Install(AppliedState, Vote),
}

/// How the next failure looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The power goes: what was not synced may be gone.
    PowerCut,
    /// No room.
    Full,
}

struct State {
    /// What a power cut leaves at least.
    synced: Content,
    /// What is read.
    current: Content,
    journal: Vec<Write>,
    /// Writes that still succeed, and what happens then.
    fuse: Option<(u64, Failure)>,
}

/// A disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk(Rc<RefCell<State>>);

impl SimDisk {
    /// A disk of a member that belongs to the first group, or of one that will be told everything (`None`).
    pub(crate) fn new(member: MemberId, incarnation: Incarnation, members: Option<&Members>) -> Self {
        let identity = Identity { cluster: CLUSTER, member, incarnation };
        let first = u64::from(members.is_some());
        let applied = AppliedState {
            index: first,
            term: first,
            members: members.cloned().unwrap_or_default(),
            ..AppliedState::default()
        };
        let content = Content {
            identity,
            vote: Vote { term: first, voted_for: 0 },
            commit: first,
            applied,
            truncated: (first, first),
            log: BTreeMap::new(),
            records: Records::default(),
            staged: Records::default(),
        };
        let state = State { synced: content.clone(), current: content, journal: Vec::new(), fuse: None };
        Self(Rc::new(RefCell::new(state)))
    }

    /// Lets the writes after this many fail.
    pub(crate) fn fail_after(&self, writes: u64, failure: Failure) {
        self.0.borrow_mut().fuse = Some((writes, failure));
    }

    /// The power was away: keeps what was synced and chance decides on the rest.
    pub(crate) fn power_cut(&self, rng: &mut Rng) {
        let mut state = self.0.borrow_mut();
        let kept = usize::try_from(rng.below(state.journal.len() as u64 + 1)).unwrap();
        let journal = std::mem::take(&mut state.journal);
        for write in &journal[..kept] {
            state.synced.write(write);
        }
        state.current = state.synced.clone();
        state.fuse = None;
    }

    /// Room was made.
    pub(crate) fn make_room(&self) {
        self.0.borrow_mut().fuse = None;
    }

    fn write(&self, write: Write, sync: bool) -> Result<(), DiskError> {
        let mut state = self.0.borrow_mut();
        match &mut state.fuse {
            Some((0, Failure::Full)) => return Err(DiskError::Full { action: "write" }),
            Some((0, Failure::PowerCut)) => {
                // What was being written may be there or not.
                state.journal.push(write);
                let source = Arc::new(std::io::Error::other("the power is gone"));
                return Err(DiskError::Lost { action: "write", source });
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        state.current.write(&write);
        state.journal.push(write);
        if sync {
            let journal = std::mem::take(&mut state.journal);
            for write in &journal {
                state.synced.write(write);
            }
        }
        Ok(())
    }
}

impl Content {
    fn write(&mut self, write: &Write) {
        match write {
            Write::Log(write) => {
                if let Some(first) = write.entries.first() {
                    self.log.split_off(&first.index);
                }
                self.log.extend(write.entries.iter().map(|entry| (entry.index, entry.clone())));
                self.vote = write.vote.unwrap_or(self.vote);
                self.commit = write.commit.unwrap_or(self.commit);
            }
            Write::Apply(changes, applied) => {
                let records = Arc::make_mut(&mut self.records);
                for change in changes {
                    match change.clone() {
                        Change::Put { key, value } => drop(records.insert(key, value)),
                        Change::Delete { key } => drop(records.remove(&key)),
                    }
                }
                self.applied = applied.clone();
                self.commit = self.commit.max(applied.index);
            }
            Write::Compact(through, term) => {
                self.log = self.log.split_off(&(through + 1));
                self.truncated = (*through, *term);
            }
            Write::StageBegin => self.staged = Records::default(),
            Write::Stage(records) => Arc::make_mut(&mut self.staged).extend(records.iter().cloned()),
            Write::Install(applied, vote) => {
                self.records = std::mem::take(&mut self.staged);
                self.log.clear();
                self.truncated = (applied.index, applied.term);
                self.commit = applied.index;
                self.applied = applied.clone();
                self.vote = *vote;
            }
        }
    }
}

struct Source {
    records: Records,
    after: Option<Vec<u8>>,
}

impl RecordSource for Source {
    fn next_records(&mut self, bytes: usize) -> Result<Vec<Record>, DiskError> {
        let mut given = 0;
        let mut next = Vec::new();
        let from = self.after.clone().map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        for (key, value) in self.records.range((from, std::ops::Bound::Unbounded)) {
            if given >= bytes {
                break;
            }
            given += key.len() + value.len();
            next.push((key.clone(), value.clone()));
        }
        self.after = next.last().map(|(key, _)| key.clone()).or(self.after.take());
        Ok(next)
    }
}

impl Disk for SimDisk {
    fn load(&self) -> Result<Boot, DiskError> {
        let state = self.0.borrow();
        let content = &state.current;
        let damaged = |detail: String| Err(DiskError::Damaged { action: "load", detail });
        let last_index = content.log.last_key_value().map_or(content.truncated.0, |(index, _)| *index);
        if last_index - content.truncated.0 != content.log.len() as u64 {
            return damaged(format!(
                "{} entries from {:?} to {last_index}",
                content.log.len(),
                content.truncated
            ));
        }
        if content.commit > last_index || content.applied.index > content.commit {
            return damaged(format!(
                "applied {}, commit {}, last {last_index}",
                content.applied.index, content.commit
            ));
        }
        Ok(Boot {
            identity: content.identity,
            vote: content.vote,
            commit: content.commit,
            applied: content.applied.clone(),
            truncated: content.truncated,
            last_index,
            log_bytes: content.log.values().map(|entry| entry.bytes.len() as u64).sum(),
        })
    }

    fn entries(&self, low: u64, high: u64, bytes: u64) -> Result<Vec<LogEntry>, DiskError> {
        let state = self.0.borrow();
        let mut given = 0;
        let entries = state.current.log.range(low..high).map(|(_, entry)| entry.clone());
        Ok(entries
            .take_while(|entry| {
                given += entry.bytes.len() as u64;
                given <= bytes || given == entry.bytes.len() as u64
            })
            .collect())
    }

    fn term(&self, index: u64) -> Result<Option<u64>, DiskError> {
        Ok(self.0.borrow().current.log.get(&index).map(|entry| entry.term))
    }

    fn persist(&mut self, write: LogWrite, sync: bool) -> Result<(), DiskError> {
        self.write(Write::Log(write), sync)
    }

    fn apply(&mut self, changes: &[Change], applied: &AppliedState) -> Result<(), DiskError> {
        self.write(Write::Apply(changes.to_vec(), applied.clone()), false)
    }

    fn compact(&mut self, through: u64, term: u64) -> Result<(), DiskError> {
        self.write(Write::Compact(through, term), false)
    }

    fn records(&self, each: &mut dyn FnMut(Record)) -> Result<(), DiskError> {
        let records = Arc::clone(&self.0.borrow().current.records);
        records.iter().for_each(|(key, value)| each((key.clone(), value.clone())));
        Ok(())
    }

    fn pin(&self) -> Result<Pinned, DiskError> {
        let state = self.0.borrow();
        let source = Source { records: Arc::clone(&state.current.records), after: None };
        Ok(Pinned { applied: state.current.applied.clone(), source: Box::new(source) })
    }

    fn stage_begin(&mut self) -> Result<(), DiskError> {
        self.write(Write::StageBegin, false)
    }

    fn stage(&mut self, records: &[Record]) -> Result<(), DiskError> {
        self.write(Write::Stage(records.to_vec()), false)
    }

    fn staged(&self, each: &mut dyn FnMut(Record)) -> Result<(), DiskError> {
        let records = Arc::clone(&self.0.borrow().current.staged);
        records.iter().for_each(|(key, value)| each((key.clone(), value.clone())));
        Ok(())
    }

    fn install(&mut self, applied: &AppliedState, vote: Vote) -> Result<(), DiskError> {
        self.write(Write::Install(applied.clone(), vote), true)
    }
}
