//! The replicated truth on this member: `core/cluster`'s state as Raft's state machine, and what readers see of it.
//!
//! Two copies: the one that commands are applied to lives on Raft's thread; readers have another, which follows when a batch is
//! on disk. Invariant: nobody reads what a crash could take back.

use std::sync::Arc;

use cluster::{Change, Generation, Outcome, Proposal, Record, Revision, State};
use parking_lot::RwLock;

use crate::raft::{self, Applied, Change as Write, Digest, Machine, MachineError, Publication, RequestId};
use crate::watch::Hub;

/// What readers see of the truth. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    state: Arc<RwLock<State>>,
    applied: Arc<tokio::sync::watch::Sender<u64>>,
    left_behind: Arc<tokio::sync::watch::Sender<bool>>,
}

impl Shared {
    /// Reads. What is asked for is to be copied out: nothing is applied meanwhile.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read())
    }

    /// How often the cluster was recovered from a lost majority; none while there is no state yet.
    pub(crate) fn recovery(&self) -> Option<Generation> {
        self.read(|state| state.tables().cluster.as_ref().map(|cluster| cluster.recovery))
    }

    /// The cluster goes on without this member: what it knows is no longer the truth. Said once.
    pub(crate) fn leave_behind(&self) {
        if !self.left_behind.send_replace(true) {
            tracing::error!(
                "the cluster was recovered without this member, which serves nobody any more: stop it, and remove its data directory"
            );
        }
    }

    /// Whether the cluster goes on without this member.
    pub(crate) fn is_left_behind(&self) -> bool {
        *self.left_behind.borrow()
    }

    /// Returns when the cluster goes on without this member.
    pub(crate) async fn until_left_behind(&self) {
        let mut left_behind = self.left_behind.subscribe();
        // The sender lives as long as `self`.
        let _ = left_behind.wait_for(|left_behind| *left_behind).await;
    }

    /// The index that readers have come to.
    pub(crate) fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Returns when readers have come to `index`, at once if they have.
    pub(crate) async fn reached(&self, index: u64) {
        let mut applied = self.applied.subscribe();
        // The sender lives as long as `self`.
        let _ = applied.wait_for(|applied| *applied >= index).await;
    }

    /// Follows the index that readers have come to.
    pub(crate) fn subscribe(&self) -> tokio::sync::watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn publish(&self, index: u64, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write());
        self.applied.send_replace(index);
    }
}

/// The state machine. It lives on Raft's thread.
#[derive(Debug)]
pub(crate) struct Truth {
    state: State,
    /// What was applied and is not on disk yet.
    pending: Vec<(u64, Vec<Change>)>,
    shared: Shared,
    hub: Arc<Hub>,
}

impl Truth {
    /// An empty truth that will tell `shared` and `hub`.
    pub(crate) fn new(shared: Shared, hub: Arc<Hub>) -> Self {
        Self { state: State::default(), pending: Vec::new(), shared, hub }
    }

    /// The state after everything that was applied, on disk or not.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

impl Machine for Truth {
    type Answer = Outcome;

    fn restore(
        &self,
        index: u64,
        records: &mut dyn Iterator<Item = raft::Record>,
    ) -> Result<Self, MachineError> {
        let record = |(key, value): raft::Record| {
            Record::decode(&key, &value).map_err(|error| MachineError::Record { detail: chain(&error) })
        };
        let records = records.map(record).collect::<Result<Vec<_>, _>>()?;
        let state = State::load(Revision::new(index), records)
            .map_err(|error| MachineError::Record { detail: chain(&error) })?;
        Ok(Self { state, pending: Vec::new(), shared: self.shared.clone(), hub: Arc::clone(&self.hub) })
    }

    fn apply(
        &mut self,
        index: u64,
        _request: RequestId,
        command: &[u8],
    ) -> Result<Applied<Outcome>, MachineError> {
        let proposal =
            Proposal::decode(command).map_err(|error| MachineError::Command { detail: chain(&error) })?;
        let outcome = self.state.apply(Revision::new(index), &proposal);
        let changes = outcome.changes.iter().map(write).collect();
        self.state.commit(Revision::new(index), outcome.changes.iter().cloned());
        self.pending.push((index, outcome.changes.clone()));
        Ok(Applied { answer: outcome, changes })
    }

    fn digest(&self) -> Digest {
        Digest(self.state.digest().to_bytes())
    }

    fn record_count(&self) -> u64 {
        self.state.tables().len() as u64
    }

    fn published(&mut self, publication: Publication<'_>) {
        match publication {
            Publication::Changes { index, .. } => {
                let pending = std::mem::take(&mut self.pending);
                self.shared.publish(index, |state| {
                    for (index, changes) in &pending {
                        state.commit(Revision::new(*index), changes.iter().cloned());
                    }
                    state.commit(Revision::new(index), []);
                });
                self.hub.publish(index, &pending);
            }
            Publication::Whole { index } => {
                self.pending.clear();
                self.state.commit(Revision::new(index), []);
                let whole = self.state.clone();
                self.shared.publish(index, |state| *state = whole);
                self.hub.restart(index);
            }
        }
    }
}

/// A change as bytes.
fn write(change: &Change) -> Write {
    match change {
        Change::Put(record) => Write::Put { key: record.key().encode(), value: record.encode() },
        Change::Delete(key) => Write::Delete { key: key.encode() },
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    common::error_chain::ErrorChain::new(error).to_string()
}
