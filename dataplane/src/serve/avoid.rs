//! Which origin gave bad content for which version a while ago, so that the next fetch asks another first.
//!
//! Invariants: bounded in number; what an origin did is forgotten after a while, since most of what is refused is damage
//! that somebody repairs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clock::Clock;
use gomod::ModuleVersion;
use quick_cache::sync::Cache;

use crate::upstream::OriginId;

/// Versions remembered; for each at most as many origins as the chain has.
const VERSIONS_MAX: usize = 1024;
/// How long an origin is passed over. A file that was damaged is repaired in hours, but a chain with one origin less is a
/// risk of its own.
const LIFETIME: Duration = Duration::from_mins(10);

/// See the head of this file.
pub(crate) struct Avoided {
    by_version: Cache<ModuleVersion, Arc<[Bad]>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Bad {
    origin: OriginId,
    until: Instant,
}

impl Avoided {
    /// Avoids nobody yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { by_version: Cache::new(VERSIONS_MAX), clock }
    }

    /// Origins not to ask for `version`.
    pub(crate) fn of(&self, version: &ModuleVersion) -> Vec<OriginId> {
        self.still(version, self.clock.monotonic()).map(|bad| bad.origin).collect()
    }

    /// `origin` gave bad content for `version`.
    pub(crate) fn add(&self, version: &ModuleVersion, origin: &OriginId) {
        let now = self.clock.monotonic();
        let others = self.still(version, now).filter(|bad| bad.origin != *origin);
        let bad = Bad { origin: origin.clone(), until: now + LIFETIME };
        self.by_version.insert(version.clone(), others.chain([bad]).collect());
    }

    fn still(&self, version: &ModuleVersion, now: Instant) -> impl Iterator<Item = Bad> + use<> {
        let bad = self.by_version.get(version).map(|bad| bad.to_vec()).unwrap_or_default();
        bad.into_iter().filter(move |bad| now < bad.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::clock::ManualClock;
    use gomod::{ModulePath, Version};

    fn version(text: &str) -> ModuleVersion {
        ModuleVersion::new(ModulePath::parse("a.example/m").unwrap(), Version::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn origins_are_avoided_per_version() {
        let (one, other) = (version("v1.0.0"), version("v1.0.1"));
        let avoided = Avoided::new(Arc::new(ManualClock::new(0)));
        let origin = OriginId::new(0, "bad.example");
        avoided.add(&one, &origin);
        avoided.add(&one, &origin);
        assert_eq!(avoided.of(&one), [origin]);
        assert!(avoided.of(&other).is_empty());
    }

    #[test]
    fn each_is_welcome_again_after_its_own_time() {
        let clock = Arc::new(ManualClock::new(0));
        let avoided = Avoided::new(clock.clone());
        let (early, late) = (OriginId::new(0, "early.example"), OriginId::new(1, "late.example"));
        let version = version("v1.0.0");
        avoided.add(&version, &early);
        clock.advance(LIFETIME / 2);
        avoided.add(&version, &late);
        assert_eq!(avoided.of(&version), [early, late.clone()]);
        clock.advance(LIFETIME / 2);
        assert_eq!(avoided.of(&version), [late]);
        clock.advance(LIFETIME / 2);
        assert!(avoided.of(&version).is_empty());
    }

    #[test]
    fn a_scan_does_not_grow_it_without_bound() {
        let avoided = Avoided::new(Arc::new(ManualClock::new(0)));
        for number in 0..10 * VERSIONS_MAX {
            avoided.add(&version(&format!("v1.0.{number}")), &OriginId::new(0, "bad.example"));
        }
        assert!(avoided.by_version.len() <= VERSIONS_MAX);
    }
}
