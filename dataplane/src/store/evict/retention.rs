//! Which versions a module keeps: pure. "The newest N" and "accessed within D days".

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use gomod::Version;

/// Rules of retention; a version stays if any of the rules that are set keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many versions of each module.
    pub newest: Option<u32>,
    /// Versions asked for within so many days.
    pub days: Option<u32>,
}

impl Keep {
    /// Whether there is any rule; without one everything stays.
    pub fn any(self) -> bool {
        self.newest.is_some() || self.days.is_some()
    }
}

const DAY_US: i64 = 86_400_000_000;

/// The newest versions of a module, as many as are kept, as they come by in any order: in memory for so many, however many there are.
#[derive(Debug)]
pub(super) struct Newest {
    count: usize,
    /// The least of them first.
    versions: BinaryHeap<Reverse<Version>>,
}

impl Newest {
    pub(super) fn new(keep: Keep) -> Self {
        Self { count: keep.newest.unwrap_or(0) as usize, versions: BinaryHeap::new() }
    }

    /// Takes up one.
    pub(super) fn see(&mut self, version: &Version) {
        if self.versions.len() < self.count {
            self.versions.push(Reverse(version.clone()));
        } else if let Some(mut least) = self.versions.peek_mut()
            && *version > least.0
        {
            *least = Reverse(version.clone());
        }
    }

    /// Whether one is among them.
    fn has(&self, version: &Version) -> bool {
        self.versions.peek().is_some_and(|Reverse(least)| version >= least)
    }
}

/// Whether no rule keeps a version, which is there since `since_us`. When it was last asked for, `used_us` tells, only where the rest does not
/// say enough. Times are µs since the epoch.
pub(super) fn is_expired<E>(
    keep: Keep,
    newest: &Newest,
    version: &Version,
    now_us: i64,
    since_us: i64,
    used_us: impl FnOnce() -> Result<i64, E>,
) -> Result<bool, E> {
    if !keep.any() || newest.has(version) {
        return Ok(false);
    }
    let Some(days) = keep.days else { return Ok(true) };
    let first_us = now_us.saturating_sub(i64::from(days).saturating_mul(DAY_US));
    Ok(since_us < first_us && used_us()? < first_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).expect("version")
    }

    fn gone(keep: Keep) -> Vec<&'static str> {
        // When each was last asked for; day 100 is today, and they came on day 1.
        let versions = [("v1.9.0", 10), ("v1.10.0", 20), ("v1.2.0", 99), ("v2.0.0-rc.1", 1)];
        let mut newest = Newest::new(keep);
        for (text, _) in versions {
            newest.see(&version(text));
        }
        let is_gone = |&(text, day): &(&str, i64)| {
            let used = || Ok::<_, std::convert::Infallible>(day * DAY_US);
            let Ok(gone) = is_expired(keep, &newest, &version(text), 100 * DAY_US, DAY_US, used);
            gone
        };
        let mut gone: Vec<_> =
            versions.into_iter().filter(|version| is_gone(version)).map(|(text, _)| text).collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn without_rules_all_stay() {
        assert!(gone(Keep::default()).is_empty());
    }

    #[test]
    fn the_newest_by_version_stay() {
        assert_eq!(gone(Keep { newest: Some(2), days: None }), ["v1.2.0", "v1.9.0"]);
        assert!(gone(Keep { newest: Some(9), days: None }).is_empty());
    }

    #[test]
    fn the_lately_used_stay() {
        assert_eq!(gone(Keep { newest: None, days: Some(30) }), ["v1.10.0", "v1.9.0", "v2.0.0-rc.1"]);
    }

    #[test]
    fn a_time_beyond_all_reckoning_keeps_everything() {
        assert!(gone(Keep { newest: None, days: Some(u32::MAX) }).is_empty());
    }

    #[test]
    fn either_rule_keeps() {
        assert_eq!(gone(Keep { newest: Some(2), days: Some(30) }), ["v1.9.0"]);
    }

    #[test]
    fn the_newest_are_found_in_any_order_and_one_by_one() {
        let keep = Keep { newest: Some(3), days: None };
        for order in [[5, 1, 4, 2, 3, 6, 0], [0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]] {
            let mut newest = Newest::new(keep);
            for minor in order {
                newest.see(&version(&format!("v1.{minor}.0")));
                assert!(newest.versions.len() <= 3);
            }
            let found = (0..7).filter(|minor| newest.has(&version(&format!("v1.{minor}.0"))));
            assert_eq!(found.collect::<Vec<_>>(), [4, 5, 6], "{order:?}");
        }
    }

    #[test]
    fn what_is_new_is_kept_without_asking_when_it_was_used() {
        let keep = Keep { newest: None, days: Some(30) };
        let expired =
            is_expired(keep, &Newest::new(keep), &version("v1.0.0"), 100 * DAY_US, 90 * DAY_US, || {
                Err("it was asked")
            });
        assert_eq!(expired, Ok(false));
    }
}
