//! Layouts, plans, moves.

use std::fmt::Write as _;

use proto::control::v1::{Layout, LayoutNode, LayoutPlan, LayoutState, LayoutStatus, LocateModuleResponse};

use super::{bytes, named, or_dash};
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;
use crate::time::{of_wire, shown};

/// The layout's state on one line, as in `cluster status`.
pub(super) fn in_short(status: &LayoutStatus) -> Cell {
    let mut text = format!("epoch {}, {}", status.epoch, named(status.state()));
    if status.paused {
        text.push_str(", paused");
    }
    if status.state() == LayoutState::Moving {
        let _ = write!(text, ", {} left", bytes(status.bytes_left));
    }
    Cell::new(text, tone(status))
}

fn tone(status: &LayoutStatus) -> Tone {
    match status.state() {
        LayoutState::Stable => Tone::Good,
        LayoutState::Moving => Tone::Warn,
        LayoutState::Unspecified => Tone::Plain,
    }
}

/// `layout status`, `layout pause`, `layout resume`.
pub(crate) fn status(status: &LayoutStatus) -> Page {
    let left = status.left_duration.as_ref().and_then(of_wire).unwrap_or_else(|| "-".to_owned());
    Page::new().fields(vec![
        ("epoch", status.epoch.into()),
        ("state", Cell::new(named(status.state()), tone(status))),
        ("paused", if status.paused { Cell::new("yes", Tone::Warn) } else { "no".into() }),
        ("left", format!("{} of {}", bytes(status.bytes_left), bytes(status.bytes_total)).into()),
        ("slots left", status.slots_left.into()),
        ("time left", left.into()),
        ("behind", or_dash(&status.nodes_behind.join(" "))),
        ("in force since", shown(status.apply_time.as_ref()).into()),
    ])
}

/// `layout show`.
pub(crate) fn one(layout: &Layout) -> Page {
    let fields = vec![
        ("epoch", Cell::from(layout.epoch)),
        ("copies", layout.replication_factor.into()),
        ("in force since", shown(layout.apply_time.as_ref()).into()),
        ("author", or_dash(&layout.author)),
        ("reason", or_dash(&layout.reason)),
    ];
    let mut slots = Table::new(&[">SLOT", "OWNER, THEN OTHERS"], "");
    for slot in &layout.slots {
        slots.row(vec![slot.slot.into(), slot.owners.join(" ").into()]);
    }
    Page::new().fields(fields).table(nodes(&layout.nodes)).table(slots)
}

fn nodes(nodes: &[LayoutNode]) -> Table {
    let mut table = Table::new(&["NODE", "ZONE", ">WEIGHT", ">SLOTS", ">OWNED"], "no nodes");
    for node in nodes {
        table.row(vec![
            node.name.as_str().into(),
            or_dash(&node.zone),
            node.weight.into(),
            node.slot_count.into(),
            node.owned_slot_count.into(),
        ]);
    }
    table
}

/// `layout locate`.
pub(crate) fn located(located: &LocateModuleResponse) -> Page {
    Page::new().fields(vec![
        ("module", located.module.as_str().into()),
        ("slot", located.slot.into()),
        ("epoch", located.epoch.into()),
        ("owner", or_dash(located.owners.first().map_or("", String::as_str))),
        ("others", or_dash(&located.owners.get(1..).unwrap_or_default().join(" "))),
    ])
}

/// `layout plan`, `layout apply`, `layout revert`; with each slot that changes where that is asked for.
pub(crate) fn plan(plan: &LayoutPlan, slots: bool) -> Page {
    if plan.changes.is_empty() {
        return Page::new().line("nothing would change");
    }
    let time = plan.estimated_duration.as_ref().and_then(of_wire).unwrap_or_else(|| "-".to_owned());
    let mut page = Page::new().fields(vec![
        ("epoch", plan.epoch.into()),
        ("slots that change", (plan.changes.len() as u64).into()),
        ("to be copied", bytes(plan.bytes).into()),
        ("time", time.into()),
        ("fullest over mean", format!("{:.3}", plan.fullest_over_mean).into()),
    ]);
    page = page.table(nodes(&plan.nodes));
    for warning in &plan.warnings {
        page = page.line(Cell::new(format!("warning: {warning}"), Tone::Warn));
    }
    if slots {
        let mut table = Table::new(&[">SLOT", "FROM", "TO"], "");
        for change in &plan.changes {
            table.row(vec![
                change.slot.into(),
                or_dash(&change.from.join(" ")),
                or_dash(&change.to.join(" ")),
            ]);
        }
        page = page.table(table);
    }
    page
}

/// `layout history`.
pub(crate) fn history(layouts: &[Layout]) -> Page {
    let mut table = Table::new(&[">EPOCH", "SINCE", ">NODES", ">COPIES", "AUTHOR", "REASON"], "no layouts");
    for layout in layouts {
        table.row(vec![
            layout.epoch.into(),
            shown(layout.apply_time.as_ref()).into(),
            (layout.nodes.len() as u64).into(),
            layout.replication_factor.into(),
            or_dash(&layout.author),
            or_dash(&layout.reason),
        ]);
    }
    Page::new().table(table)
}
