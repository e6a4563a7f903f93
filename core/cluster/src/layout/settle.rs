//! Settling: moving replicas, and then ownership, from nodes that have too much to nodes that have too little, in as few moves
//! as there can be.
//!
//! A node is full above the upper of the two numbers beside its share, short below the lower. What can be mended by handing a
//! slot straight over is; where the zone rule forbids that, the shortest chain of nodes is found that can each hand one on. The
//! chains are augmenting paths of the flow from slots over zones to nodes, so that if every node can have its share, it gets it.
//!
//! Invariant: nothing moves unless a node comes nearer to its share by it, so that settling what is settled changes nothing.

#![expect(clippy::indexing_slicing, reason = "positions of nodes and slots are the board's own")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::board::{Board, Node};
use super::fair::{Claim, Group, Share, shares};
use super::path::{Cost, Step, cheapest};
use super::seats::Seats;
use super::slot::{SLOTS, Slot};

/// Moves replicas until every node has its share, or nothing more can be done.
pub(super) fn settle_replicas(board: &mut Board) {
    // What this plan has placed costs nothing to place elsewhere. Only when that is exhausted are replicas moved that were at home.
    for payable in [false, true] {
        // What is over must go somewhere: first to those who need it, then to those who may have it. Only then is what is still
        // lacking taken from those who could keep it.
        for (wanted, can_give) in
            [(floor as fn(&Node) -> u32, over as fn(&Node) -> bool), (ceil, over), (floor, above)]
        {
            for node in 0..board.nodes.len() {
                take(board, node, payable, wanted, can_give);
            }
        }
        while let Some(chain) = chain(board, payable, over, |node| node.held < node.share.ceil)
            .or_else(|| chain(board, payable, above, |node| node.held < node.share.floor))
        {
            for step in chain {
                board.swap(step.slot, step.from, step.to);
            }
        }
    }
}

fn floor(node: &Node) -> u32 {
    node.share.floor
}

fn ceil(node: &Node) -> u32 {
    node.share.ceil
}

/// Holds more than it should.
fn over(node: &Node) -> bool {
    node.held > node.share.ceil
}

/// Could do with one less.
fn above(node: &Node) -> bool {
    node.held > node.share.floor
}

/// Hands slots straight to a node from such that can give, up to what it wants; those it draws most come first.
fn take(board: &mut Board, to: usize, payable: bool, wanted: fn(&Node) -> u32, can_give: fn(&Node) -> bool) {
    if board.nodes[to].held >= wanted(&board.nodes[to]) || !board.nodes.iter().any(can_give) {
        return;
    }
    let drawn: Vec<_> = Slot::all()
        .filter(|&slot| giver(board, slot, to, payable, can_give).is_some())
        .map(|slot| Reverse((board.score(slot, to), slot)))
        .collect();
    let mut drawn = BinaryHeap::from(drawn);
    while board.nodes[to].held < wanted(&board.nodes[to])
        && let Some(Reverse((_, slot))) = drawn.pop()
    {
        if let Some(from) = giver(board, slot, to, payable, can_give) {
            board.swap(slot, from, to);
        }
    }
}

/// The replica of a slot that can best be given to a node.
fn giver(board: &Board, slot: Slot, to: usize, payable: bool, can_give: fn(&Node) -> bool) -> Option<usize> {
    if !board.may_enter(slot, to) {
        return None;
    }
    let givers = board.slots[slot.index()].iter().filter(|&at| {
        can_give(&board.nodes[at])
            && (payable || !board.is_paid(slot, at, to))
            && board.may_swap(slot, at, to)
    });
    givers.max_by_key(|&at| {
        let excess = i64::from(board.nodes[at].held) - i64::from(board.nodes[at].share.ceil);
        (!board.is_paid(slot, at, to), excess, Reverse(at))
    })
}

/// The chain of swaps, the fewest of them paid, by which a source gives one and a sink gets one.
fn chain(
    board: &Board,
    payable: bool,
    source: fn(&Node) -> bool,
    sink: fn(&Node) -> bool,
) -> Option<Vec<Step>> {
    if !board.nodes.iter().any(source) || !board.nodes.iter().any(sink) {
        return None;
    }
    let is = |wanted: fn(&Node) -> bool| move |at: usize| wanted(&board.nodes[at]);
    cheapest(board.nodes.len(), is(source), is(sink), |from, cost, away| {
        let paid = cost == Cost::Paid;
        if paid && !payable { Vec::new() } else { board.hand_on(from, paid, away) }
    })
}

/// Lets replicas of a slot change places until every node owns its share, by weight, of what it holds.
pub(super) fn settle_owners(board: &mut Board) {
    let shares = owner_shares(board);
    let mut owned = vec![Vec::new(); board.nodes.len()];
    for slot in Slot::all() {
        if let Some(owner) = board.slots[slot.index()].iter().next() {
            owned[owner].push(slot);
        }
    }
    loop {
        let count = |at: usize| owned[at].len() as u32;
        let hands = |from: usize, cost: Cost, away: &mut Vec<usize>| {
            let mut reached = Vec::new();
            if cost == Cost::Free {
                return reached;
            }
            let others = |slot: &Slot| board.slots[slot.index()].iter().skip(1);
            for slot in &owned[from] {
                for other in others(slot) {
                    if let Ok(place) = away.binary_search(&other) {
                        away.remove(place);
                        reached.push((other, *slot));
                    }
                }
            }
            reached
        };
        let find = |source: &dyn Fn(usize) -> bool, sink: &dyn Fn(usize) -> bool| {
            let any = (0..owned.len()).any(source) && (0..owned.len()).any(sink);
            any.then(|| cheapest(owned.len(), source, sink, hands)).flatten()
        };
        let found = find(&|at| count(at) > shares[at].ceil, &|at| count(at) < shares[at].ceil)
            .or_else(|| find(&|at| count(at) > shares[at].floor, &|at| count(at) < shares[at].floor));
        let Some(steps) = found else { return };
        for Step { slot, from, to } in steps {
            board.slots[slot.index()].make_owner(to);
            owned[from].retain(|owned| *owned != slot);
            owned[to].push(slot);
        }
    }
}

/// Fair shares of ownership: by weight, and nobody owns what it does not hold.
fn owner_shares(board: &Board) -> Vec<Share> {
    let claims =
        board.nodes.iter().map(|node| Claim { weight: node.weight, least: 0, most: node.held }).collect();
    let owners = board.slots.iter().filter(|seats| Seats::len(seats) > 0).count() as u32;
    let group = Group { least: 0, most: SLOTS as u32, claims };
    shares(&[group], owners).into_iter().next().unwrap_or_default()
}
