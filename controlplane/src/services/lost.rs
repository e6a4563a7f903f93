//! Which published versions go for good with a node that is down: those of which no node that can be asked has the zip.
//!
//! The records tell who should have them. Who took slots over while all were away that held them has nothing of them, and heard of nothing,
//! so that he who has them is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use cluster::record::{MarkKind, Marked};
use cluster::{NodeName, Tables};
use futures_util::StreamExt as _;
use proto::data::v1 as data;

use crate::control::Control;
use crate::last_copies::LastCopies;

/// Modules that are asked about at a time.
const AT_ONCE: usize = 16;
/// Versions of a module in one answer.
const PAGE_SIZE: u32 = 1000;

/// The published versions of a module that nobody is known to have.
type Missing = BTreeMap<String, BTreeSet<Marked>>;

/// What would be lost with `node`. Whoever cannot be asked until `until` is known to have nothing.
pub(super) async fn with(control: &Control, node: &NodeName, until: Instant) -> LastCopies {
    let published = control.shared.read(|state| published(state.tables()));
    let asking = published.into_iter().map(|(module, versions)| async move {
        let mut missing = versions;
        for other in control.data_nodes.near(&module) {
            if missing.is_empty() {
                break;
            }
            if other != *node {
                take_off(control, &other, &module, &mut missing, until).await;
            }
        }
        missing
    });
    let left: Vec<BTreeSet<Marked>> =
        futures_util::stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
    LastCopies::new(&left.into_iter().flatten().collect::<BTreeSet<_>>())
}

/// What was published, but for what was taken down.
fn published(tables: &Tables) -> Missing {
    let mut published = Missing::new();
    let is_down = |about: &Marked| tables.marks.contains_key(&(MarkKind::TakenDown, about.clone()));
    for version in tables.bindings.keys() {
        if !is_down(version) && !is_down(&Marked::of_module(version)) {
            published.entry(version.module().to_owned()).or_default().insert(version.clone());
        }
    }
    published
}

/// Takes off what `node` has of the module.
async fn take_off(
    control: &Control,
    node: &NodeName,
    module: &str,
    missing: &mut BTreeSet<Marked>,
    until: Instant,
) {
    let mut page_token = String::new();
    loop {
        let asked = data::ListVersionsRequest {
            module_path: module.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
            ..Default::default()
        };
        let told = control
            .data_nodes
            .ask(node, until, |mut client| async move { client.list_versions(asked).await });
        let page = match told.await {
            Ok(page) => page,
            Err(fault) => {
                tracing::debug!(%node, %fault, "a node does not say what it holds");
                return;
            }
        };
        for version in page.versions.into_iter().filter(|version| version.zip_size > 0) {
            let name = version.name.unwrap_or_default();
            if let Ok(version) = Marked::parse(&format!("{}@{}", name.module_path, name.version)) {
                missing.remove(&version);
            }
        }
        if page.next_page_token.is_empty() {
            return;
        }
        page_token = page.next_page_token;
    }
}

#[cfg(test)]
mod tests {
    use cluster::record::{Binding, Mark};
    use cluster::{Hash, Name, Timestamp};

    use super::*;
    use crate::reconcile::bed;

    #[test]
    fn what_was_taken_down_is_missed_by_nobody() {
        let mut tables = bed::tables();
        let mark = |text: &str| Marked::parse(text).unwrap();
        for text in ["a.example/m@v1.0.0", "a.example/m@v1.1.0", "b.example/m@v1.0.0"] {
            let version = mark(text);
            let hash = Hash::from_bytes([1; 32]);
            let (since, by) = (Timestamp::default(), Name::parse("ci").unwrap());
            let binding = Binding { version: version.clone(), zip_h1: hash, go_mod_h1: hash, since, by };
            tables.bindings.insert(version, binding);
        }
        for text in ["a.example/m@v1.1.0", "b.example/m"] {
            let about = mark(text);
            let taken_down = Mark {
                about: about.clone(),
                kind: MarkKind::TakenDown,
                since: Timestamp::default(),
                by: Name::parse("somebody").unwrap(),
                why: None,
            };
            tables.marks.insert((MarkKind::TakenDown, about), taken_down);
        }
        let expected =
            Missing::from([("a.example/m".to_owned(), BTreeSet::from([mark("a.example/m@v1.0.0")]))]);
        assert_eq!(published(&tables), expected);
    }
}
