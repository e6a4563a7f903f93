//! Which versions a module keeps: pure. "The newest N" and "accessed within D days".

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

/// A version as retention sees it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) version: Version,
    /// When it was last asked for, or first seen if never, µs since the epoch.
    pub(super) last_us: i64,
}

const DAY_US: i64 = 86_400_000_000;

/// The versions of one module that no rule keeps.
pub(super) fn expired(mut versions: Vec<Candidate>, keep: Keep, now_us: i64) -> Vec<Version> {
    if !keep.any() {
        return Vec::new();
    }
    versions.sort_by(|a, b| b.version.cmp(&a.version));
    let newest = keep.newest.unwrap_or(0) as usize;
    let since =
        keep.days.map_or(i64::MAX, |days| now_us.saturating_sub(i64::from(days).saturating_mul(DAY_US)));
    let old = versions.into_iter().skip(newest).filter(|candidate| candidate.last_us < since);
    old.map(|candidate| candidate.version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(versions: &[(&str, i64)]) -> Vec<Candidate> {
        let candidate = |&(text, days): &(&str, i64)| Candidate {
            version: Version::parse(text).expect("version"),
            last_us: days * DAY_US,
        };
        versions.iter().map(candidate).collect()
    }

    fn gone(keep: Keep) -> Vec<String> {
        // Day 100 is today.
        let versions = candidates(&[("v1.9.0", 10), ("v1.10.0", 20), ("v1.2.0", 99), ("v2.0.0-rc.1", 1)]);
        let mut gone: Vec<String> =
            expired(versions, keep, 100 * DAY_US).iter().map(ToString::to_string).collect();
        gone.sort();
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
}
