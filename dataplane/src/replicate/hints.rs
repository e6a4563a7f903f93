//! Versions that replicas have still to be told of.
//!
//! Pure: time is handed in. A version waits a moment before it is offered first, since its files come one after the other; a
//! replica that cannot be reached hears of it later, again and again. What finds no room is forgotten: copies of what can be fetched again
//! are a convenience.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use gomod::ModuleVersion;

/// Versions that wait.
const HINTS_MAX: usize = 65_536;
/// How long a version waits at first.
const SETTLE: Duration = Duration::from_millis(500);
/// How long it waits after a failure, at first and at most.
const AGAIN_MIN: Duration = Duration::from_secs(2);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Hints {
    due: BTreeSet<(Instant, u64)>,
    waiting: HashMap<u64, Hint>,
    numbers: HashMap<ModuleVersion, u64>,
    next: u64,
}

#[derive(Debug)]
struct Hint {
    version: ModuleVersion,
    due: Instant,
    failures: u32,
}

/// A version that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) version: ModuleVersion,
    failures: u32,
}

impl Hints {
    /// `version` was stored at `now`.
    pub(super) fn add(&mut self, version: ModuleVersion, now: Instant) {
        self.put(Hint { version, due: now + SETTLE, failures: 0 });
    }

    /// What could not be told at `now` waits for longer.
    pub(super) fn again(&mut self, due: Due, now: Instant) {
        let pause = (AGAIN_MIN * 2_u32.saturating_pow(due.failures)).min(AGAIN_MAX);
        let failures = due.failures.saturating_add(1).min(8);
        self.put(Hint { version: due.version, due: now + pause, failures });
    }

    /// At most `count` of those that are due at `now`; they wait no longer.
    pub(super) fn take(&mut self, now: Instant, count: usize) -> Vec<Due> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let Some(&(due, number)) = self.due.first() else { break };
            if due > now {
                break;
            }
            self.due.pop_first();
            if let Some(hint) = self.waiting.remove(&number) {
                self.numbers.remove(&hint.version);
                taken.push(Due { version: hint.version, failures: hint.failures });
            }
        }
        taken
    }

    /// How many wait.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.waiting.len()
    }

    fn put(&mut self, hint: Hint) {
        if self.numbers.contains_key(&hint.version) || self.waiting.len() >= HINTS_MAX {
            return;
        }
        self.next += 1;
        self.due.insert((hint.due, self.next));
        self.numbers.insert(hint.version.clone(), self.next);
        self.waiting.insert(self.next, hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gomod::{ModulePath, Version};

    fn version(number: usize) -> ModuleVersion {
        let module = ModulePath::parse("a.example/m").unwrap();
        ModuleVersion::new(module, Version::parse(&format!("v1.{number}.0")).unwrap()).unwrap()
    }

    #[test]
    fn a_version_is_told_once_and_again_after_a_failure() {
        let (mut hints, start) = (Hints::default(), Instant::now());
        hints.add(version(1), start);
        hints.add(version(1), start);
        hints.add(version(2), start + SETTLE);
        assert!(hints.take(start, 10).is_empty(), "it settles");
        let due = hints.take(start + SETTLE, 10);
        assert_eq!(due.iter().map(|due| &due.version).collect::<Vec<_>>(), [&version(1)]);
        let mut now = start + SETTLE;
        let mut due = due.into_iter().next().unwrap();
        let mut before = Duration::ZERO;
        for _ in 0..10 {
            hints.again(due.clone(), now);
            let wait = (0..).map(|tenths| Duration::from_millis(100 * tenths));
            let wait = wait
                .take(400)
                .find(|wait| hints.due.iter().any(|(at, _)| *at <= now + *wait) && *wait >= before);
            now += wait.unwrap().max(AGAIN_MIN);
            let all = hints.take(now + AGAIN_MAX, 10);
            due = all.into_iter().find(|due| due.version == version(1)).unwrap();
            before = Duration::ZERO;
        }
        assert_eq!(hints.len(), 0);
    }

    #[test]
    fn there_is_a_bound() {
        let (mut hints, now) = (Hints::default(), Instant::now());
        for number in 0..HINTS_MAX + 10 {
            hints.add(version(number), now);
        }
        assert_eq!(hints.len(), HINTS_MAX);
        assert_eq!(hints.take(now + SETTLE, 7).len(), 7);
    }
}
