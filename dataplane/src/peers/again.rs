//! Having a second node fetch what the first one could not: its way to the origins may be another. Where all of them are in trouble, one request
//! in ten at most asks twice, and the others are told at once, so that nodes do not bury each other when origins fail or a burst ends.

use super::budget::{Budget, Share, Stake};
use super::directory::Peers;

/// What a node that has just started may try, and a tenth of what is asked later.
const AGAIN: Share = Share { of_firsts: 0.1, saved_max: 20.0, owed_max: 20.0 };

/// What is spent on it, to begin with.
pub(super) const fn budget() -> Budget {
    Budget::new(AGAIN)
}

impl Peers {
    /// A node is asked to fetch, the first one for this request.
    pub fn fetches_first(&self) {
        self.again.lock().first();
    }

    /// Whether a second node may be asked to, after the first one could not. Say what came of it.
    pub fn may_fetch_again(&self) -> Option<Stake> {
        self.again.lock().wager().inspect(|_| self.families().count("again"))
    }

    /// Whether it had an answer.
    pub fn fetched_again(&self, stake: Stake, is_answer: bool) {
        let mut again = self.again.lock();
        if is_answer { again.won(stake) } else { again.lost(stake) }
    }
}
