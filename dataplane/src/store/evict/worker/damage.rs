//! Damage in the way of collecting garbage.
//!
//! Rewriting reads what it moves, and the database writes nothing more once that does not verify. So collecting waits: for
//! chunks that were taken out of service, until they are deleted, which takes the last of their readers; for
//! damage that stays because nothing can be fetched in its place, until everything verifies again; for what no
//! version tells of, until the next start.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::super::super::types::BlobId;
use super::super::super::{Inner, keys};
use super::super::heat::Heat;

/// What is known to be in the way.
#[derive(Debug, Default)]
pub(in super::super) struct Damage {
    /// Blobs that were taken out of service, and may still have chunks.
    leaving: Mutex<Vec<BlobId>>,
    /// Something that is damaged stays.
    stays: AtomicBool,
    /// It was looked for among what is being deleted.
    suspected: AtomicBool,
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

    /// No version is damaged: it is in one of these, which are being deleted, or nobody knows where. Whether it is
    /// waited for the former; that helps once.
    pub(in super::super::super) fn suspect(&self, doomed: Vec<BlobId>) -> bool {
        if doomed.is_empty() || self.memory.damage.suspected.swap(true, Ordering::Relaxed) {
            return false;
        }
        for blob in doomed {
            self.damage_leaves(blob);
        }
        true
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
