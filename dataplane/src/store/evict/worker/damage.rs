//! Damage in the way of collecting garbage.
//!
//! Rewriting reads what it moves, and the database writes nothing more once that does not verify. So collecting waits: for
//! chunks that were taken out of service, until they are deleted, which takes the last of their readers; for
//! damage that stays because nothing can be fetched in its place, until everything verifies again; for what no
//! version tells of, until the next start. A read may have failed that would not fail again, so that comes after some attempts.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

use super::super::super::types::BlobId;
use super::super::super::{Inner, keys};
use super::super::heat::Heat;

/// Attempts to collect once more though what was met could not be found. Each that meets it again costs a walk over all that is stored.
const ATTEMPTS_MAX: u32 = 3;

/// What is known to be in the way.
#[derive(Debug, Default)]
pub(in super::super) struct Damage {
    /// Blobs that were taken out of service, and may still have chunks.
    leaving: Mutex<Vec<BlobId>>,
    /// Something that is damaged stays.
    stays: AtomicBool,
    /// It was looked for among what is being deleted.
    suspected: AtomicBool,
    /// Times that it was nowhere, and collecting went on.
    attempts: AtomicU32,
}

/// Where damage may be that is in no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super::super) enum Suspicion {
    /// In what is being deleted, and goes with it.
    Leaving,
    /// Nowhere: a read failed, and did not fail again.
    Passed,
    /// In what nothing tells of.
    Unknown,
}

/// Whether garbage can be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Free,
    /// Somebody still reads what is damaged.
    Waits,
    /// Not before what is damaged has gone.
    Closed,
}

impl Heat {
    /// Something that is damaged may be there, and stay.
    pub(in super::super::super) fn damage_stays(&self) {
        self.memory.damage.stays.store(true, Ordering::Relaxed);
    }

    /// All that versions tell of verifies, or was taken out of service.
    pub(in super::super::super) fn all_verifies(&self) {
        self.memory.damage.stays.store(false, Ordering::Relaxed);
    }

    /// A blob that is damaged was taken out of service.
    pub(in super::super::super) fn damage_leaves(&self, blob: BlobId) {
        let mut leaving = self.memory.damage.leaving.lock();
        if !leaving.contains(&blob) {
            leaving.push(blob);
        }
    }

    /// No version is damaged: it is in one of these, which are being deleted, or nobody knows where. To wait for the former helps once.
    pub(in super::super::super) fn suspect(&self, doomed: Vec<BlobId>) -> Suspicion {
        let damage = &self.memory.damage;
        if !doomed.is_empty() && !damage.suspected.swap(true, Ordering::Relaxed) {
            for blob in doomed {
                self.damage_leaves(blob);
            }
            return Suspicion::Leaving;
        }
        if damage.attempts.fetch_add(1, Ordering::Relaxed) < ATTEMPTS_MAX {
            return Suspicion::Passed;
        }
        Suspicion::Unknown
    }
}

impl Inner {
    /// Whether garbage can be collected now.
    pub(super) fn way(&self) -> Way {
        let damage = &self.heat.memory.damage;
        let is_off = self.heat.collects_nothing.load(Ordering::Relaxed);
        if is_off || damage.stays.load(Ordering::Relaxed) {
            return Way::Closed;
        }
        let mut leaving = damage.leaving.lock();
        // One whose marker cannot be read may be there.
        leaving.retain(|blob| !matches!(self.rocks.get("blob marker", &keys::transient(*blob)), Ok(None)));
        if leaving.is_empty() { Way::Free } else { Way::Waits }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::StoreError;
    use super::super::super::super::bed::{open, put};
    use super::*;

    #[test]
    fn a_read_that_failed_once_does_not_end_collecting() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        put(&store, 1, 1, 10);
        for attempt in 0..=ATTEMPTS_MAX {
            let met: Result<(), _> = Err(StoreError::corrupt("zip chunk", "a table cannot be read"));
            store.inner.note(met).expect_err("it was met");
            assert!(store.heal().expect("heal").quarantined.is_empty());
            let way = if attempt < ATTEMPTS_MAX { Way::Free } else { Way::Closed };
            assert_eq!(store.inner.way(), way, "attempt {attempt}");
        }
    }
}
