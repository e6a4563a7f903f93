//! Data nodes.

use proto::control::v1::{Node, NodeState, RemoveNodeResponse};

use super::{bytes, health, named, or_dash};
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;
use crate::time::shown;

/// Versions that stand in a sentence.
const LAST_COPIES_SHOWN: usize = 10;

/// `node list`.
pub(crate) fn list(nodes: &[Node]) -> Page {
    Page::new().table(table(nodes))
}

/// Nodes as in `cluster status`.
pub(crate) fn table(nodes: &[Node]) -> Table {
    let mut table =
        Table::new(&["NODE", "ZONE", "STATE", "HEALTH", ">WEIGHT", ">SLOTS", ">EPOCH", "LISTEN"], "no nodes");
    for node in nodes {
        table.row(vec![
            node.name.as_str().into(),
            or_dash(&node.zone),
            state(node.state()),
            health(node.health()),
            node.weight.into(),
            node.slot_count.into(),
            node.epoch.into(),
            or_dash(&node.listen),
        ]);
    }
    table
}

/// `node show`, and the node after a change.
pub(crate) fn one(node: &Node) -> Page {
    let labels: Vec<_> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut fields: Vec<(&'static str, Cell)> = vec![
        ("name", node.name.as_str().into()),
        ("state", state(node.state())),
        ("health", health(node.health())),
        ("zone", or_dash(&node.zone)),
        ("datacenter", or_dash(&node.datacenter)),
        ("weight", node.weight.into()),
        ("labels", or_dash(&labels.join(" "))),
        ("slots", format!("{}, owner of {}", node.slot_count, node.owned_slot_count).into()),
        ("epoch", node.epoch.into()),
        ("listen", or_dash(&node.listen)),
        ("rpc address", or_dash(&node.rpc_address)),
        ("version", or_dash(&node.version)),
        ("joined", shown(node.join_time.as_ref()).into()),
        ("last seen", shown(node.last_seen_time.as_ref()).into()),
        ("certificate ends", shown(node.certificate_expire_time.as_ref()).into()),
        ("generation", node.generation.into()),
    ];
    if !node.replaces.is_empty() {
        fields.push(("takes over from", node.replaces.as_str().into()));
    }
    if let Some(usage) = &node.usage {
        let disk = format!("{} free of {}", bytes(usage.disk_free_bytes), bytes(usage.disk_bytes));
        fields.push(("disk", disk.into()));
        fields.push((
            "store",
            format!("{}, {} versions", bytes(usage.store_bytes), usage.version_count).into(),
        ));
        fields.push(("requests", format!("{:.1}/s", usage.requests_per_second).into()));
    }
    Page::new().fields(fields)
}

fn state(state: NodeState) -> Cell {
    let tone = match state {
        NodeState::Active => Tone::Good,
        NodeState::Staged | NodeState::Joining | NodeState::Cordoned | NodeState::Draining => Tone::Warn,
        NodeState::Down | NodeState::Removing => Tone::Bad,
        NodeState::Removed | NodeState::Unspecified => Tone::Plain,
    };
    Cell::new(named(state), tone)
}
/// Published versions that nobody else has, for people; none if there are none.
pub(crate) fn last_copies(removed: &RemoveNodeResponse) -> Option<String> {
    let shown = removed.last_copies.iter().take(LAST_COPIES_SHOWN);
    let more = removed.last_copy_count.saturating_sub(shown.len() as u64);
    let list = shown.map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    (removed.last_copy_count > 0)
        .then(|| format!("no other node that is up has what was published as {list}{more}"))
}
