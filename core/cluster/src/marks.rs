//! What is said of modules, arranged for being asked about single files.

use std::collections::BTreeMap;

use crate::record::{Mark, MarkKind, Marked};

/// Marks by module and version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    modules: BTreeMap<String, OfModule>,
    has_blocks: bool,
    taken_down: Vec<Marked>,
}

/// What is said of one module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct OfModule {
    whole: Said,
    versions: BTreeMap<String, Said>,
}

/// What is said of one thing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Said {
    pinned: bool,
    /// The gravest reason not to serve it.
    block: Option<Mark>,
}

impl Marks {
    /// Arranges these.
    pub fn of<'a>(marks: impl IntoIterator<Item = &'a Mark>) -> Self {
        let mut arranged = Self::default();
        for mark in marks {
            arranged.has_blocks |= mark.kind != MarkKind::Pinned;
            if mark.kind == MarkKind::TakenDown {
                arranged.taken_down.push(mark.about.clone());
            }
            let module = arranged.modules.entry(mark.about.module().to_owned()).or_default();
            let said = match mark.about.version() {
                Some(version) => module.versions.entry(version.to_owned()).or_default(),
                None => &mut module.whole,
            };
            match mark.kind {
                MarkKind::Pinned => said.pinned = true,
                MarkKind::Quarantined | MarkKind::TakenDown => {
                    let graver = said.block.as_ref().is_none_or(|before| before.kind < mark.kind);
                    if graver {
                        said.block = Some(mark.clone());
                    }
                }
            }
        }
        arranged
    }

    /// Whether anything at all is not to be served.
    pub fn has_blocks(&self) -> bool {
        self.has_blocks
    }

    /// What was taken down.
    pub fn taken_down(&self) -> &[Marked] {
        &self.taken_down
    }

    /// Whether anything of a module is not to be served, one of its versions or all.
    pub fn concerns(&self, module: &str) -> bool {
        self.has_blocks
            && self.modules.get(module).is_some_and(|module| {
                module.whole.block.is_some() || module.versions.values().any(|said| said.block.is_some())
            })
    }

    /// Why a version is not to be served, or with none the module as a whole: the gravest that is said of either.
    pub fn block(&self, module: &str, version: Option<&str>) -> Option<&Mark> {
        if !self.has_blocks {
            return None;
        }
        let module = self.modules.get(module)?;
        let version = version.and_then(|version| module.versions.get(version)?.block.as_ref());
        // Of two that are as grave, what is said of the whole module.
        version.into_iter().chain(&module.whole.block).max_by_key(|mark| mark.kind)
    }

    /// What is to be kept: modules as a whole, and single versions.
    pub fn pinned(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.modules.iter().flat_map(|(path, module)| {
            let whole = module.whole.pinned.then_some((path.as_str(), None));
            let versions = module.versions.iter().filter(|(_, said)| said.pinned);
            whole.into_iter().chain(versions.map(|(version, _)| (path.as_str(), Some(version.as_str()))))
        })
    }

    /// Whether a version is to be kept.
    pub fn pins(&self, module: &str, version: &str) -> bool {
        self.modules.get(module).is_some_and(|module| {
            module.whole.pinned || module.versions.get(version).is_some_and(|said| said.pinned)
        })
    }
}

/// The key that [`crate::Tables`] have a mark under.
pub(crate) fn key_of(mark: &Mark) -> (MarkKind, Marked) {
    (mark.kind, mark.about.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn mark(about: &str, kind: MarkKind) -> Mark {
        let (about, by) = (about.parse().unwrap(), "ann".parse().unwrap());
        Mark { about, kind, since: Timestamp::default(), by, why: None }
    }

    #[test]
    fn the_gravest_word_counts_whether_of_the_version_or_of_the_module() {
        let marks = [
            mark("example.com/a", MarkKind::Quarantined),
            mark("example.com/a@v1.0.0", MarkKind::TakenDown),
            mark("example.com/a@v1.1.0", MarkKind::Pinned),
            mark("example.com/b@v1.0.0", MarkKind::Quarantined),
        ];
        let marks = Marks::of(&marks);
        let kind = |module, version| marks.block(module, version).map(|mark| mark.kind);
        assert_eq!(kind("example.com/a", Some("v1.0.0")), Some(MarkKind::TakenDown));
        assert_eq!(kind("example.com/a", Some("v1.1.0")), Some(MarkKind::Quarantined));
        assert_eq!(kind("example.com/a", None), Some(MarkKind::Quarantined));
        assert_eq!(kind("example.com/b", Some("v1.0.0")), Some(MarkKind::Quarantined));
        assert_eq!(kind("example.com/b", Some("v1.0.1")), None);
        assert_eq!(kind("example.com/b", None), None);
        assert!(marks.concerns("example.com/b") && !marks.concerns("example.com/c"));
        assert!(marks.pinned().any(|pin| pin == ("example.com/a", Some("v1.1.0"))));
        assert!(marks.pins("example.com/a", "v1.1.0") && !marks.pins("example.com/a", "v1.0.0"));
        let pins = Marks::of(&[mark("example.com/a", MarkKind::Pinned)]);
        assert!(
            pins.pins("example.com/a", "v9.0.0") && !pins.has_blocks() && !pins.concerns("example.com/a")
        );
    }
}
