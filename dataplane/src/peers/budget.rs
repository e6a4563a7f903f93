//! How many requests to nodes there may be beyond the first ones, so that trouble does not multiply them.
//!
//! Pure. A second request costs one; each first one earns a share of it. A *wager* is a request to another node in the place of a first one:
//! it is a second one only if nothing comes of it, so that the stake for it is the part of these that came to nothing of late. Where others have
//! what is asked for, any number may be asked at once. If then nobody had any of it, no more than a bound is owed for it, or there would be none
//! for hours.

/// The share of the newest wager in what comes of them.
const NEWEST: f64 = 0.2;

/// What may be spent.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Second requests in proportion to first ones.
    pub of_firsts: f64,
    /// How many may be saved up; so many are there at first.
    pub saved_max: f64,
    /// How many may be owed.
    pub owed_max: f64,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Budget {
    share: Share,
    saved: f64,
    /// The part of wagers that came to nothing.
    in_vain: f64,
}

/// What was put by for a wager, until it is known what comes of it.
#[derive(Debug)]
#[must_use]
pub struct Stake(f64);

impl Budget {
    /// A full one.
    pub const fn new(share: Share) -> Self {
        Self { share, saved: share.saved_max, in_vain: 0.0 }
    }

    /// A request is made: earns a share of a second one.
    pub fn first(&mut self) {
        self.save(self.share.of_firsts);
    }

    /// Whether a second one may be made; then it is paid for.
    pub fn second(&mut self) -> bool {
        let may = self.saved >= 1.0;
        if may {
            self.saved -= 1.0;
        }
        may
    }

    /// Whether another node may be asked instead.
    pub fn wager(&mut self) -> Option<Stake> {
        let may = self.saved > 0.0 && self.saved >= self.in_vain;
        may.then(|| {
            self.saved -= self.in_vain;
            Stake(self.in_vain)
        })
    }

    /// It had what it was asked for: a first request, and earns what one does.
    pub fn won(&mut self, Stake(put_by): Stake) {
        self.save(put_by + self.share.of_firsts);
        self.in_vain *= 1.0 - NEWEST;
    }

    /// It had not: a second request.
    pub fn lost(&mut self, Stake(put_by): Stake) {
        self.saved = (self.saved + put_by - 1.0).max(-self.share.owed_max);
        self.in_vain += NEWEST * (1.0 - self.in_vain);
    }

    fn save(&mut self, more: f64) {
        self.saved = (self.saved + more).min(self.share.saved_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share { of_firsts: 0.05, saved_max: 5.0, owed_max: 5.0 };

    #[test]
    fn second_requests_are_one_of_twenty() {
        let mut budget = Budget::new(SHARE);
        let second = (0..10_000).filter(|_| {
            budget.first();
            budget.second()
        });
        let second = second.count();
        assert!((490..=505).contains(&second), "{second}");
    }

    #[test]
    fn asking_around_a_slow_node_costs_nothing_where_others_have_it_and_one_of_twenty_where_nobody_has() {
        let mut budget = Budget::new(SHARE);
        let mut seconds = 0;
        while budget.second() {
            seconds += 1;
            budget.first();
        }
        assert_eq!(seconds, 5);
        for _ in 0..1_000 {
            let at_once: Vec<_> = (0..50).map(|_| budget.wager().expect("everybody has it")).collect();
            for stake in at_once {
                budget.won(stake);
            }
        }
        let mut in_vain = 0;
        for _ in 0..2_500 {
            let at_once: Vec<_> = (0..8).filter_map(|_| budget.wager()).collect();
            in_vain += at_once.len();
            for stake in at_once {
                budget.lost(stake);
            }
            for _ in 0..4 {
                budget.first();
            }
        }
        assert!((490..=505).contains(&in_vain), "{in_vain}");
        let waited = (0..100).find_map(|waited| {
            budget.first();
            Some((waited, budget.wager()?))
        });
        let (waited, stake) = waited.expect("somebody asks again");
        assert!(waited <= 20, "{waited}: before long");
        budget.won(stake);
        assert!(budget.wager().is_some(), "and the next one at once, when it was there");
    }

    #[test]
    fn a_burst_that_nobody_could_answer_is_soon_paid_for() {
        let mut budget = Budget::new(SHARE);
        let at_once: Vec<_> = (0..1_000).filter_map(|_| budget.wager()).collect();
        assert_eq!(at_once.len(), 1_000);
        for stake in at_once {
            budget.lost(stake);
        }
        assert!(!budget.second() && budget.wager().is_none());
        let firsts = (1..1_000).find(|_| {
            budget.first();
            budget.second()
        });
        let firsts = firsts.expect("it is paid for");
        assert!((110..=130).contains(&firsts), "{firsts}");
    }
}
