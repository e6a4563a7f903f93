//! Planning: the layout that follows from the layout before it and the nodes that there are.
//!
//! Replicas stay where they are unless their node leaves, the zone rule forbids it, or a node holds more than its share; what is
//! missing goes to the node with the best rendezvous score among those that lack most.
//!
//! Invariant: no node twice in a slot, no slot without a node, and planning again from the result changes nothing.

#![expect(clippy::indexing_slicing, reason = "positions of nodes and slots are the board's own")]

use std::cmp::Reverse;

use super::board::Board;
use super::candidate::Candidates;
use super::rings::close_rings;
use super::seats::{ReplicationFactor, Seats};
use super::settle::{settle_owners, settle_replicas};
use super::slot::Slot;
use super::table::Layout;

/// What an operator decides about a layout beside its nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Replicas that each slot should have; with fewer nodes it has one on each.
    pub replication: ReplicationFactor,
}

/// Why there is no layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// A slot that no node holds, and none may take.
    #[error("no node may take slot {slot}")]
    Nobody {
        /// The first such slot.
        slot: Slot,
    },
}

/// Places every slot. The result has the epoch after that of the current layout, also if nothing moved.
pub fn plan(
    current: Option<&Layout>,
    candidates: &Candidates,
    options: Options,
) -> Result<Layout, PlanError> {
    let mut board = Board::new(current, candidates, options.replication);
    for slot in Slot::all() {
        trim(&mut board, slot);
        while board.forget(slot, options.replication) {
            trim(&mut board, slot);
        }
        if board.rules[slot.index()].width == 0 {
            return Err(PlanError::Nobody { slot });
        }
    }
    // Anew, for the nodes that keep what they have: that is less since the trimming.
    board.share_out();
    for slot in Slot::all() {
        fill(&mut board, slot);
    }
    settle_replicas(&mut board);
    close_rings(&mut board);
    settle_owners(&mut board);
    let epoch = current.map(Layout::epoch).unwrap_or_default().next();
    let nodes = board.nodes.into_iter().map(|node| node.name).collect();
    Ok(Layout::from_seats(epoch, options.replication, nodes, board.slots))
}

/// Takes away what a slot must not keep: what crowds a zone, and what leaves no room for the zones that must come in.
fn trim(board: &mut Board, slot: Slot) {
    loop {
        let rule = board.rules[slot.index()];
        let seats = board.slots[slot.index()];
        let too_many = seats.len() + missing(board, slot) > rule.width;
        let spare = seats.iter().filter(|&at| {
            let zone = board.nodes[at].zone;
            let seated = board.seated_in(slot, zone);
            seated > rule.level || too_many && seated > board.least_in(slot, zone)
        });
        // The fullest gives first, and of those as full the one that draws the slot least.
        let drop = spare.max_by_key(|&at| {
            let node = &board.nodes[at];
            (i64::from(node.held) - i64::from(node.share.ceil), board.score(slot, at), Reverse(at))
        });
        let Some(drop) = drop else { return };
        board.remove(slot, drop);
    }
}

/// Replicas that zones lack of the least they must have.
fn missing(board: &Board, slot: Slot) -> usize {
    // Zones with the least number 0 lack nothing, and mostly that is all of them.
    if board.rules[slot.index()].level <= 1 {
        return 0;
    }
    let lacks = |zone| board.least_in(slot, zone).saturating_sub(board.seated_in(slot, zone));
    (0..board.zones()).map(lacks).sum()
}

/// Gives a slot the replicas that it lacks.
fn fill(board: &mut Board, slot: Slot) {
    let rule = board.rules[slot.index()];
    if board.slots[slot.index()].len() >= rule.width {
        return;
    }
    let scores: Vec<u64> = (0..board.nodes.len()).map(|node| board.score(slot, node)).collect();
    while board.slots[slot.index()].len() < rule.width {
        let seats: Seats = board.slots[slot.index()];
        let must = seats.len() + missing(board, slot) >= rule.width;
        let open: Vec<bool> = (0..board.zones())
            .map(|zone| {
                let most = if must { board.least_in(slot, zone) } else { rule.level };
                board.seated_in(slot, zone) < most
            })
            .collect();
        let fitting = (0..board.nodes.len())
            .filter(|&at| open[board.nodes[at].zone] && board.may_enter(slot, at))
            .min_by_key(|&at| {
                let node = &board.nodes[at];
                let need = u8::from(node.held >= node.share.floor) + u8::from(node.held >= node.share.ceil);
                (need, scores[at])
            });
        // The zone rule promises no more than there are nodes for.
        let Some(node) = fitting else { return };
        board.add(slot, node);
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::ids::{NodeName, Zone};
    use crate::layout::{Candidate, Standing};

    fn candidates(standing: impl Fn(usize) -> Standing, count: usize) -> Candidates {
        Candidates::new((0..count).map(|at| Candidate {
            name: NodeName::parse(&format!("node-{at}")).unwrap(),
            zone: Zone::parse(&format!("zone-{}", at % 3)).unwrap(),
            weight: 100 + at as u32,
            standing: standing(at),
        }))
        .unwrap()
    }

    fn options(replication: u8) -> Options {
        Options { replication: ReplicationFactor::new(replication).unwrap() }
    }

    fn hash(layout: &Layout) -> u64 {
        Sha256::digest(layout.encode()).iter().take(8).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
    }

    /// Members of a cluster may plan for themselves, and two releases run side by side during an upgrade: a change of these hashes
    /// must be a decision.
    #[test]
    fn plans_are_golden() {
        let first = plan(None, &candidates(|_| Standing::Taking, 10), options(3)).unwrap();
        let grown = plan(Some(&first), &candidates(|_| Standing::Taking, 11), options(3)).unwrap();
        let shrunk = |at: usize| if at.is_multiple_of(4) { Standing::Leaving } else { Standing::Taking };
        let shrunk = plan(Some(&grown), &candidates(shrunk, 11), options(2)).unwrap();
        assert_eq!(
            [hash(&first), hash(&grown), hash(&shrunk)],
            [0x9d7d_8700_cfdb_ecab, 0xf753_e84c_d96b_d121, 0x0f6b_e58b_96c5_7bcf]
        );
    }

    #[test]
    fn a_slot_without_a_node_is_no_plan() {
        let nobody = |slot: u16| Err(PlanError::Nobody { slot: Slot::new(slot).unwrap() });
        assert_eq!(plan(None, &Candidates::default(), options(1)), nobody(0));
        for standing in [Standing::Keeping, Standing::Leaving] {
            assert_eq!(plan(None, &candidates(|_| standing, 4), options(1)), nobody(0));
        }
        // Nodes that keep are enough while nothing is lost.
        let layout = plan(None, &candidates(|_| Standing::Taking, 4), options(2)).unwrap();
        let kept = plan(Some(&layout), &candidates(|_| Standing::Keeping, 4), options(2)).unwrap();
        assert_eq!(kept, layout.renumbered(layout.epoch().next()));
        assert!(plan(Some(&layout), &candidates(|_| Standing::Keeping, 1), options(2)).is_err());
    }

    #[test]
    fn more_and_fewer_replicas_leave_the_others_where_they_are() {
        let nodes = candidates(|_| Standing::Taking, 9);
        let three = plan(None, &nodes, options(3)).unwrap();
        for replication in [2, 4] {
            let other = plan(Some(&three), &nodes, options(replication)).unwrap();
            let narrow = usize::from(replication.min(3));
            let stayed = Slot::all().map(|slot| {
                three.replicas(slot).iter().filter(|name| other.replicas(slot).contains(name)).count()
            });
            assert!(stayed.into_iter().all(|stayed| stayed == narrow), "{replication}");
        }
    }
}
