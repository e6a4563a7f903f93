//! Bringing home: undoing moves that a plan can do without.
//!
//! Trimming a slot, or handing one on through a chain, decides slot by slot, and may move a replica where moving another one would
//! have done for both. So each replica that left a node is looked at once more: if the node can have it back, and what it gets too
//! much by that can be handed on, at no cost, to the node that lost it, all of them change hands.
//!
//! Invariant: every change lessens what moves, and every node holds its share as before.

#![expect(clippy::indexing_slicing, reason = "positions of nodes and slots are the board's own")]

use super::board::Board;
use super::path::{Cost, Step, cheapest};
use super::slot::Slot;

/// Brings back what can be brought back.
pub(super) fn bring_home(board: &mut Board) {
    let mut changed = true;
    while changed {
        changed = false;
        for node in 0..board.nodes.len() {
            while bring_one(board, node) {
                changed = true;
            }
        }
    }
}

/// Brings one replica back to a node that held it.
fn bring_one(board: &mut Board, node: usize) -> bool {
    let mut lenders: Vec<Option<Slot>> = vec![None; board.nodes.len() + 1];
    for slot in Slot::all().filter(|&slot| board.is_home(slot, node) && !board.holds(node, slot)) {
        for at in board.slots[slot.index()].iter() {
            if !board.is_home(slot, at) && board.may_swap(slot, at, node) {
                lenders[at].get_or_insert(slot);
            }
        }
    }
    if lenders.iter().all(Option::is_none) {
        return false;
    }
    // The last number is a pool: who may have one more can put it there, and who can do with one less need get nothing back.
    let pool = board.nodes.len();
    let ring = cheapest(
        pool + 1,
        |at| at == node,
        |at| lenders[at].is_some(),
        |from, cost, away| match cost {
            Cost::Paid => Vec::new(),
            Cost::Free => hand_on(board, from, pool, away),
        },
    );
    let Some(mut ring) = ring else { return false };
    let Some((lender, slot)) = ring.first().and_then(|last| Some((last.to, lenders[last.to]?))) else {
        return false;
    };
    ring.retain(|step| step.from != pool && step.to != pool);
    ring.push(Step { slot, from: lender, to: node });
    apply(board, &ring)
}

/// To whom a node can hand something at no cost: a slot that this plan gave it, or its place in the pool.
fn hand_on(board: &Board, from: usize, pool: usize, away: &mut Vec<usize>) -> Vec<(usize, Slot)> {
    let mut reached = Vec::new();
    if from == pool {
        away.retain(|&to| {
            let spare = board.nodes[to].held > board.nodes[to].share.floor;
            if spare {
                reached.push((to, Slot::FIRST));
            }
            !spare
        });
        return reached;
    }
    if board.nodes[from].held < board.nodes[from].share.ceil
        && let Ok(place) = away.binary_search(&pool)
    {
        away.remove(place);
        reached.push((pool, Slot::FIRST));
    }
    reached.extend(board.hand_on(from, false, away));
    reached
}

/// Hands slots on along a ring; not at all if a slot that is in it twice would break the zone rule.
fn apply(board: &mut Board, ring: &[Step]) -> bool {
    for (done, step) in ring.iter().enumerate() {
        if !board.may_swap(step.slot, step.from, step.to) || !board.holds(step.from, step.slot) {
            for step in ring.iter().take(done).rev() {
                board.swap(step.slot, step.to, step.from);
            }
            return false;
        }
        board.swap(step.slot, step.from, step.to);
    }
    true
}
