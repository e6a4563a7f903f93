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
    let (held, owned) = placement::current(tables).map_or((0, 0), |layout| slots(layout, node));
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
        slot_count: held,
        owned_slot_count: owned,
        usage: sight.map(|sight| sight.usage),
        join_time: node.joined.map(time),
        last_seen_time: sight.and_then(|sight| sight.last_seen),
        certificate_expire_time: node.certificate.as_ref().map(|held| time(held.expires)),
        generation: node.incarnation.get(),
        replaces: node.replaces.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Slots that a node holds, and those of them that it owns.
fn slots(layout: &Layout, node: &Node) -> (u32, u32) {
    let (mut held, mut owned) = (0, 0);
    for slot in Slot::all() {
        let replicas = layout.replicas(slot);
        held += u32::from(replicas.contains(&node.name));
        owned += u32::from(replicas.owner() == Some(&node.name));
    }
    (held, owned)
}
