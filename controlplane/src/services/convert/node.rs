//! Data nodes.

use cluster::record::{Node, NodeState};
use cluster::{Layout, Slot, Tables};
use proto::control::v1 as pb;

use super::{health, time};
use crate::placement;
use crate::sights::Sights;

pub(crate) fn node_state(state: &NodeState) -> pb::NodeState {
    match state {
        NodeState::Staged(_) => pb::NodeState::Staged,
        NodeState::Joining => pb::NodeState::Joining,
        NodeState::Active => pb::NodeState::Active,
        NodeState::Cordoned => pb::NodeState::Cordoned,
        NodeState::Draining => pb::NodeState::Draining,
        NodeState::Down { .. } => pb::NodeState::Down,
        NodeState::Removing => pb::NodeState::Removing,
        NodeState::Removed => pb::NodeState::Removed,
    }
}

pub(crate) fn node(tables: &Tables, node: &Node, sights: &Sights) -> pb::Node {
    let sight = sights.node(&node.name);
    let owned = placement::current(tables).map_or(0, |layout| slots_owned(layout, node));
    let settings = tables.cluster.as_ref().map(|cluster| cluster.settings).unwrap_or_default();
    let health = if node.state.is_admitted() {
        health(
            sight.map(|sight| sight.silence),
            sights.leading(),
            settings.suspect_after(),
            settings.dead_after(),
        )
    } else {
        pb::Health::Unspecified
    };
    let address = |address: &cluster::Address| address.to_string();
    pb::Node {
        name: node.name.to_string(),
        zone: node.zone.to_string(),
        datacenter: tables.cluster.as_ref().map(|cluster| cluster.datacenter.to_string()).unwrap_or_default(),
        state: node_state(&node.state).into(),
        listen: node.addresses.as_ref().map(|all| address(&all.http)).unwrap_or_default(),
        epoch: tables.syncs.get(&node.name).map_or(0, |sync| sync.epoch.get()),
        health: health.into(),
        weight: node.weight,
        labels: node.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        rpc_address: node.addresses.as_ref().map(|all| address(&all.rpc)).unwrap_or_default(),
        version: sight.map(|sight| sight.version.clone()).unwrap_or_default(),
        slot_count: tables.slots_held(&node.name),
        owned_slot_count: owned,
        usage: sight.map(|sight| sight.usage),
        join_time: node.joined.map(time),
        last_seen_time: sight.and_then(|sight| sight.last_seen),
        certificate_expire_time: node.certificate.as_ref().map(|held| time(held.expires)),
        generation: node.incarnation.get(),
        replaces: node.replaces.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn slots_owned(layout: &Layout, node: &Node) -> u32 {
    let owned = Slot::all().filter(|slot| layout.replicas(*slot).owner() == Some(&node.name));
    owned.count() as u32
}

#[cfg(test)]
mod tests {
    use cluster::{Epoch, NodeName};

    use super::*;
    use crate::reconcile::bed;

    #[test]
    fn a_node_holds_what_is_read_from_it_though_the_next_layout_has_it_elsewhere() {
        let mut tables = bed::tables();
        let [a, b] = ["a", "b"].map(|name| bed::node(&mut tables, name, NodeState::Draining));
        bed::layout(&mut tables, 1, std::slice::from_ref(&a));
        bed::layout(&mut tables, 2, std::slice::from_ref(&b));
        let counts = |tables: &Tables, name: &NodeName| {
            let shown = super::node(tables, &tables.nodes[name], &Sights::default());
            (shown.slot_count, shown.owned_slot_count)
        };
        assert_eq!(counts(&tables, &a), (4096, 0));
        assert_eq!(counts(&tables, &b), (4096, 4096));
        // All have said that they have it.
        tables.layouts.remove(&Epoch::new(1));
        assert_eq!(counts(&tables, &a), (0, 0));
    }
}
