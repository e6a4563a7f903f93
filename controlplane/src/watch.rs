//! Changes for those who follow the truth: data nodes, and whoever watches the status.
//!
//! The last changes are kept, so that a follower that was away goes on where it was; one that was away for longer gets the
//! whole state. Invariant: a follower that applies what it gets in order has, at every revision, what the truth had.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cluster::Change;
use cluster::view::change_for_nodes;
use parking_lot::RwLock;
use tokio::sync::watch;

/// Revisions with changes for nodes that are kept.
const CHANGES_MAX: usize = 4096;
/// Bytes of them that are kept.
const CHANGES_BYTES_MAX: usize = 16 << 20;

/// What one revision changed of what nodes are told, encoded once for all of them.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The revision.
    pub(crate) revision: u64,
    /// Records as they are since then: key and value.
    pub(crate) puts: Arc<[(Bytes, Bytes)]>,
    /// Keys of records that are gone.
    pub(crate) deletes: Arc<[Bytes]>,
}

impl Told {
    fn of(revision: u64, changes: &[Change]) -> Option<Self> {
        let mut puts: Vec<(Bytes, Bytes)> = Vec::new();
        let mut deletes: Vec<Bytes> = Vec::new();
        for change in changes.iter().filter_map(change_for_nodes) {
            let key = Bytes::from(change.key().encode());
            // A later change of the same record is the one that holds.
            puts.retain(|(other, _)| *other != key);
            deletes.retain(|other| *other != key);
            match change {
                Change::Put(record) => puts.push((key, record.encode().into())),
                Change::Delete(_) => deletes.push(key),
            }
        }
        (!puts.is_empty() || !deletes.is_empty()).then(|| Self {
            revision,
            puts: puts.into(),
            deletes: deletes.into(),
        })
    }

    fn bytes(&self) -> usize {
        let puts: usize = self.puts.iter().map(|(key, value)| key.len() + value.len()).sum();
        puts + self.deletes.iter().map(Bytes::len).sum::<usize>()
    }
}

/// What a follower gets next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Changes, in order; none if nothing concerned nodes. The follower is at `revision` afterwards.
    Changes {
        /// The changes.
        changes: Vec<Told>,
        /// The revision afterwards.
        revision: u64,
    },
    /// What came after the follower's revision is not kept: it needs the whole state.
    Resync,
}

#[derive(Debug, Default)]
struct Kept {
    changes: VecDeque<Told>,
    bytes: usize,
    /// Nothing is missing after this revision.
    complete_after: u64,
    /// The latest revision.
    latest: u64,
}

/// Keeps changes and wakes followers.
#[derive(Debug)]
pub(crate) struct Hub {
    kept: RwLock<Kept>,
    latest: watch::Sender<u64>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { kept: RwLock::default(), latest: watch::Sender::new(0) }
    }
}

impl Hub {
    /// The truth is at `index`; these are its latest changes, in order.
    pub(crate) fn publish(&self, index: u64, changes: &[(u64, Vec<Change>)]) {
        {
            let mut kept = self.kept.write();
            for told in changes.iter().filter_map(|(revision, changes)| Told::of(*revision, changes)) {
                kept.bytes += told.bytes();
                kept.changes.push_back(told);
            }
            while kept.changes.len() > CHANGES_MAX || kept.bytes > CHANGES_BYTES_MAX {
                let Some(dropped) = kept.changes.pop_front() else { break };
                kept.bytes -= dropped.bytes();
                kept.complete_after = dropped.revision;
            }
            kept.latest = index;
        }
        self.latest.send_replace(index);
    }

    /// The truth was replaced as a whole.
    pub(crate) fn restart(&self, index: u64) {
        *self.kept.write() =
            Kept { changes: VecDeque::new(), bytes: 0, complete_after: index, latest: index };
        self.latest.send_replace(index);
    }

    /// What a follower that is at `revision` gets now.
    pub(crate) fn after(&self, revision: u64) -> Next {
        let kept = self.kept.read();
        if revision < kept.complete_after || revision > kept.latest {
            return Next::Resync;
        }
        let first = kept.changes.partition_point(|told| told.revision <= revision);
        Next::Changes { changes: kept.changes.range(first..).cloned().collect(), revision: kept.latest }
    }

    /// Wakes at each revision.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use cluster::{Epoch, Key, NodeName};

    use super::*;

    fn gone(revision: u64) -> (u64, Vec<Change>) {
        (revision, vec![Change::Delete(Key::Layout(Epoch::new(revision)))])
    }

    fn revisions(hub: &Hub, after: u64) -> Option<(Vec<u64>, u64)> {
        match hub.after(after) {
            Next::Changes { changes, revision } => {
                Some((changes.iter().map(|told| told.revision).collect(), revision))
            }
            Next::Resync => None,
        }
    }

    #[test]
    fn a_follower_goes_on_where_it_was() {
        let hub = Hub::default();
        hub.restart(5);
        hub.publish(9, &[gone(7), gone(9)]);
        assert_eq!(revisions(&hub, 5), Some((vec![7, 9], 9)));
        assert_eq!(revisions(&hub, 7), Some((vec![9], 9)));
        assert_eq!(revisions(&hub, 9), Some((vec![], 9)));
        assert_eq!(revisions(&hub, 4), None, "what was before is not kept");
        assert_eq!(revisions(&hub, 10), None, "it has seen what was never true here");
    }

    #[test]
    fn what_is_not_for_nodes_moves_the_revision_only() {
        let hub = Hub::default();
        let sync = Change::Delete(Key::Sync(NodeName::parse("data-1").unwrap()));
        hub.publish(3, &[(3, vec![sync])]);
        assert_eq!(revisions(&hub, 0), Some((vec![], 3)));
    }

    #[test]
    fn only_the_last_changes_are_kept() {
        let hub = Hub::default();
        let last = CHANGES_MAX as u64 + 10;
        hub.publish(last, &(1..=last).map(gone).collect::<Vec<_>>());
        assert_eq!(revisions(&hub, 9), None);
        assert_eq!(revisions(&hub, 10).unwrap().0.len(), CHANGES_MAX);
    }
}
