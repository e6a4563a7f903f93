//! Modules.

use proto::control::v1::{
    GetModuleResponse, Mark, MarkKind, ModuleVersion, PublishVersionResponse, PurgeResult,
    VerifyModuleResponse, WarmVersionsResponse,
};

use super::{bytes, named, or_dash};
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;
use crate::time::shown;

/// `module list`.
pub(crate) fn list(versions: &[ModuleVersion]) -> Page {
    let mut table =
        Table::new(&["MODULE", "VERSION", ">ZIP", ">COPIES", "VERIFIED", "STATE"], "no versions are held");
    for version in versions {
        table.row(vec![
            version.module_path.as_str().into(),
            version.version.as_str().into(),
            size(version.zip_size),
            (version.copies.len() as u64).into(),
            if version.verified { "yes".into() } else { "no".into() },
            state(version),
        ]);
    }
    Page::new().table(table)
}

fn size(bytes_held: u64) -> Cell {
    if bytes_held == 0 { "-".into() } else { bytes(bytes_held).into() }
}

/// The gravest that is to be said of a version.
fn state(version: &ModuleVersion) -> Cell {
    if version.conflict {
        return Cell::new("conflict", Tone::Bad);
    }
    match version.marks.iter().map(Mark::kind).max() {
        None | Some(MarkKind::Unspecified) => "-".into(),
        Some(kind) => kind_cell(kind),
    }
}

fn kind_cell(kind: MarkKind) -> Cell {
    let tone = match kind {
        MarkKind::TakenDown => Tone::Bad,
        MarkKind::Quarantined => Tone::Warn,
        MarkKind::Pinned => Tone::Good,
        MarkKind::Unspecified => Tone::Plain,
    };
    Cell::new(named(kind), tone)
}

/// `module show`.
pub(crate) fn one(module: &GetModuleResponse) -> Page {
    let page = Page::new().fields(vec![
        ("module", module.module_path.as_str().into()),
        ("slot", module.slot.into()),
        ("owners", or_dash(&module.owners.join(", "))),
    ]);
    let page = if module.marks.is_empty() { page } else { page.join(marks(&module.marks)) };
    let [version] = &module.versions[..] else { return page.join(list(&module.versions)) };
    let mut table = Table::new(
        &["NODE", "INFO", "MOD", ">ZIP", "VERIFIED", "CLASS", "FIRST SEEN", "ORIGIN"],
        "nobody holds anything of it",
    );
    for copy in &version.copies {
        let has = |held: bool| if held { "yes".into() } else { "-".into() };
        table.row(vec![
            copy.node.as_str().into(),
            has(copy.info),
            has(copy.go_mod),
            size(copy.zip_size),
            has(copy.verified),
            copy.class.as_str().into(),
            shown(copy.first_seen_time.as_ref()).into(),
            or_dash(&copy.origin),
        ]);
    }
    let page = page
        .fields(vec![
            ("version", version.version.as_str().into()),
            ("zip", or_dash(&version.zip_h1)),
            ("state", state(version)),
        ])
        .table(table);
    let own: Vec<_> = version.marks.iter().filter(|mark| !mark.version.is_empty()).cloned().collect();
    if own.is_empty() { page } else { page.join(marks(&own)) }
}

/// `module marks`, and a mark after a change.
pub(crate) fn marks(marks: &[Mark]) -> Page {
    let mut table = Table::new(&["MODULE", "VERSION", "STATE", "SINCE", "BY", "REASON"], "nothing is said");
    for mark in marks {
        table.row(vec![
            mark.module_path.as_str().into(),
            or_dash(&mark.version),
            kind_cell(mark.kind()),
            shown(mark.mark_time.as_ref()).into(),
            mark.by.as_str().into(),
            or_dash(&mark.reason),
        ]);
    }
    Page::new().table(table)
}

/// `module warm`.
pub(crate) fn warmed(results: &[WarmVersionsResponse]) -> Page {
    let mut table = Table::new(&["MODULE", "VERSION", "NODE", ">BYTES", "STATE"], "nothing was fetched");
    for result in results {
        let item = result.item.clone().unwrap_or_default();
        let state = match (result.problem.as_str(), result.was_held) {
            ("", true) => "held before".into(),
            ("", false) => Cell::new("fetched", Tone::Good),
            (problem, _) => Cell::new(problem, Tone::Bad),
        };
        table.row(vec![
            item.module_path.into(),
            item.version.into(),
            or_dash(&result.node),
            bytes(result.bytes).into(),
            state,
        ]);
    }
    let failed = results.iter().filter(|result| !result.problem.is_empty()).count();
    Page::new().table(table).join(count(failed, results.len()))
}

/// How many of them failed; nothing if none did.
pub(crate) fn count(failed: usize, all: usize) -> Page {
    if failed == 0 { Page::new() } else { Page::new().line(format!("{failed} of {all} could not be had")) }
}

/// `module purge`.
pub(crate) fn purged(results: &[PurgeResult]) -> Page {
    let mut table = Table::new(&["NODE", ">VERSIONS", ">FREED", "PROBLEM"], "nobody was asked");
    for result in results {
        table.row(vec![
            result.node.as_str().into(),
            result.version_count.into(),
            bytes(result.freed_bytes).into(),
            or_dash(&result.problem),
        ]);
    }
    Page::new().table(table)
}

/// `module publish`. In a dry run nobody has looked at the content.
pub(crate) fn published(told: &PublishVersionResponse, dry_run: bool) -> Page {
    let before = match (told.was_published, dry_run) {
        (false, _) => "-",
        (true, false) => "the same",
        (true, true) => "already published; other content under its name is refused",
    };
    Page::new().fields(vec![
        ("zip", or_dash(&told.zip_h1)),
        ("go.mod", or_dash(&told.go_mod_h1)),
        ("published", shown(told.publish_time.as_ref()).into()),
        ("nodes", or_dash(&told.nodes.join(", "))),
        ("before", before.into()),
    ])
}

/// `module verify`.
pub(crate) fn verified(results: &[VerifyModuleResponse]) -> Page {
    let mut table = Table::new(
        &["NODE", "VERSION", ">READ", "CHECKSUMS", "SET ASIDE", "RESULT"],
        "nobody holds anything of it",
    );
    for result in results {
        let found = match &result.problems[..] {
            [] if result.not_held => "not held".into(),
            [] => Cell::new("as it must be", Tone::Good),
            problems => Cell::new(problems.join("; "), Tone::Bad),
        };
        table.row(vec![
            result.node.as_str().into(),
            or_dash(&result.version),
            bytes(result.bytes).into(),
            or_dash(&result.checksum_database),
            if result.set_aside { "yes".into() } else { "-".into() },
            found,
        ]);
    }
    Page::new().table(table)
}
