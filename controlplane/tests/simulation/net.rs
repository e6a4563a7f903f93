//! The network between members: delays, loses, doubles and reorders, and can be cut in each direction by itself.

use std::collections::{BTreeMap, BTreeSet};

use cluster::MemberId;

use super::rng::Rng;

/// How bad a network is; drawn for each run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) lost_permille: u64,
    pub(crate) doubled_permille: u64,
    pub(crate) delay_ms: u64,
    /// Messages in a thousand that take twenty times as long, and so are overtaken.
    pub(crate) slow_permille: u64,
}

pub(crate) struct Net {
    weather: Weather,
    cut: BTreeSet<(MemberId, MemberId)>,
    /// When the last message on a link that keeps order arrives.
    busy_until: BTreeMap<(MemberId, MemberId), u64>,
    keeps_order: bool,
}

impl Net {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let weather = Weather {
            lost_permille: [0, 5, 50, 200][usize::try_from(rng.below(4)).unwrap()],
            doubled_permille: [0, 10, 100][usize::try_from(rng.below(3)).unwrap()],
            delay_ms: [1, 3, 20][usize::try_from(rng.below(3)).unwrap()],
            slow_permille: [0, 20][usize::try_from(rng.below(2)).unwrap()],
        };
        Self { weather, cut: BTreeSet::new(), busy_until: BTreeMap::new(), keeps_order: rng.chance(500) }
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&mut self) {
        self.weather = Weather { lost_permille: 0, doubled_permille: 0, delay_ms: 2, slow_permille: 0 };
        self.cut.clear();
    }

    pub(crate) fn is_cut(&self, from: MemberId, to: MemberId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// When copies of a message that is sent now arrive.
    pub(crate) fn arrivals(&mut self, rng: &mut Rng, now: u64, from: MemberId, to: MemberId) -> Vec<u64> {
        if self.is_cut(from, to) || rng.chance(self.weather.lost_permille) {
            return Vec::new();
        }
        let copies = 1 + u64::from(rng.chance(self.weather.doubled_permille));
        (0..copies).map(|_| self.arrival(rng, now, from, to)).collect()
    }

    pub(crate) fn arrival(&mut self, rng: &mut Rng, now: u64, from: MemberId, to: MemberId) -> u64 {
        let slow = if rng.chance(self.weather.slow_permille) { 20 } else { 1 };
        let at = now + rng.between(1, self.weather.delay_ms) * slow;
        if !self.keeps_order {
            return at;
        }
        let last = self.busy_until.entry((from, to)).or_default();
        *last = at.max(*last + 1);
        *last
    }

    pub(crate) fn cut(&mut self, from: MemberId, to: MemberId) {
        self.cut.insert((from, to));
    }

    /// Cuts something, or makes it whole.
    pub(crate) fn change(&mut self, rng: &mut Rng, members: &[MemberId]) {
        let Some(one) = rng.pick(members) else { return };
        match rng.below(6) {
            // One member alone.
            0 => self.cut_between(&[one], members),
            // Two groups.
            1 => {
                let (left, right): (Vec<_>, Vec<_>) = members.iter().partition(|_| rng.chance(500));
                self.cut_between(&left, &right);
            }
            // A bridge: everybody hears one member, and nobody else.
            2 => {
                for a in members.iter().filter(|a| **a != one) {
                    for b in members.iter().filter(|b| **b != one && *b != a) {
                        self.cut.insert((*a, *b));
                    }
                }
            }
            // One way only: it is heard and hears nothing, or the other way round.
            3 => {
                let hears = rng.chance(500);
                for other in members.iter().filter(|other| **other != one) {
                    self.cut.insert(if hears { (one, *other) } else { (*other, one) });
                }
            }
            _ => self.cut.clear(),
        }
    }

    fn cut_between(&mut self, left: &[MemberId], right: &[MemberId]) {
        for a in left {
            for b in right.iter().filter(|b| *b != a) {
                self.cut.insert((*a, *b));
                self.cut.insert((*b, *a));
            }
        }
    }
}
