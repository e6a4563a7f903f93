//! The replicated truth of a control node: its records, and what comes of a proposal.
//!
//! Invariant: [`State::apply`] looks and [`State::commit`] changes; the same proposals at the same indices make the same records
//! everywhere, and the digest is that of the records.

use std::collections::BTreeMap;
use std::fmt;

use crate::command::{Command, Context, Effect};
use crate::digest::StateDigest;
use crate::ids::Revision;
use crate::invariants;
use crate::outcome::{Answer, Outcome, Refusal};
use crate::proposal::Proposal;
use crate::record::{AUDIT_MAX, AuditEntry, Change, Key, REMEMBERED_FOR, REMEMBERED_MAX, Record, Remembered};
use crate::tables::Tables;
use crate::text::{IdempotencyKey, Note};
use crate::time::Timestamp;

/// Remembered requests that one command forgets at most: more than it adds, so that the expired ones are gone in time.
const FORGOTTEN_AT_ONCE_MAX: usize = 16;

/// The replicated truth.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    tables: Tables,
    revision: Revision,
    digest: StateDigest,
    /// The remembered requests in the order in which they were carried out, which is that in which they are forgotten.
    remembered: BTreeMap<Revision, IdempotencyKey>,
}

/// Why records are no state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// Two with one key.
    #[error("record {0} is there twice")]
    Twice(Key),
    /// Together they break what always holds.
    #[error("the state is not sound: {}", violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unsound {
        /// All that is wrong.
        violations: Vec<Violation>,
    },
}

/// Something that is never so in a sound state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The record where it shows, if it is one.
    pub key: Option<Key>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key} {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl State {
    /// The state that these records make. `revision` is the index of the last entry that was committed to it.
    pub fn load(revision: Revision, records: impl IntoIterator<Item = Record>) -> Result<Self, LoadError> {
        let mut state = Self { revision, ..Self::default() };
        for record in records {
            let key = record.key();
            if state.tables.has(&key) {
                return Err(LoadError::Twice(key));
            }
            state.change(Change::Put(record));
        }
        let violations = state.check();
        if violations.is_empty() { Ok(state) } else { Err(LoadError::Unsound { violations }) }
    }

    /// What comes of a proposal that stands in the log at this index, after [`Self::revision`]. Nothing is changed.
    pub fn apply(&self, index: Revision, proposal: &Proposal) -> Outcome {
        self.answer(index, proposal)
            .unwrap_or_else(|refusal| Outcome { result: Err(refusal), changes: Vec::new() })
    }

    /// Makes the changes of an outcome. `index` is that of the entry, also of one that changed nothing.
    pub fn commit(&mut self, index: Revision, changes: impl IntoIterator<Item = Change>) {
        self.revision = self.revision.max(index);
        for change in changes {
            self.change(change);
        }
    }

    /// All records, by kind and id.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// All records in the order of their keys' bytes.
    pub fn records(&self) -> impl Iterator<Item = Record> + Send + '_ {
        self.tables.records()
    }

    /// The index of the last entry that was committed.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The digest of all records, kept up with every change.
    pub fn digest(&self) -> StateDigest {
        self.digest
    }

    /// The cluster's time: the latest that any command brought along that was carried out.
    pub fn now(&self) -> Timestamp {
        self.tables.counters.as_ref().map(|counters| counters.clock).unwrap_or_default()
    }

    /// Everything that is wrong with it. Whatever is committed that [`Self::apply`] made, this is empty.
    pub fn check(&self) -> Vec<Violation> {
        invariants::check(&self.tables, self.revision)
    }

    fn answer(&self, index: Revision, proposal: &Proposal) -> Result<Outcome, Refusal> {
        let now = proposal.at.max(self.now());
        if let Some(answer) = self.remembered_answer(proposal, now)? {
            return Ok(Outcome { result: Ok(answer), changes: Vec::new() });
        }
        let tables = &self.tables;
        let effect = match (&tables.cluster, &tables.counters, tables.transition, &proposal.command) {
            (Some(cluster), Some(counters), Some(transition), command) => {
                command.apply(&Context { tables, cluster, counters, transition, now, proposal })?
            }
            (_, _, _, Command::Bootstrap(command)) => command.apply(proposal)?,
            _ => return Err(Refusal::NotBootstrapped),
        };
        Ok(self.outcome(index, now, proposal, effect))
    }

    /// What was answered when the same request was carried out, if it was; a refusal if its key was used for another.
    fn remembered_answer(&self, proposal: &Proposal, now: Timestamp) -> Result<Option<Answer>, Refusal> {
        let Some(key) = &proposal.key else { return Ok(None) };
        let Some(before) = self.tables.remembered.get(key).filter(|before| !is_over(before, now)) else {
            return Ok(None);
        };
        if before.request == proposal.request_hash() {
            Ok(Some(before.answer))
        } else {
            Err(Refusal::KeyReused { key: key.clone() })
        }
    }

    /// The changes of a command, and beside them the cluster's time, the audit trail, and that it was carried out.
    fn outcome(&self, index: Revision, now: Timestamp, proposal: &Proposal, effect: Effect) -> Outcome {
        let Effect { answer, mut changes, counters, subject, before, after } = effect;
        if changes.is_empty() && counters.is_none() {
            return Outcome { result: Ok(answer), changes };
        }
        if let Some(mut counters) = counters.or_else(|| self.tables.counters.clone()) {
            counters.clock = now;
            if self.tables.counters.as_ref() != Some(&counters) {
                changes.push(Change::Put(Record::Counters(counters)));
            }
        }
        if proposal.actor.role.is_operator() || !proposal.command.is_chatter() {
            let audit = &self.tables.audit;
            let over = (audit.len() + 1).saturating_sub(AUDIT_MAX);
            changes.extend(audit.keys().take(over).map(|oldest| Change::Delete(Key::Audit(*oldest))));
            changes.push(Change::Put(Record::Audit(AuditEntry {
                revision: index,
                at: now,
                actor: proposal.actor.clone(),
                request: proposal.request,
                command: proposal.command.audited_as().to_owned(),
                subject: Note::lossy(&subject),
                why: proposal.why.clone(),
                before: Note::lossy(&before),
                after: Note::lossy(&after),
            })));
        }
        changes.extend(self.forgotten(now, proposal.key.as_ref()));
        if let Some(key) = &proposal.key {
            changes.push(Change::Put(Record::Remembered(Remembered {
                key: key.clone(),
                request: proposal.request_hash(),
                revision: index,
                at: now,
                answer,
            })));
        }
        Outcome { result: Ok(answer), changes }
    }

    /// The remembered requests that are no longer to be: those that are over, and those that are too many.
    fn forgotten<'a>(
        &'a self,
        now: Timestamp,
        key: Option<&'a IdempotencyKey>,
    ) -> impl Iterator<Item = Change> + 'a {
        let over = (self.remembered.len() + 1).saturating_sub(REMEMBERED_MAX);
        let oldest = self.remembered.values().take(FORGOTTEN_AT_ONCE_MAX).enumerate();
        let goes = move |at: usize, oldest: &IdempotencyKey| {
            at < over || self.tables.remembered.get(oldest).is_none_or(|before| is_over(before, now))
        };
        oldest
            .filter(move |(at, oldest)| goes(*at, oldest) && Some(*oldest) != key)
            .map(|(_, oldest)| Change::Delete(Key::Remembered(oldest.clone())))
    }

    fn change(&mut self, change: Change) {
        let key = change.key();
        if let Some(before) = self.tables.get(&key) {
            self.digest.subtract(&key, &before.encode());
            if let Record::Remembered(before) = before {
                self.remembered.remove(&before.revision);
            }
        }
        if let Change::Put(record) = &change {
            self.digest.add(&key, &record.encode());
            if let Record::Remembered(remembered) = record {
                self.remembered.insert(remembered.revision, remembered.key.clone());
            }
        }
        self.tables.change(change);
    }
}

fn is_over(remembered: &Remembered, now: Timestamp) -> bool {
    now >= remembered.at.after(REMEMBERED_FOR)
}
