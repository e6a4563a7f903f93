//! What single nodes hold of versions, put together: pure.

use std::collections::BTreeMap;

use cluster::NodeName;
use cluster::record::{Mark, MarkKind, Marked};
use prost::Message as _;
use proto::control::v1 as pb;
use proto::data::v1 as data;

use super::convert::time;

/// Bytes of versions in one answer; with many nodes each version has many copies.
pub(super) const ANSWER_BYTES_MAX: usize = 2 << 20;

/// A page that a node gave.
pub(super) struct NodePage {
    /// The node.
    pub(super) node: NodeName,
    /// What it holds, in order.
    pub(super) versions: Vec<data::StoredVersion>,
    /// How far it has looked, `module@version`; empty when that is to the end.
    pub(super) next: String,
}

/// A version, in the order in which nodes list them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    module: String,
    version: String,
}

impl Place {
    fn of_token(token: &str) -> Option<Self> {
        let (module, version) = token.rsplit_once('@')?;
        Some(Self { module: module.to_owned(), version: version.to_owned() })
    }

    fn token(&self) -> String {
        format!("{}@{}", self.module, self.version)
    }
}

/// Puts pages together that begin after the same version: at most `size` versions, and where to go on, empty at the end. Nothing is given of
/// what lies beyond a version up to which not all nodes have looked.
pub(super) fn merge(pages: Vec<NodePage>, size: usize) -> (Vec<pb::ModuleVersion>, String) {
    let horizon = pages.iter().filter_map(|page| Place::of_token(&page.next)).min();
    let mut merged: BTreeMap<Place, pb::ModuleVersion> = BTreeMap::new();
    let mut go_mods: BTreeMap<Place, String> = BTreeMap::new();
    for NodePage { node, versions, .. } in pages {
        for stored in versions {
            let Some(name) = &stored.name else { continue };
            let place = Place { module: name.module_path.clone(), version: name.version.clone() };
            if horizon.as_ref().is_some_and(|horizon| place > *horizon) {
                break;
            }
            let go_mod = go_mods.entry(place.clone()).or_default();
            let differs = differs(go_mod, &stored.go_mod_h1);
            if go_mod.is_empty() {
                go_mod.clone_from(&stored.go_mod_h1);
            }
            let version = merged.entry(place).or_insert_with_key(|place| pb::ModuleVersion {
                module_path: place.module.clone(),
                version: place.version.clone(),
                ..pb::ModuleVersion::default()
            });
            version.conflict |= differs;
            add(version, &node, stored);
        }
    }
    let all = merged.len();
    let mut bytes = 0;
    let fits = |(_, version): &(Place, pb::ModuleVersion)| {
        let before = bytes;
        bytes += version.encoded_len();
        before == 0 || bytes <= ANSWER_BYTES_MAX
    };
    let taken: Vec<_> = merged.into_iter().take(size).take_while(fits).collect();
    let cut = taken.len() < all;
    let next = match (cut, taken.last(), horizon) {
        (true, Some((last, _)), _) => last.token(),
        (_, _, Some(horizon)) => horizon.token(),
        (_, _, None) => String::new(),
    };
    (taken.into_iter().map(|(_, version)| version).collect(), next)
}

/// Leaves out the first of them until the rest is short enough for one answer; how many that were.
pub(super) fn leave_out(versions: &mut Vec<pb::ModuleVersion>) -> usize {
    let mut bytes = 0;
    let fitting = versions.iter().rev().take_while(|version| {
        bytes += version.encoded_len();
        bytes <= ANSWER_BYTES_MAX
    });
    let left_out = versions.len() - fitting.count();
    versions.drain(..left_out);
    left_out
}

/// What is bound to two hashes is two things.
fn differs(one: &str, other: &str) -> bool {
    !one.is_empty() && !other.is_empty() && one != other
}

fn add(version: &mut pb::ModuleVersion, node: &NodeName, stored: data::StoredVersion) {
    version.conflict |= differs(&version.zip_h1, &stored.zip_h1);
    if version.zip_h1.is_empty() {
        version.zip_h1.clone_from(&stored.zip_h1);
    }
    version.zip_size = version.zip_size.max(stored.zip_size);
    version.verified |= stored.verified;
    let first = |seen: &prost_types::Timestamp| (seen.seconds, seen.nanos);
    if let Some(seen) = stored.first_seen_time
        && version.first_seen_time.as_ref().is_none_or(|before| first(&seen) < first(before))
    {
        version.first_seen_time = Some(seen);
    }
    version.copies.push(pb::Copy {
        node: node.to_string(),
        info: stored.info,
        go_mod: stored.go_mod,
        zip_size: stored.zip_size,
        zip_h1: stored.zip_h1,
        verified: stored.verified,
        origin: stored.origin,
        first_seen_time: stored.first_seen_time,
        class: stored.class,
    });
}

/// A mark as it is told.
pub(super) fn mark(mark: &Mark) -> pb::Mark {
    pb::Mark {
        module_path: mark.about.module().to_owned(),
        version: mark.about.version().unwrap_or_default().to_owned(),
        kind: told_kind(mark.kind).into(),
        mark_time: Some(time(mark.since)),
        by: mark.by.to_string(),
        reason: mark.why.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn told_kind(kind: MarkKind) -> pb::MarkKind {
    match kind {
        MarkKind::Pinned => pb::MarkKind::Pinned,
        MarkKind::Quarantined => pb::MarkKind::Quarantined,
        MarkKind::TakenDown => pb::MarkKind::TakenDown,
    }
}

/// The kind that is asked for; none for all of them.
pub(super) fn asked_kind(kind: pb::MarkKind) -> Option<MarkKind> {
    match kind {
        pb::MarkKind::Unspecified => None,
        pb::MarkKind::Pinned => Some(MarkKind::Pinned),
        pb::MarkKind::Quarantined => Some(MarkKind::Quarantined),
        pb::MarkKind::TakenDown => Some(MarkKind::TakenDown),
    }
}

/// Says of the copies of what is pinned how they are kept: by the mark, and not by anything that stands in the node's record.
pub(super) fn retain(version: &mut pb::ModuleVersion) {
    if version.marks.iter().any(|mark| mark.kind() == pb::MarkKind::Pinned) {
        for copy in version.copies.iter_mut().filter(|copy| copy.class == "cache") {
            "retained".clone_into(&mut copy.class);
        }
    }
}

/// What is said of a module, or of one of its versions alone.
pub(super) fn marks_of(
    marks: &BTreeMap<(MarkKind, Marked), Mark>,
    module: &str,
    version: Option<&str>,
) -> Vec<pb::Mark> {
    let about = |mark: &&Mark| mark.about.module() == module && mark.about.version() == version;
    marks.values().filter(about).map(mark).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(module: &str, version: &str, h1: &str) -> data::StoredVersion {
        let name = data::VersionName { module_path: module.to_owned(), version: version.to_owned() };
        let zip_h1 = h1.to_owned();
        data::StoredVersion { name: Some(name), info: true, zip_h1, ..data::StoredVersion::default() }
    }

    fn node(number: usize) -> NodeName {
        NodeName::parse(&format!("data-{number}")).unwrap()
    }

    #[test]
    fn two_nodes_with_other_content_are_a_conflict() {
        let page = |number, h1| NodePage {
            node: node(number),
            versions: vec![stored("a.example/m", "v1.0.0", h1)],
            next: String::new(),
        };
        let (versions, next) = merge(vec![page(1, "h1:a"), page(2, ""), page(3, "h1:a")], 10);
        assert!(next.is_empty() && !versions[0].conflict && versions[0].copies.len() == 3);
        let (versions, _) = merge(vec![page(1, "h1:a"), page(2, "h1:b")], 10);
        assert!(versions[0].conflict);
    }

    /// A node that gives `size` versions at a time.
    fn page_of(number: usize, held: &[(u8, u8)], after: &str, size: usize) -> NodePage {
        let all = held.iter().map(|(module, version)| {
            (format!("{}.example/m", char::from(b'a' + module)), format!("v1.{version}.0"))
        });
        let mut all: Vec<_> = all.collect();
        all.sort();
        all.dedup();
        let after = Place::of_token(after);
        let left = all.iter().filter(|(module, version)| {
            let place = Place { module: module.clone(), version: version.clone() };
            after.as_ref().is_none_or(|after| place > *after)
        });
        let left: Vec<_> = left.collect();
        let taken: Vec<_> = left.iter().take(size).copied().collect();
        let next = match taken.last() {
            Some((module, version)) if taken.len() < left.len() => format!("{module}@{version}"),
            _ => String::new(),
        };
        let versions = taken.into_iter().map(|(module, version)| stored(module, version, "h1:x")).collect();
        NodePage { node: node(number), versions, next }
    }

    proptest! {
        #[test]
        fn pages_of_all_nodes_give_each_version_once_with_all_its_copies(
            held in prop::collection::vec(prop::collection::vec((0_u8..4, 0_u8..9), 0..20), 1..4),
            size in 1_usize..7,
            of_node in 1_usize..7,
        ) {
            let (mut all, mut token) = (Vec::new(), String::new());
            for _ in 0..200 {
                let pages = held.iter().enumerate().map(|(n, held)| page_of(n, held, &token, of_node));
                let (versions, next) = merge(pages.collect(), size);
                prop_assert!(versions.len() <= size);
                all.extend(versions);
                token = next;
                if token.is_empty() {
                    break;
                }
            }
            prop_assert!(token.is_empty(), "it never ends");
            let mut expected: BTreeMap<(String, String), usize> = BTreeMap::new();
            for held in &held {
                let mut held = held.clone();
                held.sort_unstable();
                held.dedup();
                for (module, version) in held {
                    let key = (format!("{}.example/m", char::from(b'a' + module)), format!("v1.{version}.0"));
                    *expected.entry(key).or_default() += 1;
                }
            }
            let found: Vec<_> = all
                .iter()
                .map(|version| ((version.module_path.clone(), version.version.clone()), version.copies.len()))
                .collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
