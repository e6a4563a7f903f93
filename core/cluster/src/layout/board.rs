//! The board on which a plan is made: nodes that stay, who sits where, and what the zone rule allows for each slot.
//!
//! The zone rule: a slot has as many replicas as there are nodes for, up to the wanted number, and its zones have as many each as
//! is even. With `level` the least number for which every zone lending that many, or all it has, makes enough, each zone has at
//! most `level` replicas of the slot and at least `level - 1`, or all of its nodes.
//!
//! Invariant: `held` and `holds` agree with `slots`. That a swap keeps to the zone rule is for the caller to ask.

#![expect(
    clippy::indexing_slicing,
    reason = "positions of nodes, zones and slots are made here, for tables made here"
)]

use std::collections::BTreeMap;

use super::candidate::{Candidate, Candidates, Standing};
use super::fair::{Claim, Group, Share, shares};
use super::rendezvous::{Seed, score};
use super::seats::{ReplicationFactor, Seats};
use super::slot::{SLOTS, Slot};
use super::table::Layout;
use crate::ids::{NodeName, Zone};

/// A node that stays.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) zone: usize,
    pub(super) weight: u32,
    pub(super) taking: bool,
    /// Slots it holds.
    pub(super) held: u32,
    /// Slots it should hold.
    pub(super) share: Share,
    seed: Seed,
}

/// What the zone rule asks of a slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rule {
    /// Replicas it has in the end.
    pub(super) width: usize,
    /// The most that one zone has of them.
    pub(super) level: usize,
}

#[derive(Debug)]
pub(super) struct Board {
    pub(super) nodes: Vec<Node>,
    pub(super) slots: Vec<Seats>,
    /// Where replicas were before, as far as their nodes stay.
    pub(super) home: Vec<Seats>,
    pub(super) rules: Vec<Rule>,
    holds: Vec<Held>,
    /// Nodes of each zone that take slots.
    taking: Vec<usize>,
}

/// The slots of a node, a bit each.
#[derive(Clone, Debug)]
struct Held([u64; SLOTS / 64]);

impl Board {
    /// Seats the nodes that stay as the layout has them; with no layout every slot is empty.
    pub(super) fn new(
        current: Option<&Layout>,
        candidates: &Candidates,
        replication: ReplicationFactor,
    ) -> Self {
        let staying: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.stays()).collect();
        let zones: BTreeMap<&Zone, usize> = staying.iter().map(|candidate| (&candidate.zone, 0)).collect();
        let zones: BTreeMap<&Zone, usize> =
            zones.into_keys().enumerate().map(|(at, zone)| (zone, at)).collect();
        let nodes: Vec<Node> = staying
            .iter()
            .map(|candidate| Node {
                name: candidate.name.clone(),
                zone: zones[&candidate.zone],
                weight: candidate.weight,
                taking: candidate.standing == Standing::Taking,
                held: 0,
                share: Share::default(),
                seed: Seed::of(&candidate.name),
            })
            .collect();
        let mut taking = vec![0; zones.len()];
        for node in nodes.iter().filter(|node| node.taking) {
            taking[node.zone] += 1;
        }
        let home = seated(current, &nodes);
        let mut board = Self {
            holds: vec![Held([0; SLOTS / 64]); nodes.len()],
            nodes,
            slots: home.clone(),
            rules: Vec::new(),
            home,
            taking,
        };
        for slot in Slot::all() {
            for at in board.home[slot.index()].iter() {
                board.holds[at].set(slot, true);
                board.nodes[at].held += 1;
            }
        }
        board.rules = Slot::all().map(|slot| board.rule(slot, replication)).collect();
        board.share_out();
        board
    }

    /// How much a slot is drawn to a node; the least wins.
    pub(super) fn score(&self, slot: Slot, node: usize) -> u64 {
        score(self.nodes[node].seed, slot, self.nodes[node].weight)
    }

    pub(super) fn zones(&self) -> usize {
        self.taking.len()
    }

    pub(super) fn holds(&self, node: usize, slot: Slot) -> bool {
        self.holds[node].get(slot)
    }

    /// The slots that a node holds, in order.
    pub(super) fn slots_of(&self, node: usize) -> impl Iterator<Item = Slot> + '_ {
        self.holds[node].iter()
    }

    /// Replicas that a slot has in a zone.
    pub(super) fn seated_in(&self, slot: Slot, zone: usize) -> usize {
        self.slots[slot.index()].iter().filter(|&at| self.nodes[at].zone == zone).count()
    }

    /// The least that a slot may have in a zone.
    pub(super) fn least_in(&self, slot: Slot, zone: usize) -> usize {
        self.lendable(slot, zone).min(self.rules[slot.index()].level.saturating_sub(1))
    }

    /// Whether a node may be given a slot that it does not hold: a keeping one only what was its own.
    pub(super) fn may_enter(&self, slot: Slot, node: usize) -> bool {
        !self.holds(node, slot) && (self.nodes[node].taking || self.is_home(slot, node))
    }

    /// Whether a node held a slot before.
    pub(super) fn is_home(&self, slot: Slot, node: usize) -> bool {
        self.home[slot.index()].contains(node)
    }

    /// Whether a replica may go from a node that holds the slot to one that does not.
    pub(super) fn may_swap(&self, slot: Slot, from: usize, to: usize) -> bool {
        if !self.may_enter(slot, to) {
            return false;
        }
        let (out, into) = (self.nodes[from].zone, self.nodes[to].zone);
        out == into
            || self.seated_in(slot, into) < self.rules[slot.index()].level
                && self.seated_in(slot, out) > self.least_in(slot, out)
    }

    /// Whether a swap adds to what moves: a replica leaves where it was, for where it was not.
    pub(super) fn is_paid(&self, slot: Slot, from: usize, to: usize) -> bool {
        self.is_home(slot, from) && !self.is_home(slot, to)
    }

    /// Takes from `away` the nodes to which one can hand a slot by a swap that is, or is not, paid; and says which slot.
    pub(super) fn hand_on(&self, from: usize, paid: bool, away: &mut Vec<usize>) -> Vec<(usize, Slot)> {
        let mut reached = Vec::new();
        for slot in self.slots_of(from) {
            if !paid && self.is_home(slot, from) {
                // Only those who held it before get it for nothing.
                for to in self.home[slot.index()].iter().filter(|&to| self.may_swap(slot, from, to)) {
                    if let Ok(place) = away.binary_search(&to) {
                        away.remove(place);
                        reached.push((to, slot));
                    }
                }
            } else {
                away.retain(|&to| {
                    let may = self.is_paid(slot, from, to) == paid && self.may_swap(slot, from, to);
                    if may {
                        reached.push((to, slot));
                    }
                    !may
                });
            }
        }
        reached
    }

    pub(super) fn swap(&mut self, slot: Slot, from: usize, to: usize) {
        self.slots[slot.index()].replace(from, to);
        self.count(slot, from, false);
        self.count(slot, to, true);
    }

    pub(super) fn add(&mut self, slot: Slot, node: usize) {
        if self.slots[slot.index()].push(node as u16) {
            self.count(slot, node, true);
        }
    }

    pub(super) fn remove(&mut self, slot: Slot, node: usize) {
        self.slots[slot.index()].remove(node);
        self.count(slot, node, false);
    }

    /// Forgets that nodes which only keep had a slot that was taken from them, since they will not get it back, and lays down the
    /// rule for those that are left. Whether there was such a node.
    pub(super) fn forget(&mut self, slot: Slot, replication: ReplicationFactor) -> bool {
        let home = self.home[slot.index()];
        let lost =
            home.iter().filter(|&at| !self.nodes[at].taking && !self.holds(at, slot)).collect::<Vec<_>>();
        for &at in &lost {
            self.home[slot.index()].remove(at);
        }
        if !lost.is_empty() {
            self.rules[slot.index()] = self.rule(slot, replication);
        }
        !lost.is_empty()
    }

    fn count(&mut self, slot: Slot, node: usize, holds: bool) {
        self.holds[node].set(slot, holds);
        let held = &mut self.nodes[node].held;
        *held = if holds { *held + 1 } else { held.saturating_sub(1) };
    }

    /// Nodes of a zone that can hold a slot: those that take slots, and those that keep this one.
    fn lendable(&self, slot: Slot, zone: usize) -> usize {
        let keeping = self.home[slot.index()]
            .iter()
            .filter(|&at| self.nodes[at].zone == zone && !self.nodes[at].taking);
        self.taking[zone] + keeping.count()
    }

    fn rule(&self, slot: Slot, replication: ReplicationFactor) -> Rule {
        let lendable: Vec<usize> = (0..self.zones()).map(|zone| self.lendable(slot, zone)).collect();
        let width = lendable.iter().sum::<usize>().min(usize::from(replication.get()));
        let lent = |level: usize| lendable.iter().map(|&nodes| nodes.min(level)).sum::<usize>();
        let level = (0..=width).find(|&level| lent(level) >= width).unwrap_or(width);
        Rule { width, level }
    }

    /// Gives each node its fair share of what all slots have together.
    pub(super) fn share_out(&mut self) {
        let mut groups = vec![Group::default(); self.zones()];
        for slot in Slot::all() {
            for (zone, group) in groups.iter_mut().enumerate() {
                let most = self.lendable(slot, zone).min(self.rules[slot.index()].level);
                group.least += self.least_in(slot, zone) as u32;
                group.most += most as u32;
            }
        }
        for node in &self.nodes {
            // What a keeping node has is its share.
            let (least, most) = if node.taking { (0, SLOTS as u32) } else { (node.held, node.held) };
            groups[node.zone].claims.push(Claim { weight: node.weight, least, most });
        }
        let total: usize = self.rules.iter().map(|rule| rule.width).sum();
        let mut shares: Vec<_> = shares(&groups, total as u32).into_iter().map(Vec::into_iter).collect();
        for node in &mut self.nodes {
            node.share = shares[node.zone].next().unwrap_or_default();
        }
    }
}

impl Held {
    fn get(&self, slot: Slot) -> bool {
        self.0[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }

    fn set(&mut self, slot: Slot, holds: bool) {
        let bit = 1 << (slot.index() % 64);
        let word = &mut self.0[slot.index() / 64];
        *word = if holds { *word | bit } else { *word & !bit };
    }

    fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            std::iter::successors((word != 0).then_some(word), |left| {
                Some(left & (left - 1)).filter(|left| *left != 0)
            })
            .filter_map(move |left| Slot::new(at as u16 * 64 + left.trailing_zeros() as u16))
        })
    }
}

/// The seats of a layout that belong to nodes on the board, each node once.
fn seated(current: Option<&Layout>, nodes: &[Node]) -> Vec<Seats> {
    let Some(current) = current else { return vec![Seats::default(); SLOTS] };
    let on_board: Vec<Option<usize>> =
        current.nodes().iter().map(|name| nodes.binary_search_by(|node| node.name.cmp(name)).ok()).collect();
    let seat = |seats: &Seats| {
        let mut staying = Seats::default();
        for at in seats.iter().filter_map(|at| on_board[at]) {
            if !staying.contains(at) {
                staying.push(at as u16);
            }
        }
        staying
    };
    current.seats().iter().map(seat).collect()
}
