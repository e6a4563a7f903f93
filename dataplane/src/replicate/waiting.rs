//! What is to be done about versions, in a moment or later again: telling replicas of them, and taking those that failed.
//!
//! Pure: time is handed in. A version waits a moment before it is offered first, since its files come one after the other; what fails is due
//! later, again and again. What finds no room is forgotten: copies of what can be fetched again are a convenience.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Items that wait.
const WAITING_MAX: usize = 65_536;
/// How long an item waits at first.
const SETTLE: Duration = Duration::from_millis(500);
/// How long it waits after a failure, at first and at most: together with the half minute for which a node is left alone it is less than a minute
/// until what a partition kept apart comes together.
const AGAIN_MIN: Duration = Duration::from_secs(2);
const AGAIN_MAX: Duration = Duration::from_secs(15);
/// Failures that are counted.
const FAILURES_MAX: u32 = 16;

/// See the head of this file. Each item waits once.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    due: BTreeSet<(Instant, u64)>,
    items: HashMap<u64, Due<T>>,
    numbers: HashMap<T, u64>,
    next: u64,
}

/// An item that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due<T> {
    pub(super) item: T,
    /// How often it has failed.
    pub(super) failures: u32,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { due: BTreeSet::new(), items: HashMap::new(), numbers: HashMap::new(), next: 0 }
    }
}

impl<T: Clone + Eq + Hash> Waiting<T> {
    /// `item` came at `now`, and is due when it has settled.
    pub(super) fn add(&mut self, item: T, now: Instant) {
        self.put(Due { item, failures: 0 }, now + SETTLE);
    }

    /// What failed at `now` waits for longer than the last time.
    pub(super) fn again(&mut self, due: Due<T>, now: Instant) {
        let pause = (AGAIN_MIN * 2_u32.saturating_pow(due.failures)).min(AGAIN_MAX);
        let failures = due.failures.saturating_add(1).min(FAILURES_MAX);
        self.put(Due { item: due.item, failures }, now + pause);
    }

    /// At most `count` of those that are due at `now`; they wait no longer.
    pub(super) fn take(&mut self, now: Instant, count: usize) -> Vec<Due<T>> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let Some(&(at, number)) = self.due.first() else { break };
            if at > now {
                break;
            }
            self.due.pop_first();
            if let Some(due) = self.items.remove(&number) {
                self.numbers.remove(&due.item);
                taken.push(due);
            }
        }
        taken
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    fn put(&mut self, due: Due<T>, at: Instant) {
        if self.numbers.contains_key(&due.item) || self.items.len() >= WAITING_MAX {
            return;
        }
        self.next += 1;
        self.due.insert((at, self.next));
        self.numbers.insert(due.item.clone(), self.next);
        self.items.insert(self.next, due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: [u64; 7] = [2, 4, 8, 15, 15, 15, 15];

    #[test]
    fn an_item_is_due_once_and_again_after_a_failure_each_time_later() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        waiting.add(1, start);
        waiting.add(1, start);
        waiting.add(2, start + SETTLE);
        assert!(waiting.take(start, 10).is_empty(), "it settles");
        let mut now = start + SETTLE;
        let mut due = waiting.take(now, 10);
        assert_eq!(due, [Due { item: 1, failures: 0 }]);
        assert_eq!(waiting.take(now + SETTLE, 10), [Due { item: 2, failures: 0 }]);
        for (failures, pause) in (1..).zip(PAUSES) {
            waiting.again(due.remove(0), now);
            now += Duration::from_secs(pause - 1);
            assert!(waiting.take(now, 10).is_empty(), "{pause} s have not passed");
            now += Duration::from_secs(1);
            due = waiting.take(now, 10);
            assert_eq!(due, [Due { item: 1, failures }]);
        }
        assert!(waiting.len() == 0 && waiting.numbers.is_empty() && waiting.due.is_empty());
    }

    #[test]
    fn there_is_a_bound() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for number in 0..WAITING_MAX + 10 {
            waiting.add(number, now);
        }
        assert_eq!(waiting.len(), WAITING_MAX);
        assert_eq!(waiting.take(now + SETTLE, 7).len(), 7);
    }
}
