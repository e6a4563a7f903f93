//! A fixed number of locks that stand for any number of names.

use std::hash::{BuildHasher as _, Hash};

use parking_lot::{Mutex, MutexGuard};

/// Locks in one set.
const STRIPES: usize = 256;

/// Locks by hash of a name: two names may share one, which costs waiting, never correctness.
pub(super) struct Stripes {
    hasher: foldhash::fast::RandomState,
    locks: Box<[Mutex<()>]>,
}

impl Stripes {
    pub(super) fn new() -> Self {
        let locks = (0..STRIPES).map(|_| Mutex::new(())).collect();
        Self { hasher: foldhash::fast::RandomState::default(), locks }
    }

    /// Locks one name.
    pub(super) fn lock(&self, name: &impl Hash) -> Option<MutexGuard<'_, ()>> {
        self.locks.get(self.stripe(name)).map(Mutex::lock)
    }

    /// Locks several names, in an order that no two callers can block each other with.
    pub(super) fn lock_all<T: Hash>(&self, names: &[T]) -> Vec<MutexGuard<'_, ()>> {
        let mut stripes: Vec<usize> = names.iter().map(|name| self.stripe(name)).collect();
        stripes.sort_unstable();
        stripes.dedup();
        stripes.into_iter().filter_map(|stripe| self.locks.get(stripe)).map(Mutex::lock).collect()
    }

    fn stripe(&self, name: &impl Hash) -> usize {
        (self.hasher.hash_one(name) % STRIPES as u64) as usize
    }
}

impl std::fmt::Debug for Stripes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stripes").finish_non_exhaustive()
    }
}
