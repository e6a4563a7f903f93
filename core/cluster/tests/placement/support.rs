//! Clusters to plan for, and what can be said of a plan without knowing how it was made.

use std::collections::BTreeMap;

use cluster::{
    Candidate, Candidates, Layout, NodeName, Options, ReplicationFactor, Slot, Standing, Zone, plan,
};

/// A node as a test writes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) name: usize,
    pub(crate) zone: usize,
    pub(crate) weight: u32,
    pub(crate) standing: Standing,
}

impl Node {
    pub(crate) fn new(name: usize, zone: usize, weight: u32) -> Self {
        Self { name, zone, weight, standing: Standing::Taking }
    }
}

pub(crate) fn name(number: usize) -> NodeName {
    NodeName::parse(&format!("node-{number}")).unwrap()
}

pub(crate) fn zone(number: usize) -> Zone {
    Zone::parse(&format!("zone-{number}")).unwrap()
}

/// `count` nodes of one weight, dealt to the zones in turn.
pub(crate) fn even(count: usize, zones: usize) -> Vec<Node> {
    (0..count).map(|at| Node::new(at, at % zones, 100)).collect()
}

pub(crate) fn candidates(nodes: &[Node]) -> Candidates {
    Candidates::new(nodes.iter().map(|node| Candidate {
        name: name(node.name),
        zone: zone(node.zone),
        weight: node.weight,
        standing: node.standing,
    }))
    .unwrap()
}

pub(crate) fn options(replication: u8) -> Options {
    Options { replication: ReplicationFactor::new(replication).unwrap() }
}

pub(crate) fn planned(current: Option<&Layout>, nodes: &[Node], replication: u8) -> Layout {
    plan(current, &candidates(nodes), options(replication)).unwrap()
}

/// Numbers that look random and are the same on every run (xorshift).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// Slots held and slots owned by node.
pub(crate) fn loads(layout: &Layout) -> BTreeMap<NodeName, (u32, u32)> {
    let mut loads = BTreeMap::new();
    for slot in Slot::all() {
        for (place, node) in layout.replicas(slot).iter().enumerate() {
            let load: &mut (u32, u32) = loads.entry(node.clone()).or_default();
            load.0 += 1;
            load.1 += u32::from(place == 0);
        }
    }
    loads
}

/// What one slot may have in each zone.
pub(crate) struct Shape {
    members: BTreeMap<usize, usize>,
    level: usize,
}

impl Shape {
    pub(crate) fn of(nodes: &[Node], replication: usize) -> Self {
        let mut members: BTreeMap<usize, usize> = BTreeMap::new();
        for node in nodes.iter().filter(|node| node.weight > 0 && node.standing != Standing::Leaving) {
            *members.entry(node.zone).or_default() += 1;
        }
        let width = replication.min(members.values().sum());
        let lent = |level: usize| members.values().map(|&nodes| nodes.min(level)).sum::<usize>();
        let level = (1..=width).find(|&level| lent(level) >= width).unwrap();
        Self { members, level }
    }

    pub(crate) fn zones(&self) -> impl Iterator<Item = usize> {
        self.members.keys().copied()
    }

    pub(crate) fn most(&self, zone: usize) -> usize {
        self.members[&zone].min(self.level)
    }

    pub(crate) fn least(&self, zone: usize) -> usize {
        self.members[&zone].min(self.level - 1)
    }
}

/// Fair shares by floats, by another way than the product: raise the level step by step, node by node and zone by zone, until all is
/// given. `least` and `most` are what one slot may have in each zone.
pub(crate) fn fair_shares(nodes: &[Node], replication: usize) -> BTreeMap<NodeName, f64> {
    const SLOTS: f64 = 4096.0;
    let mut members: BTreeMap<usize, Vec<&Node>> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.weight > 0 && node.standing != Standing::Leaving) {
        members.entry(node.zone).or_default().push(node);
    }
    let count: usize = members.values().map(Vec::len).sum();
    let width = replication.min(count);
    let lent = |level: usize| members.values().map(|nodes| nodes.len().min(level)).sum::<usize>();
    let level = (1..=width).find(|&level| lent(level) >= width).unwrap();
    let total = SLOTS * width as f64;
    let zone_held = |nodes: &[&Node], at: f64| -> f64 {
        let free: f64 = nodes.iter().map(|node| (at * f64::from(node.weight)).min(SLOTS)).sum();
        let (least, most) = (nodes.len().min(level - 1) as f64, nodes.len().min(level) as f64);
        free.clamp(least * SLOTS, most * SLOTS)
    };
    let solve = |held: &dyn Fn(f64) -> f64, wanted: f64| {
        let (mut low, mut high) = (0.0, 8192.0);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if held(middle) < wanted { low = middle } else { high = middle }
        }
        high
    };
    let common = solve(&|at| members.values().map(|nodes| zone_held(nodes, at)).sum(), total);
    let mut shares = BTreeMap::new();
    for nodes in members.values() {
        let held = zone_held(nodes, common);
        let own = solve(&|at| nodes.iter().map(|node| (at * f64::from(node.weight)).min(SLOTS)).sum(), held);
        for node in nodes {
            shares.insert(name(node.name), (own * f64::from(node.weight)).min(SLOTS));
        }
    }
    shares
}

/// Everything that holds for every layout just planned.
pub(crate) fn assert_sound(layout: &Layout, nodes: &[Node], replication: usize) {
    let zones: BTreeMap<NodeName, usize> = nodes.iter().map(|node| (name(node.name), node.zone)).collect();
    let shares = fair_shares(nodes, replication);
    let mut members: BTreeMap<usize, usize> = BTreeMap::new();
    for node in shares.keys() {
        *members.entry(zones[node]).or_default() += 1;
    }
    let width = replication.min(shares.len());
    for slot in Slot::all() {
        let replicas = layout.replicas(slot).to_vec();
        assert_eq!(replicas.len(), width, "slot {slot}: {replicas:?}");
        let mut seated: BTreeMap<usize, usize> = members.keys().map(|&zone| (zone, 0)).collect();
        for (at, node) in replicas.iter().enumerate() {
            assert!(shares.contains_key(node) && !replicas[..at].contains(node), "slot {slot}: {replicas:?}");
            *seated.get_mut(&zones[node]).unwrap() += 1;
        }
        // Even: no zone with a node to spare has two fewer than another.
        for (zone, &count) in &seated {
            let spare = count < members[zone];
            assert!(!spare || seated.values().all(|&other| other <= count + 1), "slot {slot}: {seated:?}");
        }
        // As many zones as can be.
        let used = seated.values().filter(|&&count| count > 0).count();
        assert_eq!(used, width.min(members.len()), "slot {slot}: {seated:?}");
    }
    let held = loads(layout);
    for (node, share) in &shares {
        let (held, owned) = held.get(node).copied().unwrap_or_default();
        let (floor, ceil) = ((share + 1e-5).floor() as u32, (share - 1e-5).ceil() as u32);
        assert!((floor..=ceil).contains(&held), "{node} holds {held}, its share is {share}");
        assert!(owned <= held);
    }
}

/// Owner counts against fair shares of ownership: by weight, bounded by what a node holds. Returns by how much the worst is off.
pub(crate) fn owners_off_by(layout: &Layout, nodes: &[Node]) -> f64 {
    let loads = loads(layout);
    let weights: BTreeMap<NodeName, f64> =
        nodes.iter().map(|node| (name(node.name), f64::from(node.weight))).collect();
    let (mut low, mut high) = (0.0, 8192.0);
    let share = |node: &NodeName, held: u32, level: f64| (level * weights[node]).min(f64::from(held));
    for _ in 0..200 {
        let level = f64::midpoint(low, high);
        let sum: f64 = loads.iter().map(|(node, load)| share(node, load.0, level)).sum();
        if sum < 4096.0 { low = level } else { high = level }
    }
    let off = loads.iter().map(|(node, load)| {
        let share = share(node, load.0, high);
        let owned = f64::from(load.1);
        (owned - (share - 1e-5).ceil()).max((share + 1e-5).floor() - owned)
    });
    off.fold(0.0, f64::max)
}
