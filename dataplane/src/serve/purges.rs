//! Purges of late, by which whoever has taken a copy knows that its module was purged while that was on its way.
//!
//! Invariant: a purge is noted before it removes anything, and looked for after a copy was stored. Whichever of the two came last, the copy
//! goes.

use std::collections::VecDeque;
use std::time::Instant;

use gomod::{ModulePath, ModuleVersion, Version};

/// Purges that are remembered one by one. Of older ones only the time is.
const REMEMBERED_MAX: usize = 1024;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Purges {
    recent: VecDeque<Purge>,
    /// When the last one of those was that are not remembered any more.
    older: Option<Instant>,
}

#[derive(Debug)]
struct Purge {
    module: ModulePath,
    /// All of them, without one.
    version: Option<Version>,
    at: Instant,
}

impl Purges {
    /// All of `module`, or one version of it, is about to be removed.
    pub(super) fn note(&mut self, module: &ModulePath, version: Option<&Version>, at: Instant) {
        if self.recent.len() == REMEMBERED_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.older = self.older.max(Some(oldest.at));
        }
        self.recent.push_back(Purge { module: module.clone(), version: version.cloned(), at });
    }

    /// Whether `version` may have been purged since `begun`. What is only feared costs one more copy.
    pub(super) fn may_be_of(&self, version: &ModuleVersion, begun: Instant) -> bool {
        self.older.is_some_and(|older| older >= begun)
            || self.recent.iter().any(|purge| {
                purge.at >= begun
                    && purge.module == version.module
                    && purge.version.as_ref().is_none_or(|purged| *purged == version.version)
            })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn version(number: usize) -> ModuleVersion {
        let module = ModulePath::parse("purged.example/m").unwrap();
        ModuleVersion::new(module, Version::parse(&format!("v1.{number}.0")).unwrap()).unwrap()
    }

    #[test]
    fn a_purge_concerns_copies_that_began_before_it() {
        let (mut purges, start) = (Purges::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let (one, other) = (version(1), version(2));
        purges.note(&one.module, Some(&one.version), after(5));
        assert!(purges.may_be_of(&one, after(4)) && purges.may_be_of(&one, after(5)));
        assert!(!purges.may_be_of(&one, after(6)), "it came from a node that was purged");
        assert!(!purges.may_be_of(&other, after(4)));
        purges.note(&one.module, None, after(9));
        assert!(purges.may_be_of(&other, after(6)), "all of the module");
    }

    #[test]
    fn too_many_purges_concern_everything_that_began_before_the_last_forgotten_one() {
        let (mut purges, start) = (Purges::default(), Instant::now());
        for number in 0..=REMEMBERED_MAX {
            let purged = version(number);
            purges.note(&purged.module, Some(&purged.version), start + Duration::from_secs(number as u64));
        }
        assert_eq!(purges.recent.len(), REMEMBERED_MAX);
        assert!(purges.may_be_of(&version(0), start), "the forgotten one");
        assert!(purges.may_be_of(&version(9999), start), "feared");
        assert!(!purges.may_be_of(&version(9999), start + Duration::from_secs(1)));
    }
}
