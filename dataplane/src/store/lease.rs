//! Who is reading which blob, so that deletion waits for readers. In memory only.
//!
//! Invariant: a blob's chunks are handed out for deletion when it is doomed and nobody holds a lease. After that no lease on it is asked for
//! while nothing names it; a write whose outcome is not known may have named it after all, so that whoever deletes looks once more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use super::types::BlobId;

/// A blob that nothing names any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doomed {
    pub(super) blob: BlobId,
    /// How many chunks it has at most; `None` when an interrupted run did not get to tell.
    pub(super) chunks: Option<u32>,
}

#[derive(Debug, Default)]
struct Use {
    leases: usize,
    doomed: Option<Doomed>,
}

#[derive(Debug, Default)]
struct State {
    uses: HashMap<BlobId, Use, foldhash::fast::RandomState>,
    /// Doomed blobs without readers.
    deletable: Vec<Doomed>,
}

/// All leases of one store.
#[derive(Debug, Default)]
pub(super) struct Leases {
    state: Mutex<State>,
}

/// Keeps a blob's chunks from being deleted for as long as it lives. Cheap to clone, and dropping it never
/// touches the disk.
#[derive(Debug)]
pub struct BlobLease {
    leases: Arc<Leases>,
    blob: BlobId,
}

impl BlobLease {
    /// The blob it is for.
    pub fn blob(&self) -> BlobId {
        self.blob
    }
}

impl Clone for BlobLease {
    fn clone(&self) -> Self {
        self.leases.take(self.blob)
    }
}

impl Drop for BlobLease {
    fn drop(&mut self) {
        let mut state = self.leases.state.lock();
        let Entry::Occupied(mut entry) = state.uses.entry(self.blob) else { return };
        entry.get_mut().leases = entry.get().leases.saturating_sub(1);
        if entry.get().leases == 0 {
            let doomed = entry.remove().doomed;
            state.deletable.extend(doomed);
        }
    }
}

impl Leases {
    /// Takes a lease. It protects from deletions that begin later; the caller must look afterwards whether the
    /// blob is still named.
    pub(super) fn take(self: &Arc<Self>, blob: BlobId) -> BlobLease {
        self.state.lock().uses.entry(blob).or_default().leases += 1;
        BlobLease { leases: Arc::clone(self), blob }
    }

    /// Says that nothing names a blob any more.
    pub(super) fn doom(&self, doomed: Doomed) {
        let mut state = self.state.lock();
        match state.uses.get_mut(&doomed.blob) {
            Some(uses) => uses.doomed = Some(doomed),
            None => state.deletable.push(doomed),
        }
    }

    /// A blob whose chunks can be deleted now.
    pub(super) fn next_deletable(&self) -> Option<Doomed> {
        self.state.lock().deletable.pop()
    }

    /// Leaves a blob that nothing names to its last reader; whether it has one.
    pub(super) fn defer(&self, doomed: Doomed) -> bool {
        let mut state = self.state.lock();
        let reader = state.uses.get_mut(&doomed.blob);
        reader.map(|uses| uses.doomed = Some(doomed)).is_some()
    }

    /// Hands a blob back whose deletion failed.
    pub(super) fn put_back(&self, doomed: Doomed) {
        self.state.lock().deletable.push(doomed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOOMED: Doomed = Doomed { blob: BlobId(1), chunks: Some(3) };

    #[test]
    fn a_doomed_blob_waits_for_its_last_reader() {
        let leases = Arc::new(Leases::default());
        let first = leases.take(BlobId(1));
        let second = first.clone();
        leases.doom(DOOMED);
        assert_eq!(leases.next_deletable(), None);
        drop(first);
        assert_eq!(leases.next_deletable(), None);
        drop(second);
        assert_eq!(leases.next_deletable(), Some(DOOMED));
        assert_eq!(leases.next_deletable(), None);
        assert!(leases.state.lock().uses.is_empty());
    }

    #[test]
    fn what_is_read_again_waits_for_its_last_reader() {
        let leases = Arc::new(Leases::default());
        assert!(!leases.defer(DOOMED));
        let reader = leases.take(BlobId(1));
        assert!(leases.defer(DOOMED));
        assert_eq!(leases.next_deletable(), None);
        drop(reader);
        assert_eq!(leases.next_deletable(), Some(DOOMED));
    }

    #[test]
    fn a_blob_nobody_reads_is_deletable_at_once() {
        let leases = Arc::new(Leases::default());
        drop(leases.take(BlobId(1)));
        assert_eq!(leases.next_deletable(), None);
        leases.doom(DOOMED);
        assert_eq!(leases.next_deletable(), Some(DOOMED));
    }
}
