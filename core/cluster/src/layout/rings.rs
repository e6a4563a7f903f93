//! Rings: undoing the moves that a plan can do without.
//!
//! Trimming a slot, or handing one on through a chain, decides slot by slot, and may move a replica where moving another one would
//! have done. Whatever plan moves less differs from this one by rings: each node on a ring hands one slot on and gets one, or keeps
//! one more, or one less, where its share lets it. So a plan without a ring that is worth it moves as little as any (the cycle
//! theorem of minimum-cost flows, Klein 1967); rings are found as Bellman and Ford find negative cycles.
//!
//! Invariant: every ring lessens what moves, and every slot keeps to the zone rule, every node to its share, as before.

#![expect(clippy::indexing_slicing, reason = "positions of nodes and slots are the board's own")]

use super::board::Board;
use super::path::Step;
use super::slot::Slot;

/// A slot that one node can hand to another, and what that adds to what moves: -1, 0 or 1.
#[derive(Clone, Copy)]
struct Hand {
    cost: i32,
    slot: Slot,
}

/// The cheapest hand of each node to each other one. The last number is a pool: who may have one more puts it there, and who can do
/// with one less need get nothing back.
struct Hands {
    count: usize,
    best: Vec<Option<Hand>>,
    worth: bool,
}

/// Hands slots on along rings until none is worth it.
pub(super) fn close_rings(board: &mut Board) {
    while let Some(ring) = Hands::of(board).ring() {
        for step in worth(board, ring) {
            board.swap(step.slot, step.from, step.to);
        }
    }
}

impl Hands {
    fn of(board: &Board) -> Self {
        let nodes = board.nodes.len();
        let count = nodes + 1;
        let mut hands = Self { count, best: vec![None; count * count], worth: false };
        for slot in Slot::all() {
            for from in board.slots[slot.index()].iter() {
                for to in 0..nodes {
                    hands.offer(board, Step { slot, from, to });
                }
            }
        }
        let free = Some(Hand { cost: 0, slot: Slot::FIRST });
        for (at, node) in board.nodes.iter().enumerate() {
            hands.best[at * count + nodes] = free.filter(|_| node.held < node.share.ceil);
            hands.best[nodes * count + at] = free.filter(|_| node.held > node.share.floor);
        }
        hands
    }

    fn offer(&mut self, board: &Board, step: Step) {
        let best = &mut self.best[step.from * self.count + step.to];
        let cost = cost(board, step);
        if best.is_none_or(|best| cost < best.cost) && board.may_swap(step.slot, step.from, step.to) {
            *best = Some(Hand { cost, slot: step.slot });
            self.worth |= cost < 0;
        }
    }

    /// A ring whose steps cost less than nothing together.
    fn ring(&self) -> Option<Vec<Step>> {
        let mut spent = vec![0; self.count];
        let mut came: Vec<Option<Step>> = vec![None; self.count];
        let mut cheaper = self.worth;
        while cheaper {
            cheaper = false;
            for from in 0..self.count {
                for to in 0..self.count {
                    let Some(hand) = self.best[from * self.count + to] else { continue };
                    if spent[from] + hand.cost < spent[to] {
                        spent[to] = spent[from] + hand.cost;
                        came[to] = Some(Step { slot: hand.slot, from, to });
                        cheaper = true;
                    }
                }
            }
            if let Some(ring) = closed(&came) {
                return Some(ring);
            }
        }
        None
    }
}

/// What a step adds to what moves.
fn cost(board: &Board, step: Step) -> i32 {
    let new = |node| i32::from(!board.is_home(step.slot, node));
    new(step.to) - new(step.from)
}

/// The ring, in order, that nodes came to be reached by, if they were reached in a ring: that is worth it, or the last of its nodes
/// would not have been reached anew.
fn closed(came: &[Option<Step>]) -> Option<Vec<Step>> {
    let mut seen = vec![usize::MAX; came.len()];
    for start in 0..came.len() {
        let mut at = start;
        while seen[at] == usize::MAX {
            seen[at] = start;
            let Some(step) = came[at] else { break };
            at = step.from;
        }
        if seen[at] == start && came[at].is_some() {
            let back = std::iter::successors(came[at], |step| came[step.from].filter(|step| step.to != at));
            let mut ring: Vec<Step> = back.collect();
            ring.reverse();
            return Some(ring);
        }
    }
    None
}

/// The part of a ring that is worth it and has no step in the way of another, without the pool.
///
/// Two steps with one slot may break the zone rule together, though each keeps to it. Then each of the givers can hand the slot to
/// the taker of the other one as well, which makes two rings of one; together they cost the same, so one of them is worth it.
fn worth(board: &Board, mut ring: Vec<Step>) -> Vec<Step> {
    let pool = board.nodes.len();
    let handed = |step: &Step| step.from != pool && step.to != pool;
    while let Some((first, second)) = crossing(board, &ring, handed) {
        let (one, other) = (ring[first], ring[second]);
        let mut inner = ring.split_off(first + 1);
        let rest = inner.split_off(second - first);
        inner.pop();
        inner.push(Step { to: one.to, ..other });
        ring.pop();
        ring.push(Step { to: other.to, ..one });
        ring.extend(rest);
        let total = |ring: &[Step]| -> i32 {
            ring.iter().filter(|step| handed(step)).map(|&step| cost(board, step)).sum()
        };
        if total(&inner) < total(&ring) {
            ring = inner;
        }
    }
    ring.retain(handed);
    ring
}

/// Places of two steps with one slot whose givers could each hand it to the other's taker.
fn crossing(board: &Board, ring: &[Step], handed: impl Fn(&Step) -> bool) -> Option<(usize, usize)> {
    let steps = || ring.iter().enumerate().filter(|(_, step)| handed(step));
    steps().find_map(|(first, one)| {
        let second = steps().skip_while(|(at, _)| *at <= first).find(|(_, other)| {
            one.slot == other.slot
                && board.may_swap(one.slot, one.from, other.to)
                && board.may_swap(one.slot, other.from, one.to)
        })?;
        Some((first, second.0))
    })
}
