//! Layouts, plans and how far moving has come.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::layout::check;
use cluster::record::{Job, JobState, LayoutRecord};
use cluster::{JobKind, Layout, NodeName, Slot, Tables, Timestamp, diff};
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
        estimated_duration: plan.diff.as_ref().and_then(|diff| {
            let bytes = diff.bytes(|_| slot_bytes);
            (bytes > 0).then(|| pace(tables).and_then(|pace| duration(bytes as f64 / pace)))?
        }),
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

/// How far the move has come by `wall`.
pub(crate) fn layout_status(tables: &Tables, sights: &Sights, wall: Timestamp) -> pb::LayoutStatus {
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
    let job = running(tables).filter(|_| moving);
    pb::LayoutStatus {
        epoch: transition.current.get(),
        state: if moving { pb::LayoutState::Moving } else { pb::LayoutState::Stable }.into(),
        bytes_left,
        bytes_total: job.map_or(0, |job| job.progress.total).max(bytes_left),
        slots_left: slots_left(tables, &behind),
        paused: transition.paused,
        left_duration: job.filter(|_| !transition.paused).and_then(|job| {
            duration(bytes_left as f64 / pace_of(job, bytes_left, wall).or_else(|| pace(tables))?)
        }),
        nodes_behind: behind.into_iter().map(ToString::to_string).collect(),
        apply_time: tables.layouts.get(&transition.current).map(|record| time(record.made)),
    }
}

/// The job of the move that is under way.
fn running(tables: &Tables) -> Option<&Job> {
    let moves = |job: &&Job| job.state == JobState::Running && job.kind.as_str() == JobKind::LAYOUT;
    tables.jobs.values().rev().find(moves)
}

/// Slots that one of these nodes comes to hold.
fn slots_left(tables: &Tables, behind: &[&NodeName]) -> u32 {
    let layout = |epoch| tables.layouts.get(&epoch).map(|record| &record.layout);
    let Some(transition) = tables.transition else { return 0 };
    let Some((old, new)) = transition.previous.and_then(layout).zip(layout(transition.current)) else {
        return 0;
    };
    let changes = diff(old, new).changes;
    changes.iter().filter(|change| change.gained().any(|name| behind.contains(&name))).count() as u32
}

/// Bytes a second of a move that is under way.
fn pace_of(job: &Job, bytes_left: u64, wall: Timestamp) -> Option<f64> {
    let copied = job.progress.total.saturating_sub(bytes_left);
    bytes_a_second(copied, wall.since(job.started))
}

/// Bytes a second of the last move that had anything to copy.
fn pace(tables: &Tables) -> Option<f64> {
    let moved = |job: &&Job| job.state == JobState::Done && job.kind.as_str() == JobKind::LAYOUT;
    let mut done = tables.jobs.values().rev().filter(moved);
    done.find_map(|job| bytes_a_second(job.progress.total, job.updated.since(job.started)))
}

fn bytes_a_second(bytes: u64, within: Duration) -> Option<f64> {
    (bytes > 0 && !within.is_zero()).then(|| bytes as f64 / within.as_secs_f64())
}

/// A time in whole seconds: more is not known.
fn duration(seconds: f64) -> Option<prost_types::Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    Some(prost_types::Duration { seconds: i64::try_from(duration.as_secs()).ok()?, nanos: 0 })
}

#[cfg(test)]
mod tests {
    use cluster::record::NodeState;

    use super::*;
    use crate::observed::Observed;
    use crate::reconcile::bed;

    #[test]
    fn a_move_tells_what_is_left_and_how_long_that_takes() {
        let clock = bed::clock(Duration::from_secs(10));
        let mut tables = bed::tables();
        let names = ["a", "b"].map(|name| bed::node(&mut tables, name, NodeState::Active));
        bed::layout(&mut tables, 1, &names[..1]);
        bed::layout(&mut tables, 2, &names);
        bed::job(&mut tables, JobKind::LAYOUT, "2");
        let at = |seconds| Timestamp::default().after(Duration::from_secs(seconds));
        let told = |tables: &Tables, bytes_left, seconds| {
            let mut observed = Observed::new(clock.start);
            bed::said(&mut observed, &names[1], bytes_left, clock.now);
            let status = layout_status(tables, &Sights::of(&observed, clock.now), at(seconds));
            let left = status.left_duration.map(|left| left.seconds);
            (status.bytes_left, status.bytes_total, status.slots_left, left)
        };
        assert_eq!(told(&tables, 1000, 1), (1000, 1000, 2048, None), "nobody knows the pace yet");
        tables.jobs.values_mut().for_each(|job| job.progress.total = 1000);
        assert_eq!(told(&tables, 400, 10), (400, 1000, 2048, Some(6)));
        tables.transition.as_mut().unwrap().paused = true;
        assert_eq!(told(&tables, 400, 10), (400, 1000, 2048, None), "it stands still");
        // The next move goes by the pace of this one.
        tables.transition.as_mut().unwrap().paused = false;
        tables.jobs.values_mut().for_each(|job| (job.state, job.updated) = (JobState::Done, at(20)));
        bed::job(&mut tables, JobKind::LAYOUT, "3");
        assert_eq!(told(&tables, 500, 20), (500, 500, 2048, Some(10)));
    }
}
