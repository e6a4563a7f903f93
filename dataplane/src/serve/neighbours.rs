//! Which `.info`s are likely asked for next: those of the modules whose `.mod` was fetched a moment ago.
//!
//! `go mod download` and `go list -m` first load the module graph, all its `.mod`s side by side, and then ask for
//! the `.info` of every version that minimal version selection chose, one after another
//! (cmd/go/internal/modload/list.go). With a far origin that walk is most of the wait. Selection takes the highest
//! version of each module, so those are foretold; a build that asks for no `.info` causes no extra request.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use gomod::{ModulePath, ModuleVersion, Version};

/// Modules remembered.
const MODULES_MAX: usize = 4096;
/// How long loading a module graph may take for the walk after it to be foretold.
const REMEMBERED: Duration = Duration::from_mins(2);

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    highest: HashMap<ModulePath, (Version, Instant)>,
    /// By time; entries that `highest` no longer has are passed over.
    order: VecDeque<(Instant, ModulePath)>,
}

impl Neighbours {
    /// The `.mod` of `version` was fetched from an origin at `now`.
    pub(crate) fn note(&mut self, version: &ModuleVersion, now: Instant) {
        if self.highest.get(&version.module).is_some_and(|(known, _)| *known > version.version) {
            return;
        }
        self.highest.insert(version.module.clone(), (version.version.clone(), now));
        self.order.push_back((now, version.module.clone()));
        self.trim(now);
    }

    /// The `.info` of a version of `module` was asked for at `now`: what will be next, in the order in which the
    /// `.mod`s came. Foretold once.
    pub(crate) fn take(&mut self, module: &ModulePath, now: Instant) -> Vec<ModuleVersion> {
        self.trim(now);
        if self.highest.remove(module).is_none() {
            return Vec::new();
        }
        let order = std::mem::take(&mut self.order);
        let next = order.into_iter().filter_map(|(_, module)| {
            let (version, _) = self.highest.remove(&module)?;
            Some(ModuleVersion { module, version })
        });
        next.collect()
    }

    fn trim(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front()
            && (self.order.len() > MODULES_MAX || now.saturating_duration_since(*at) > REMEMBERED)
        {
            let Some((at, module)) = self.order.pop_front() else { return };
            if self.highest.get(&module).is_some_and(|(_, noted)| *noted == at) {
                self.highest.remove(&module);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(module: &str, version: &str) -> ModuleVersion {
        ModuleVersion::new(ModulePath::parse(module).unwrap(), Version::parse(version).unwrap()).unwrap()
    }

    fn taken(neighbours: &mut Neighbours, module: &str, now: Instant) -> Vec<String> {
        let module = ModulePath::parse(module).unwrap();
        neighbours.take(&module, now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_highest_version_of_each_module_is_foretold_once() {
        let (mut neighbours, now) = (Neighbours::default(), Instant::now());
        for (module, v) in
            [("a.b/c", "v1.9.0"), ("a.b/d", "v1.0.0"), ("a.b/e", "v0.1.0"), ("a.b/d", "v1.10.0")]
        {
            neighbours.note(&version(module, v), now);
        }
        neighbours.note(&version("a.b/d", "v1.2.0"), now);
        assert_eq!(taken(&mut neighbours, "a.b/c", now), ["a.b/d@v1.10.0", "a.b/e@v0.1.0"]);
        assert!(taken(&mut neighbours, "a.b/d", now).is_empty());
    }

    #[test]
    fn a_module_outside_the_graph_foretells_nothing() {
        let (mut neighbours, now) = (Neighbours::default(), Instant::now());
        neighbours.note(&version("a.b/c", "v1.0.0"), now);
        assert!(taken(&mut neighbours, "x.y/z", now).is_empty());
        neighbours.note(&version("a.b/d", "v1.0.0"), now);
        assert_eq!(taken(&mut neighbours, "a.b/c", now), ["a.b/d@v1.0.0"]);
    }

    #[test]
    fn what_is_old_or_too_much_is_forgotten() {
        let (mut neighbours, now) = (Neighbours::default(), Instant::now());
        neighbours.note(&version("a.b/old", "v1.0.0"), now);
        let later = now + REMEMBERED + Duration::from_secs(1);
        for n in 0..2 * MODULES_MAX {
            neighbours.note(&version(&format!("a.b/m{n}"), "v1.0.0"), later);
        }
        let last = format!("a.b/m{}", 2 * MODULES_MAX - 1);
        assert_eq!(taken(&mut neighbours, &last, later).len(), MODULES_MAX - 1);
        assert!(neighbours.highest.is_empty() && neighbours.order.is_empty());
    }
}
