//! Balance: what each node holds and owns, and how much more the fullest has than its weight asks for.
//!
//! Invariant: ratios are whole parts in a million, so that all nodes and all printers agree on them.

use std::collections::BTreeMap;

use super::candidate::{Candidate, Candidates};
use super::table::Layout;
use crate::ids::{NodeName, Zone};

/// Parts in a million that are the whole.
const WHOLE_PPM: u64 = 1_000_000;

/// What a node has to do with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Slots it holds.
    pub held: u32,
    /// Slots it owns; it holds them as well.
    pub owned: u32,
}

/// How a layout loads its nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Balance {
    /// Candidates and whoever else holds something.
    pub nodes: BTreeMap<NodeName, Load>,
    /// Slots held in each zone of the candidates.
    pub zones: BTreeMap<Zone, u32>,
    /// Slots held for each unit of weight by the fullest node, over the mean of all that may hold something.
    pub fullest_over_mean_ppm: u64,
    /// The same of slots owned.
    pub busiest_over_mean_ppm: u64,
}

impl Balance {
    /// Counts a layout.
    pub fn of(layout: &Layout, candidates: &Candidates) -> Self {
        let mut loads = vec![Load::default(); layout.nodes().len()];
        for seats in layout.seats() {
            for (place, at) in seats.iter().enumerate() {
                if let Some(load) = loads.get_mut(at) {
                    load.held += 1;
                    load.owned += u32::from(place == 0);
                }
            }
        }
        let mut nodes: BTreeMap<NodeName, Load> =
            candidates.iter().map(|candidate| (candidate.name.clone(), Load::default())).collect();
        nodes.extend(layout.nodes().iter().cloned().zip(loads));
        let mut zones = BTreeMap::new();
        for candidate in candidates.iter() {
            let held = nodes.get(&candidate.name).map_or(0, |load| load.held);
            *zones.entry(candidate.zone.clone()).or_default() += held;
        }
        let over_mean = |count: fn(&Load) -> u32| over_mean_ppm(&nodes, candidates, count);
        let fullest_over_mean_ppm = over_mean(|load| load.held);
        let busiest_over_mean_ppm = over_mean(|load| load.owned);
        Self { nodes, zones, fullest_over_mean_ppm, busiest_over_mean_ppm }
    }
}

/// The greatest load for each unit of weight over the mean; 0 if there is no load.
fn over_mean_ppm(nodes: &BTreeMap<NodeName, Load>, candidates: &Candidates, count: fn(&Load) -> u32) -> u64 {
    let staying = || candidates.iter().filter(|candidate| candidate.stays());
    let load = |candidate: &Candidate| u64::from(nodes.get(&candidate.name).map_or(0, count));
    let (total, weights) = staying()
        .fold((0, 0), |(loads, weights), node| (loads + load(node), weights + u64::from(node.weight)));
    let ratio = |candidate: &Candidate| {
        let above = u128::from(load(candidate)) * u128::from(weights) * u128::from(WHOLE_PPM);
        let below = u128::from(candidate.weight) * u128::from(total);
        u64::try_from(above.checked_div(below).unwrap_or_default()).unwrap_or(u64::MAX)
    };
    staying().map(ratio).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::layout::{ReplicationFactor, Standing};

    #[test]
    fn loads_are_counted_by_weight() {
        let name = |text: &str| NodeName::parse(text).unwrap();
        let candidate = |text: &str, weight| Candidate {
            name: name(text),
            zone: Zone::parse("z").unwrap(),
            weight,
            standing: Standing::Taking,
        };
        let candidates =
            Candidates::new([candidate("a", 1), candidate("b", 3), candidate("spare", 0)]).unwrap();
        let layout = Layout::from_fn(Epoch::new(1), ReplicationFactor::ONE, |slot| {
            vec![name(if slot.number() < 2048 { "a" } else { "b" })]
        });
        let balance = Balance::of(&layout.unwrap(), &candidates);
        assert_eq!(balance.nodes[&name("a")], Load { held: 2048, owned: 2048 });
        assert_eq!(balance.nodes[&name("spare")], Load::default());
        assert_eq!(balance.zones[&Zone::parse("z").unwrap()], 4096);
        // Half the load with a quarter of the weight.
        assert_eq!((balance.fullest_over_mean_ppm, balance.busiest_over_mean_ppm), (2_000_000, 2_000_000));
    }
}
