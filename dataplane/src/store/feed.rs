//! Times of the index feed: strictly increasing, and never read past one that is still being written.
//!
//! Invariant: whoever has read the feed up to a time will never see an older entry appear, whatever the wall
//! clock does and however commits overlap.

use std::collections::BTreeSet;

use parking_lot::Mutex;

#[derive(Debug)]
struct State {
    last_us: i64,
    writing: BTreeSet<i64>,
}

/// Gives out the feed's times.
#[derive(Debug)]
pub(super) struct Feed {
    state: Mutex<State>,
}

/// A time given out; its entry counts as written when this is dropped.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    feed: &'a Feed,
    /// The time, µs since the epoch.
    pub(super) held_us: i64,
}

impl Feed {
    /// Continues after the newest entry that is stored.
    pub(super) fn after(last_us: i64) -> Self {
        Self { state: Mutex::new(State { last_us, writing: BTreeSet::new() }) }
    }

    /// Gives out a time, `now_us` unless the feed is already there.
    pub(super) fn begin(&self, now_us: i64) -> Slot<'_> {
        let mut state = self.state.lock();
        state.last_us = now_us.max(state.last_us.saturating_add(1));
        let held_us = state.last_us;
        state.writing.insert(held_us);
        Slot { feed: self, held_us }
    }

    /// Entries before this time are settled.
    pub(super) fn settled_before(&self) -> i64 {
        let state = self.state.lock();
        state.writing.first().copied().unwrap_or_else(|| state.last_us.saturating_add(1))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.feed.state.lock().writing.remove(&self.held_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_increase_even_when_the_clock_goes_back() {
        let feed = Feed::after(100);
        let times = [feed.begin(90).held_us, feed.begin(200).held_us, feed.begin(150).held_us];
        assert_eq!(times, [101, 200, 201]);
    }

    #[test]
    fn nothing_is_settled_past_an_unfinished_entry() {
        let feed = Feed::after(0);
        let first = feed.begin(10);
        let second = feed.begin(20);
        drop(second);
        assert_eq!(feed.settled_before(), 10);
        drop(first);
        assert_eq!(feed.settled_before(), 21);
    }
}
