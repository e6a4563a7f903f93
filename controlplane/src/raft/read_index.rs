//! Reads that want a state as new as any that was ever answered: rounds in which a majority confirms the leader.
//!
//! All reads that came while a round was under way share the next one. A round that is lost, with a message or with
//! its leader, is asked again under another name, so that no late answer is taken for a newer one's. Invariant: a
//! read's index was confirmed by a majority after the read was asked for.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _};

use super::effect::ReadId;

/// Bytes of a round's name: the peer's own number, drawn at its start, and a counter.
const NAME_BYTES: usize = 16;

#[derive(Debug)]
pub(super) struct Reads {
    /// Other in each start of each member.
    nonce: u64,
    counter: u64,
    /// Not yet in a round.
    waiting: Vec<ReadId>,
    round: Option<Round>,
    /// By the index that has to be applied first.
    confirmed: BTreeMap<u64, Vec<ReadId>>,
    retry_ticks: usize,
}

#[derive(Debug)]
struct Round {
    counter: u64,
    reads: Vec<ReadId>,
    ticks_left: usize,
}

impl Reads {
    pub(super) fn new(nonce: u64, retry_ticks: usize) -> Self {
        Self { nonce, counter: 0, waiting: Vec::new(), round: None, confirmed: BTreeMap::new(), retry_ticks }
    }

    pub(super) fn len(&self) -> usize {
        let in_round = self.round.as_ref().map_or(0, |round| round.reads.len());
        self.waiting.len() + in_round + self.confirmed.values().map(Vec::len).sum::<usize>()
    }

    pub(super) fn add(&mut self, read: ReadId) {
        self.waiting.push(read);
    }

    /// Nobody waits any longer.
    pub(super) fn forget(&mut self, read: ReadId) {
        self.waiting.retain(|other| *other != read);
        if let Some(round) = &mut self.round {
            round.reads.retain(|other| *other != read);
        }
        for reads in self.confirmed.values_mut() {
            reads.retain(|other| *other != read);
        }
    }

    /// One tick passed. A round that is not answered goes back to those who wait.
    pub(super) fn tick(&mut self) {
        if let Some(round) = &mut self.round {
            round.ticks_left = round.ticks_left.saturating_sub(1);
            if round.ticks_left == 0 {
                self.restart();
            }
        }
    }

    /// Whoever was asked leads no more.
    pub(super) fn restart(&mut self) {
        if let Some(mut round) = self.round.take() {
            round.reads.append(&mut self.waiting);
            self.waiting = round.reads;
        }
    }

    /// Begins the next round if there is to be one: its name, for raft.
    pub(super) fn begin(&mut self) -> Option<Vec<u8>> {
        if self.round.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.counter += 1;
        let reads = std::mem::take(&mut self.waiting);
        self.round = Some(Round { counter: self.counter, reads, ticks_left: self.retry_ticks });
        let mut name = Vec::with_capacity(NAME_BYTES);
        name.put_u64(self.nonce);
        name.put_u64(self.counter);
        Some(name)
    }

    /// A majority confirmed the leader after the round of this name began.
    pub(super) fn confirmed(&mut self, mut name: &[u8], index: u64) {
        if name.len() != NAME_BYTES || name.get_u64() != self.nonce {
            return;
        }
        let counter = name.get_u64();
        if let Some(round) = self.round.take_if(|round| round.counter == counter) {
            self.confirmed.entry(index).or_default().extend(round.reads);
        }
    }

    /// Those that may read a state at `applied`.
    pub(super) fn readable(&mut self, applied: u64) -> Vec<ReadId> {
        let later = self.confirmed.split_off(&(applied + 1));
        std::mem::replace(&mut self.confirmed, later).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ReadId = ReadId(1);
    const TWO: ReadId = ReadId(2);

    #[test]
    fn reads_share_rounds_but_join_none_that_has_begun() {
        let mut reads = Reads::new(7, 5);
        reads.add(ONE);
        let first = reads.begin().unwrap();
        reads.add(TWO);
        assert_eq!(reads.begin(), None);
        reads.confirmed(&first, 10);
        assert_eq!(reads.readable(9), []);
        assert_eq!(reads.readable(10), [ONE]);
        let second = reads.begin().unwrap();
        reads.confirmed(&first, 3);
        assert_eq!(reads.readable(20), [], "an answer to the round before");
        reads.confirmed(&second, 12);
        assert_eq!(reads.readable(20), [TWO]);
        assert_eq!(reads.len(), 0);
    }

    #[test]
    fn a_lost_round_is_asked_again_under_another_name() {
        let mut reads = Reads::new(7, 2);
        reads.add(ONE);
        let first = reads.begin().unwrap();
        reads.tick();
        assert_eq!(reads.begin(), None);
        reads.tick();
        let second = reads.begin().unwrap();
        reads.confirmed(&first, 1);
        assert_eq!(reads.readable(100), []);
        reads.confirmed(&second, 1);
        assert_eq!(reads.readable(100), [ONE]);
    }

    #[test]
    fn another_peers_answer_is_none() {
        let mut reads = Reads::new(7, 5);
        reads.add(ONE);
        reads.begin().unwrap();
        let mut before_restart = Reads::new(8, 5);
        before_restart.add(TWO);
        reads.confirmed(&before_restart.begin().unwrap(), 1);
        reads.confirmed(b"", 1);
        assert_eq!(reads.readable(100), []);
        reads.forget(ONE);
        assert_eq!(reads.len(), 0);
    }
}
