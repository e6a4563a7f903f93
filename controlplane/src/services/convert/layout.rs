//! Layouts, plans and how far moving has come.

use std::collections::BTreeMap;

use cluster::layout::check;
use cluster::record::LayoutRecord;
use cluster::{Layout, NodeName, Slot, Tables};
use proto::control::v1 as pb;

use super::time;
use crate::placement::Plan;
use crate::sights::Sights;

/// Each node's part of a layout.
pub(crate) fn layout_nodes(tables: &Tables, layout: &Layout) -> Vec<pb::LayoutNode> {
    let mut counts: BTreeMap<&NodeName, (u32, u32)> =
        layout.nodes().iter().map(|name| (name, (0, 0))).collect();
    for slot in Slot::all() {
        for (place, name) in layout.replicas(slot).iter().enumerate() {
            if let Some((held, owned)) = counts.get_mut(name) {
                *held += 1;
                *owned += u32::from(place == 0);
            }
        }
    }
    counts
        .into_iter()
        .map(|(name, (held, owned))| {
            let node = tables.nodes.get(name);
            pb::LayoutNode {
                name: name.to_string(),
                zone: node.map(|node| node.zone.to_string()).unwrap_or_default(),
                weight: node.map_or(0, |node| node.weight),
                slot_count: held,
                owned_slot_count: owned,
            }
        })
        .collect()
}

pub(crate) fn layout(tables: &Tables, record: &LayoutRecord, with_slots: bool) -> pb::Layout {
    let layout = &record.layout;
    let placement = |slot: Slot| pb::SlotPlacement {
        slot: u32::from(slot.number()),
        owners: layout.replicas(slot).iter().map(ToString::to_string).collect(),
    };
    pb::Layout {
        epoch: layout.epoch().get(),
        replication_factor: u32::from(layout.replication().get()),
        nodes: layout_nodes(tables, layout),
        slots: if with_slots { Slot::all().map(placement).collect() } else { Vec::new() },
        apply_time: Some(time(record.made)),
        author: record.by.to_string(),
        reason: record.note.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

pub(crate) fn layout_plan(tables: &Tables, plan: &Plan, sights: &Sights) -> pb::LayoutPlan {
    let names = |names: &[NodeName]| names.iter().map(ToString::to_string).collect();
    let slot_bytes = sights.bytes_of_slot(plan.layout.replication());
    let changes = match &plan.diff {
        Some(diff) => diff
            .changes
            .iter()
            .map(|change| pb::SlotChange {
                slot: u32::from(change.slot.number()),
                from: names(&change.from),
                to: names(&change.to),
            })
            .collect(),
        None => Slot::all()
            .map(|slot| pb::SlotChange {
                slot: u32::from(slot.number()),
                from: Vec::new(),
                to: names(&plan.layout.replicas(slot).to_vec()),
            })
            .collect(),
    };
    let findings = check(&plan.layout, &plan.candidates);
    let warnings = findings.iter();
    pb::LayoutPlan {
        epoch: plan.layout.epoch().get(),
        changes,
        bytes: plan.diff.as_ref().map_or(0, |diff| diff.bytes(|_| slot_bytes)),
        fullest_over_mean: fullest_over_mean(tables, &plan.layout),
        nodes: layout_nodes(tables, &plan.layout),
        warnings: warnings.map(ToString::to_string).collect(),
        estimated_duration: None,
    }
}

/// What the fullest node holds by its weight, over the mean.
fn fullest_over_mean(tables: &Tables, layout: &Layout) -> f64 {
    let nodes = layout_nodes(tables, layout);
    let weighed = |node: &pb::LayoutNode| f64::from(node.slot_count) / f64::from(node.weight.max(1));
    let weights: u32 = nodes.iter().map(|node| node.weight.max(1)).sum();
    let slots: u32 = nodes.iter().map(|node| node.slot_count).sum();
    let mean = f64::from(slots) / f64::from(weights.max(1));
    let fullest = nodes.iter().map(weighed).fold(0.0, f64::max);
    if mean > 0.0 { fullest / mean } else { 0.0 }
}

pub(crate) fn layout_status(tables: &Tables, sights: &Sights) -> pb::LayoutStatus {
    let Some(transition) = tables.transition else { return pb::LayoutStatus::default() };
    let moving = transition.previous.is_some();
    let behind: Vec<_> = match tables.layouts.get(&transition.current) {
        Some(record) if moving => {
            let lags =
                |name: &&NodeName| tables.syncs.get(*name).is_none_or(|sync| sync.epoch < transition.current);
            record.layout.nodes().iter().filter(lags).collect()
        }
        _ => Vec::new(),
    };
    let bytes_left = behind.iter().filter_map(|name| sights.node(name)).map(|sight| sight.bytes_left).sum();
    pb::LayoutStatus {
        epoch: transition.current.get(),
        state: if moving { pb::LayoutState::Moving } else { pb::LayoutState::Stable }.into(),
        bytes_left,
        bytes_total: 0,
        slots_left: 0,
        paused: transition.paused,
        nodes_behind: behind.into_iter().map(ToString::to_string).collect(),
        apply_time: tables.layouts.get(&transition.current).map(|record| time(record.made)),
        left_duration: None,
    }
}
