//! Checking: what is wrong with a layout, or less good than it should be, for the nodes that there are.
//!
//! It does not trust the planner: a layout may be older than its candidates, come from another release or be damaged.
//!
//! Invariant: what a plan made of the same candidates has no finding that is an error.

use std::fmt;

use super::balance::Balance;
use super::board::Board;
use super::candidate::Candidates;
use super::slot::Slot;
use super::table::Layout;
use crate::ids::{NodeName, Zone};

/// How much more than the mean the fullest node may hold without a word, in parts in a million.
pub const FULLEST_OVER_MEAN_MAX_PPM: u64 = 1_020_000;

/// Whether a layout can be lived with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Correct, but an operator should know.
    Warning,
    /// Must not be applied.
    Error,
}

/// Something about a layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// A node that is no candidate holds slots.
    UnknownNode {
        /// The node.
        node: NodeName,
        /// How many.
        slots: u32,
    },
    /// A node has a slot twice.
    DuplicateReplica {
        /// The slot.
        slot: Slot,
        /// The node.
        node: NodeName,
    },
    /// A slot has fewer replicas than there are nodes for.
    TooFewReplicas {
        /// The slot.
        slot: Slot,
        /// Different nodes that it has.
        replicas: usize,
        /// Those that it should have.
        wanted: usize,
    },
    /// A slot has more replicas than were asked for.
    TooManyReplicas {
        /// The slot.
        slot: Slot,
        /// Those that it has.
        replicas: usize,
        /// Those that it should have.
        wanted: usize,
    },
    /// There are fewer nodes than replicas wanted: the loss of one costs a replica of each slot.
    FewNodes {
        /// Nodes that may hold slots.
        nodes: usize,
        /// Replicas wanted.
        wanted: usize,
    },
    /// There are fewer zones than replicas wanted: the loss of one costs some slots more than one replica.
    FewZones {
        /// Zones of nodes that may hold slots.
        zones: usize,
        /// Replicas wanted.
        wanted: usize,
    },
    /// Slots whose replicas could be in more zones, or in the same ones more evenly.
    PoorlySpread {
        /// How many.
        slots: u32,
    },
    /// A node that is to leave, or has no weight, holds slots.
    NotLeft {
        /// The node.
        node: NodeName,
        /// How many.
        slots: u32,
    },
    /// The fullest node holds more than [`FULLEST_OVER_MEAN_MAX_PPM`] of the mean.
    Unbalanced {
        /// How much, in parts in a million.
        fullest_over_mean_ppm: u64,
    },
    /// A node holds more than its share under the zone rule.
    OverCap {
        /// The node.
        node: NodeName,
        /// Slots it holds.
        held: u32,
        /// The most that is its share.
        cap: u32,
    },
    /// A zone holds more than its weight asks for: the zone rule forces it, so its nodes fill up first.
    HeavyZone {
        /// The zone.
        zone: Zone,
        /// Slots it holds.
        held: u32,
        /// What its weight asks for, rounded up.
        by_weight: u32,
    },
}

impl Finding {
    /// Whether it can be lived with.
    pub fn severity(&self) -> Severity {
        match self {
            Self::UnknownNode { .. }
            | Self::DuplicateReplica { .. }
            | Self::TooFewReplicas { .. }
            | Self::TooManyReplicas { .. } => Severity::Error,
            Self::FewNodes { .. }
            | Self::FewZones { .. }
            | Self::PoorlySpread { .. }
            | Self::NotLeft { .. }
            | Self::Unbalanced { .. }
            | Self::OverCap { .. }
            | Self::HeavyZone { .. } => Severity::Warning,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownNode { node, slots } => {
                write!(f, "{slots} slots are on node {node}, which is not known")
            }
            Self::DuplicateReplica { slot, node } => write!(f, "slot {slot} is on node {node} twice"),
            Self::TooFewReplicas { slot, replicas, wanted }
            | Self::TooManyReplicas { slot, replicas, wanted } => {
                write!(f, "slot {slot} has {replicas} replicas instead of {wanted}")
            }
            Self::FewNodes { nodes, wanted } => write!(f, "{nodes} nodes cannot hold {wanted} replicas"),
            Self::FewZones { zones, wanted } => {
                write!(
                    f,
                    "{wanted} replicas share {zones} zones: one lost zone can cost a slot several replicas"
                )
            }
            Self::PoorlySpread { slots } => write!(f, "{slots} slots could be spread over zones more evenly"),
            Self::NotLeft { node, slots } => write!(f, "node {node} is to leave and holds {slots} slots"),
            Self::Unbalanced { fullest_over_mean_ppm: ppm } => {
                write!(
                    f,
                    "the fullest node holds {}.{:03} times the mean",
                    ppm / 1_000_000,
                    ppm % 1_000_000 / 1_000
                )
            }
            Self::OverCap { node, held, cap } => {
                write!(f, "node {node} holds {held} slots, its share is at most {cap}")
            }
            Self::HeavyZone { zone, held, by_weight } => {
                write!(f, "zone {zone} must hold {held} slots, by weight it would be {by_weight}")
            }
        }
    }
}

/// Looks at everything; errors come first.
pub fn check(layout: &Layout, candidates: &Candidates) -> Vec<Finding> {
    let board = Board::new(Some(layout), candidates, layout.replication());
    let balance = Balance::of(layout, candidates);
    let mut found = slot_findings(layout, &board);
    found.extend(node_findings(&balance, candidates, &board));
    let wanted = usize::from(layout.replication().get());
    if board.nodes.len() < wanted {
        found.push(Finding::FewNodes { nodes: board.nodes.len(), wanted });
    }
    if board.zones() < wanted {
        found.push(Finding::FewZones { zones: board.zones(), wanted });
    }
    if balance.fullest_over_mean_ppm > FULLEST_OVER_MEAN_MAX_PPM {
        found.push(Finding::Unbalanced { fullest_over_mean_ppm: balance.fullest_over_mean_ppm });
    }
    found.extend(zone_findings(&balance, candidates));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    found
}

fn slot_findings(layout: &Layout, board: &Board) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut poorly_spread = 0;
    for (slot, rule) in Slot::all().zip(&board.rules) {
        let names = layout.replicas(slot);
        let doubles =
            names.iter().enumerate().filter(|(at, name)| names.iter().take(*at).any(|other| other == *name));
        let before = found.len();
        found.extend(doubles.map(|(_, node)| Finding::DuplicateReplica { slot, node: node.clone() }));
        let replicas = names.len() - (found.len() - before);
        if replicas < rule.width {
            found.push(Finding::TooFewReplicas { slot, replicas, wanted: rule.width });
        }
        let wanted = usize::from(layout.replication().get());
        if names.len() > wanted {
            found.push(Finding::TooManyReplicas { slot, replicas: names.len(), wanted });
        }
        let even = (0..board.zones()).all(|zone| {
            let seated = board.seated_in(slot, zone);
            seated <= rule.level && seated >= board.least_in(slot, zone)
        });
        poorly_spread += u32::from(!even);
    }
    if poorly_spread > 0 {
        found.push(Finding::PoorlySpread { slots: poorly_spread });
    }
    found
}

fn node_findings(balance: &Balance, candidates: &Candidates, board: &Board) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, load) in balance.nodes.iter().filter(|(_, load)| load.held > 0) {
        let node = name.clone();
        match candidates.get(name) {
            None => found.push(Finding::UnknownNode { node, slots: load.held }),
            Some(candidate) if !candidate.stays() => found.push(Finding::NotLeft { node, slots: load.held }),
            Some(_) => {}
        }
    }
    let over = board.nodes.iter().filter(|node| node.held > node.share.ceil);
    found.extend(over.map(|node| Finding::OverCap {
        node: node.name.clone(),
        held: node.held,
        cap: node.share.ceil,
    }));
    found
}

fn zone_findings(balance: &Balance, candidates: &Candidates) -> Vec<Finding> {
    let staying = || candidates.iter().filter(|candidate| candidate.stays());
    let weights: u64 = staying().map(|candidate| u64::from(candidate.weight)).sum();
    let total: u64 = balance.zones.values().map(|&held| u64::from(held)).sum();
    let mut found = Vec::new();
    for (zone, &held) in &balance.zones {
        let members = || staying().filter(|candidate| candidate.zone == *zone);
        let weight: u64 = members().map(|candidate| u64::from(candidate.weight)).sum();
        let by_weight = (u128::from(total) * u128::from(weight)).div_ceil(u128::from(weights.max(1)));
        // Each of its nodes may be rounded up by one.
        if u128::from(held) > by_weight + members().count() as u128 {
            found.push(Finding::HeavyZone { zone: zone.clone(), held, by_weight: by_weight as u32 });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::layout::{Candidate, Options, ReplicationFactor, Standing, plan};

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn candidates(nodes: &[(&str, &str, u32)]) -> Candidates {
        let candidate = |&(node, zone, weight): &(&str, &str, u32)| Candidate {
            name: name(node),
            zone: Zone::parse(zone).unwrap(),
            weight,
            standing: Standing::Taking,
        };
        Candidates::new(nodes.iter().map(candidate)).unwrap()
    }

    fn texts(layout: &Layout, candidates: &Candidates) -> Vec<String> {
        let mark = |finding: &Finding| if finding.severity() == Severity::Error { "!" } else { "" };
        check(layout, candidates).iter().map(|finding| format!("{}{finding}", mark(finding))).collect()
    }

    #[test]
    fn a_plan_is_well() {
        let nodes = candidates(&[("a", "x", 1), ("b", "y", 1), ("c", "z", 1), ("d", "z", 0)]);
        let layout = plan(None, &nodes, Options { replication: ReplicationFactor::new(2).unwrap() }).unwrap();
        assert_eq!(texts(&layout, &nodes), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_found() {
        let nodes = candidates(&[("a", "x", 1), ("b", "x", 1), ("c", "y", 1), ("d", "y", 0)]);
        let layout = Layout::from_fn(Epoch::new(1), ReplicationFactor::new(2).unwrap(), |slot| {
            let names: &[&str] = match slot.number() {
                0 => &["a", "a"],
                1 => &[],
                2 => &["a", "b", "c"],
                3 => &["a", "gone"],
                4 => &["a", "d"],
                5 => &["a", "b"],
                number if number % 2 == 0 => &["a", "c"],
                _ => &["c", "b"],
            };
            names.iter().map(|text| name(text)).collect()
        })
        .unwrap();
        assert_eq!(
            texts(&layout, &nodes),
            [
                "!slot 0 is on node a twice",
                "!slot 0 has 1 replicas instead of 2",
                "!slot 1 has 0 replicas instead of 2",
                "!slot 2 has 3 replicas instead of 2",
                "!1 slots are on node gone, which is not known",
                "2 slots could be spread over zones more evenly",
                "node d is to leave and holds 1 slots",
                "node a holds 2050 slots, its share is at most 2048",
                "the fullest node holds 1.498 times the mean",
                "zone y must hold 4092 slots, by weight it would be 2730",
            ]
        );
    }

    #[test]
    fn what_cannot_be_is_said() {
        let nodes = candidates(&[("a", "x", 1), ("b", "x", 1)]);
        let layout = plan(None, &nodes, Options { replication: ReplicationFactor::new(3).unwrap() }).unwrap();
        assert_eq!(
            texts(&layout, &nodes),
            [
                "2 nodes cannot hold 3 replicas",
                "3 replicas share 1 zones: one lost zone can cost a slot several replicas"
            ]
        );
    }
}
