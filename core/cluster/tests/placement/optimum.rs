//! The least that can move, found by a way of its own: starting from any sound layout, rings of nodes are looked for round which
//! slots can be handed on so that more of them are where they were, until there is none. By the theory of flows the layout is then
//! one that moves least among all that are as sound.

use std::collections::BTreeMap;

use cluster::{Layout, NodeName, Slot, diff};

use crate::support::{Node, Shape, fair_shares, loads, name};

/// Replicas that a layout with the same shares moves at the least, coming from `before`.
fn moves_optimal(before: &Layout, after: &Layout, nodes: &[Node], replication: usize) -> u32 {
    let mut search = Search::new(before, after, nodes, replication);
    while search.improve() {}
    search.moved()
}

/// The same, by the quick bound if `after` keeps to it.
pub(crate) fn moves_least(before: &Layout, after: &Layout, nodes: &[Node], replication: usize) -> u32 {
    let bound = moves_bound(before, nodes, replication);
    if diff(before, after).replicas_moved == bound {
        return bound;
    }
    let optimal = moves_optimal(before, after, nodes, replication);
    assert!(optimal >= bound);
    optimal
}

/// A bound from below: whatever is planned, nodes below their share get, nodes above it give, nodes that are gone give
/// all, and slots that the zone rule changes change.
fn moves_bound(before: &Layout, nodes: &[Node], replication: usize) -> u32 {
    let shares = fair_shares(nodes, replication);
    let zones: BTreeMap<NodeName, usize> = nodes.iter().map(|node| (name(node.name), node.zone)).collect();
    let held = loads(before);
    let (mut must_get, mut must_give) = (0, 0);
    let width = replication.min(shares.len());
    let before_width = before.replicas(Slot::new(0).unwrap()).len();
    for (node, share) in &shares {
        let held = held.get(node).map_or(0, |load| load.0);
        must_get += ((share + 1e-6).floor() as u32).saturating_sub(held);
        must_give += held.saturating_sub((share - 1e-6).ceil() as u32);
    }
    let gone = held.iter().filter(|(node, _)| !shares.contains_key(*node)).map(|(_, load)| load.0);
    must_give += gone.sum::<u32>();
    // What is given away need not be taken in if slots get narrower, and more is taken in if they get wider.
    let must_take = (must_give + 4096 * width as u32).saturating_sub(4096 * before_width as u32);
    let shape = Shape::of(nodes, replication);
    let by_rule: u32 = Slot::all()
        .map(|slot| {
            let mut seated: BTreeMap<usize, usize> = BTreeMap::new();
            for node in before.replicas(slot).iter().filter(|node| shares.contains_key(*node)) {
                *seated.entry(zones[node]).or_default() += 1;
            }
            let kept: usize = seated.iter().map(|(&zone, &count)| count.min(shape.most(zone))).sum();
            let missing = |zone| shape.least(zone).saturating_sub(seated.get(&zone).copied().unwrap_or(0));
            (width - kept.min(width - shape.zones().map(missing).sum::<usize>())) as u32
        })
        .sum();
    must_get.max(must_take).max(by_rule)
}

/// Nodes by number; the number after the last is a hub, through which whoever has a slot to spare hands it to whoever has room.
struct Search {
    zones: Vec<usize>,
    shape: Shape,
    slots: Vec<Vec<usize>>,
    home: Vec<Vec<usize>>,
    held: Vec<u32>,
    /// The whole numbers on both sides of each share.
    shares: Vec<(u32, u32)>,
}

impl Search {
    fn new(before: &Layout, after: &Layout, nodes: &[Node], replication: usize) -> Self {
        let shares = fair_shares(nodes, replication);
        let numbers: BTreeMap<NodeName, usize> = shares.keys().cloned().zip(0..).collect();
        let zone_of: BTreeMap<NodeName, usize> =
            nodes.iter().map(|node| (name(node.name), node.zone)).collect();
        let seats = |layout: &Layout| -> Vec<Vec<usize>> {
            let numbered =
                |slot| layout.replicas(slot).iter().filter_map(|name| numbers.get(name).copied()).collect();
            Slot::all().map(numbered).collect()
        };
        let slots = seats(after);
        let mut held = vec![0; numbers.len()];
        for &node in slots.iter().flatten() {
            held[node] += 1;
        }
        Self {
            zones: numbers.keys().map(|name| zone_of[name]).collect(),
            shape: Shape::of(nodes, replication),
            home: seats(before),
            slots,
            held,
            shares: shares
                .values()
                .map(|share| ((share + 1e-5).floor() as u32, (share - 1e-5).ceil() as u32))
                .collect(),
        }
    }

    fn moved(&self) -> u32 {
        let new = |(slot, home): (&Vec<usize>, &Vec<usize>)| {
            slot.iter().filter(|node| !home.contains(node)).count()
        };
        self.slots.iter().zip(&self.home).map(new).sum::<usize>() as u32
    }

    /// The cheapest slot that each node can hand to each other one.
    fn hands(&self) -> Vec<Vec<Option<(i32, usize)>>> {
        let hub = self.zones.len();
        let mut best: Vec<Vec<Option<(i32, usize)>>> = vec![vec![None; hub + 1]; hub + 1];
        for (slot, seats) in self.slots.iter().enumerate() {
            let mut seated: BTreeMap<usize, usize> = BTreeMap::new();
            for &node in seats {
                *seated.entry(self.zones[node]).or_default() += 1;
            }
            for &from in seats {
                for to in (0..hub).filter(|to| !seats.contains(to)) {
                    let (out, into) = (self.zones[from], self.zones[to]);
                    let fits = out == into
                        || seated.get(&into).copied().unwrap_or(0) < self.shape.most(into)
                            && seated[&out] > self.shape.least(out);
                    let cost = |node: &usize| i32::from(!self.home[slot].contains(node));
                    let cost = cost(&to) - cost(&from);
                    if fits && best[from][to].is_none_or(|(other, _)| cost < other) {
                        best[from][to] = Some((cost, slot));
                    }
                }
            }
        }
        for (node, &(floor, ceil)) in self.shares.iter().enumerate() {
            best[node][hub] = (self.held[node] < ceil).then_some((0, 0));
            best[hub][node] = (self.held[node] > floor).then_some((0, 0));
        }
        best
    }

    /// Looks for a ring that is worth it, and hands on along it.
    fn improve(&mut self) -> bool {
        let hands = self.hands();
        let count = hands.len();
        let mut cost = vec![0; count];
        let mut came: Vec<Option<usize>> = vec![None; count];
        let mut last = None;
        for _ in 0..=count {
            last = None;
            for from in 0..count {
                for to in 0..count {
                    if let Some((step, _)) = hands[from][to]
                        && cost[from] + step < cost[to]
                    {
                        cost[to] = cost[from] + step;
                        came[to] = Some(from);
                        last = Some(to);
                    }
                }
            }
        }
        let Some(mut at) = last else { return false };
        for _ in 0..count {
            at = came[at].unwrap();
        }
        let mut ring = vec![at];
        while ring.len() == 1 || ring.last() != Some(&at) {
            ring.push(came[*ring.last().unwrap()].unwrap());
        }
        let before = self.moved();
        let hub = count - 1;
        for step in ring.windows(2) {
            let (from, to) = (step[1], step[0]);
            if from == hub {
                self.held[to] -= 1;
            } else if to == hub {
                self.held[from] += 1;
            }
            // Held is counted at the hub alone: along the ring every node gives one and gets one.
            if from != hub && to != hub {
                let slot = hands[from][to].unwrap().1;
                let seat = self.slots[slot].iter().position(|&node| node == from).unwrap();
                self.slots[slot][seat] = to;
            }
        }
        assert!(self.moved() < before);
        true
    }
}
