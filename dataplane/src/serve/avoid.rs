//! Which origin gave bad content for which version a while ago, or broke off in the middle of it, so that the next fetch asks
//! another first.
//!
//! Invariants: bounded in number; what an origin did is forgotten after a while, since most of what is refused is damage
//! that somebody repairs, and most of what breaks is whole the next time.

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
const BAD_CONTENT_LIFETIME: Duration = Duration::from_mins(10);
/// How long an origin that broke off is asked last, so that whoever tries again does not meet the same.
const BROKEN_OFF_LIFETIME: Duration = Duration::from_mins(1);

/// See the head of this file.
pub(crate) struct Avoided {
    by_version: Cache<ModuleVersion, Arc<[Bad]>>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Bad {
    origin: OriginId,
    until: Instant,
}

impl Avoided {
    /// Avoids nobody yet: for origins that gave bad content.
    pub(crate) fn after_bad_content(clock: Arc<dyn Clock>) -> Self {
        Self { by_version: Cache::new(VERSIONS_MAX), lifetime: BAD_CONTENT_LIFETIME, clock }
    }

    /// The same for origins that broke off.
    pub(crate) fn after_breaking_off(clock: Arc<dyn Clock>) -> Self {
        Self { lifetime: BROKEN_OFF_LIFETIME, ..Self::after_bad_content(clock) }
    }

    /// Origins not to ask for `version`.
    pub(crate) fn of(&self, version: &ModuleVersion) -> Vec<OriginId> {
        self.still(version, self.clock.monotonic()).map(|bad| bad.origin).collect()
    }

    /// `origin` gave bad content for `version`, or broke off in the middle of it.
    pub(crate) fn add(&self, version: &ModuleVersion, origin: &OriginId) {
        let now = self.clock.monotonic();
        let others = self.still(version, now).filter(|bad| bad.origin != *origin);
        let bad = Bad { origin: origin.clone(), until: now + self.lifetime };
        self.by_version.insert(version.clone(), others.chain([bad]).collect());
    }

    /// What `version` was held against was wrong: all may be asked again.
    pub(crate) fn forgive(&self, version: &ModuleVersion) {
        self.by_version.remove(version);
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
        let avoided = Avoided::after_bad_content(Arc::new(ManualClock::new(0)));
        let origin = OriginId::new(0, "bad.example");
        avoided.add(&one, &origin);
        avoided.add(&one, &origin);
        assert_eq!(avoided.of(&one), [origin]);
        assert!(avoided.of(&other).is_empty());
    }

    #[test]
    fn each_is_welcome_again_after_its_own_time() {
        let clock = Arc::new(ManualClock::new(0));
        let avoided = Avoided::after_bad_content(clock.clone());
        let (early, late) = (OriginId::new(0, "early.example"), OriginId::new(1, "late.example"));
        let version = version("v1.0.0");
        avoided.add(&version, &early);
        clock.advance(BAD_CONTENT_LIFETIME / 2);
        avoided.add(&version, &late);
        assert_eq!(avoided.of(&version), [early, late.clone()]);
        clock.advance(BAD_CONTENT_LIFETIME / 2);
        assert_eq!(avoided.of(&version), [late]);
        clock.advance(BAD_CONTENT_LIFETIME / 2);
        assert!(avoided.of(&version).is_empty());
    }

    #[test]
    fn who_broke_off_is_welcome_again_sooner() {
        let clock = Arc::new(ManualClock::new(0));
        let broken_off = Avoided::after_breaking_off(clock.clone());
        let (origin, version) = (OriginId::new(0, "broken.example"), version("v1.0.0"));
        broken_off.add(&version, &origin);
        assert_eq!(broken_off.of(&version), [origin]);
        clock.advance(BROKEN_OFF_LIFETIME);
        assert!(broken_off.of(&version).is_empty());
    }

    #[test]
    fn a_scan_does_not_grow_it_without_bound() {
        let avoided = Avoided::after_bad_content(Arc::new(ManualClock::new(0)));
        for number in 0..10 * VERSIONS_MAX {
            avoided.add(&version(&format!("v1.0.{number}")), &OriginId::new(0, "bad.example"));
        }
        assert!(avoided.by_version.len() <= VERSIONS_MAX);
    }
}
