//! What data nodes store.

use proto::control::v1::{GarbageResult, NodeCacheUsage, RepairCacheResponse, ScrubCacheResponse};

use super::{bytes, or_dash};
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;

/// `cache usage`.
pub(crate) fn usage(nodes: &[NodeCacheUsage]) -> Page {
    let mut table = Table::new(
        &["NODE", ">VERSIONS", ">ZIPS", ">BYTES", ">OF", ">ON DISK", ">GARBAGE", ">FREE", "PROBLEM"],
        "no nodes",
    );
    for node in nodes {
        table.row(vec![
            node.node.as_str().into(),
            node.version_count.into(),
            node.zip_count.into(),
            bytes(node.zip_bytes).into(),
            bytes(node.capacity_bytes).into(),
            bytes(node.store_bytes).into(),
            bytes(node.garbage_bytes).into(),
            bytes(node.disk_free_bytes).into(),
            problem(&node.problem),
        ]);
    }
    let set_aside: u64 = nodes.iter().map(|node| node.quarantined_count).sum();
    let page = Page::new().table(table);
    if set_aside == 0 {
        return page;
    }
    page.line(format!("{set_aside} were set aside over time because they did not verify"))
}

fn problem(text: &str) -> Cell {
    if text.is_empty() { or_dash(text) } else { Cell::new(text, Tone::Bad) }
}

/// `cache gc`.
pub(crate) fn collected(results: &[GarbageResult]) -> Page {
    let mut table = Table::new(&["NODE", ">EVICTED", ">BYTES", ">FREED", "PROBLEM"], "nobody was asked");
    for result in results {
        table.row(vec![
            result.node.as_str().into(),
            result.evicted_count.into(),
            bytes(result.evicted_bytes).into(),
            bytes(result.freed_bytes).into(),
            problem(&result.problem),
        ]);
    }
    Page::new().table(table)
}

/// `cache scrub`.
pub(crate) fn scrubbed(nodes: &[ScrubCacheResponse], findings: &[String]) -> Page {
    let mut table =
        Table::new(&["NODE", ">VERSIONS", ">READ", ">BAD", ">WHOLE AGAIN", "PROBLEM"], "nobody was asked");
    for node in nodes {
        table.row(vec![
            node.node.as_str().into(),
            node.version_count.into(),
            bytes(node.bytes).into(),
            node.bad_count.into(),
            node.healed_count.into(),
            problem(&node.problem),
        ]);
    }
    let page = Page::new().table(table);
    findings.iter().fold(page, |page, finding| page.line(finding.as_str()))
}

/// `cache repair`.
pub(crate) fn repaired(nodes: &[RepairCacheResponse]) -> Page {
    let mut table =
        Table::new(&["NODE", ">TAKEN", ">BYTES", ">FAILED", "NOT REACHED", "PROBLEM"], "nobody was asked");
    for node in nodes {
        table.row(vec![
            node.node.as_str().into(),
            node.taken_count.into(),
            bytes(node.taken_bytes).into(),
            node.failed_count.into(),
            or_dash(&node.unreachable_nodes.join(", ")),
            problem(&node.problem),
        ]);
    }
    Page::new().table(table)
}
