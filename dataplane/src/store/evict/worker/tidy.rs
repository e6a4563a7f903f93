//! Dropping the small things that would otherwise only grow, in rounds that go on from pass to pass and rest in between.

use super::super::super::Store;
use super::super::super::error::StoreError;

/// Answers that one pass looks at.
const ANSWERS_MAX: usize = 1_000;
/// Pause after a round, µs.
const REST_US: i64 = 24 * 3_600_000_000;
/// For so long nobody has fetched an answer that nobody is expected to want any more, µs.
const UNUSED_US: i64 = 30 * REST_US;

/// Where a round is.
#[derive(Debug, Default)]
pub(in super::super) struct Round {
    /// The next answer to look at; none between two rounds.
    next: Option<Vec<u8>>,
    /// When the next round may begin, µs since the epoch.
    from_us: i64,
}

pub(super) fn tidy(store: &Store, now_us: i64) -> Result<(), StoreError> {
    let mut round = store.inner.heat.memory.tidying.lock();
    if round.next.is_none() {
        // A clock that was set back does not put a round off for longer.
        if now_us < round.from_us && round.from_us <= now_us.saturating_add(REST_US) {
            return Ok(());
        }
        round.from_us = now_us.saturating_add(REST_US);
        store.drop_old_notes()?;
    }
    let from = round.next.take();
    round.next = store.drop_unused_answers(from, now_us.saturating_sub(UNUSED_US), ANSWERS_MAX)?;
    Ok(())
}
