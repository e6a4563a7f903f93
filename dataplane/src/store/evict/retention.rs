//! Which versions a module keeps: pure. "The newest N" and "accessed within D days".

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use gomod::Version;

/// Rules of retention; a version stays if any of the rules that are set keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many versions of each module whose zip is or was held: module graphs ask for the `.mod` of many a version that nobody
    /// builds. One of which no zip was ever held stays while it is newer than the last of these; where there are not that many, while it is
    /// one of the newest of all.
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

/// What the rules go by of a version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// Which it is.
    pub(super) version: &'a Version,
    /// Whether its zip is held, or was.
    pub(super) had_zip: bool,
    /// Since when it is there, µs since the epoch.
    pub(super) since_us: i64,
}

/// The least of them first.
type Heap = BinaryHeap<Reverse<Version>>;

/// The newest versions of a module, as many as are kept, as they come by in any order: in memory for so many, however many there are.
#[derive(Debug)]
pub(super) struct Newest {
    count: usize,
    /// Of those whose zip is or was held.
    with_zip: Heap,
    /// Of all.
    all: Heap,
}

impl Newest {
    pub(super) fn new(keep: Keep) -> Self {
        let count = keep.newest.unwrap_or(0) as usize;
        Self { count, with_zip: Heap::new(), all: Heap::new() }
    }

    /// Takes up one.
    pub(super) fn see(&mut self, known: Known<'_>) {
        take_up(&mut self.all, self.count, known.version);
        if known.had_zip {
            take_up(&mut self.with_zip, self.count, known.version);
        }
    }

    /// Whether one is among them; see [`Keep::newest`].
    fn has(&self, known: Known<'_>) -> bool {
        let goes_by_zips = known.had_zip || self.with_zip.len() == self.count;
        let newest = if goes_by_zips { &self.with_zip } else { &self.all };
        newest.peek().is_some_and(|Reverse(least)| known.version >= least)
    }
}

/// Takes `version` up if it is one of the newest `count`.
fn take_up(newest: &mut Heap, count: usize, version: &Version) {
    if newest.len() < count {
        newest.push(Reverse(version.clone()));
    } else if let Some(mut least) = newest.peek_mut()
        && *version > least.0
    {
        *least = Reverse(version.clone());
    }
}

/// Whether no rule keeps a version. When it was last asked for, `used_us` tells, only where the rest does not say enough. Times are µs since
/// the epoch.
pub(super) fn is_expired<E>(
    keep: Keep,
    newest: &Newest,
    known: Known<'_>,
    now_us: i64,
    used_us: impl FnOnce() -> Result<i64, E>,
) -> Result<bool, E> {
    if !keep.any() || newest.has(known) {
        return Ok(false);
    }
    let Some(days) = keep.days else { return Ok(true) };
    let first_us = now_us.saturating_sub(i64::from(days).saturating_mul(DAY_US));
    Ok(known.since_us < first_us && used_us()? < first_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).expect("version")
    }

    /// One that came on day 1.
    fn known(version: &Version, had_zip: bool) -> Known<'_> {
        Known { version, had_zip, since_us: DAY_US }
    }

    fn gone(keep: Keep) -> Vec<&'static str> {
        // When each was last asked for; day 100 is today.
        let versions = [("v1.9.0", 10), ("v1.10.0", 20), ("v1.2.0", 99), ("v2.0.0-rc.1", 1)];
        let mut newest = Newest::new(keep);
        for (text, _) in versions {
            newest.see(known(&version(text), true));
        }
        let is_gone = |&(text, day): &(&str, i64)| {
            let used = || Ok::<_, std::convert::Infallible>(day * DAY_US);
            let Ok(gone) = is_expired(keep, &newest, known(&version(text), true), 100 * DAY_US, used);
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
                newest.see(known(&version(&format!("v1.{minor}.0")), true));
                assert!(newest.with_zip.len() <= 3 && newest.all.len() <= 3);
            }
            let found = (0..7).filter(|minor| newest.has(known(&version(&format!("v1.{minor}.0")), true)));
            assert_eq!(found.collect::<Vec<_>>(), [4, 5, 6], "{order:?}");
        }
    }

    /// What of these leaves when the newest two are kept.
    fn gone_of(with_zip: &[&'static str], without: &[&'static str]) -> Vec<&'static str> {
        let keep = Keep { newest: Some(2), days: None };
        let with_zip = with_zip.iter().map(|text| (*text, version(text), true));
        let all: Vec<_> = with_zip.chain(without.iter().map(|text| (*text, version(text), false))).collect();
        let mut newest = Newest::new(keep);
        for (_, version, had_zip) in &all {
            newest.see(known(version, *had_zip));
        }
        let mut gone = Vec::new();
        for (text, version, had_zip) in &all {
            let used = || Ok::<_, std::convert::Infallible>(0);
            let Ok(is_gone) = is_expired(keep, &newest, known(version, *had_zip), 100 * DAY_US, used);
            if is_gone {
                gone.push(*text);
            }
        }
        gone
    }

    #[test]
    fn what_never_had_a_zip_here_pushes_out_none() {
        assert!(gone_of(&["v1.0.0", "v1.1.0"], &["v1.2.0", "v1.3.0", "v1.4.0"]).is_empty());
        assert!(gone_of(&["v1.0.0"], &["v1.1.0", "v1.2.0"]).is_empty());
    }

    #[test]
    fn what_never_had_a_zip_here_stays_while_it_is_newer_than_the_last_that_has() {
        let with_zip = ["v1.0.0", "v1.2.0", "v1.4.0"];
        assert_eq!(gone_of(&with_zip, &["v1.1.0", "v1.3.0", "v1.5.0"]), ["v1.0.0", "v1.1.0"]);
        // Too few have one to go by.
        assert_eq!(gone_of(&["v1.0.0"], &["v1.1.0", "v1.2.0", "v1.3.0"]), ["v1.1.0"]);
        assert_eq!(gone_of(&[], &["v1.1.0", "v1.0.0", "v1.2.0"]), ["v1.0.0"]);
    }

    #[test]
    fn what_is_new_is_kept_without_asking_when_it_was_used() {
        let keep = Keep { newest: None, days: Some(30) };
        let version = version("v1.0.0");
        let known = Known { version: &version, had_zip: true, since_us: 90 * DAY_US };
        let used = || Err("it was asked");
        assert_eq!(is_expired(keep, &Newest::new(keep), known, 100 * DAY_US, used), Ok(false));
    }
}
