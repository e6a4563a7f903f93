//! Which `.mod`s belong to a module graph that is being loaded: those that modules without graph pruning require, and so on.
//!
//! The go command loads a graph level by level, a few files at a time, and with a far origin waits for each of them. What a module for a
//! Go before 1.17 requires it loads with all that this requires in its turn (cmd/go/internal/modload, `readModGraph`), so it is foretold
//! exactly, but for what the main module replaces or excludes; of a pruned module, whose requirements are mostly roots of the main module
//! in higher versions, nothing is. How much is foretold is bounded, and for how long: a file that somebody made up for the purpose may
//! require whatever it likes. Names that an origin's file makes known go to no origin behind it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use gomod::{ModuleVersion, Requirements};

/// Versions foretold within a [`WINDOW`]; several large module graphs.
const FORETOLD_MAX: usize = 4096;
const WINDOW: Duration = Duration::from_mins(2);
/// How long after somebody asked for a file what it requires, and what that requires, is fetched ahead: loading a graph takes no longer.
const LOADING_MAX: Duration = Duration::from_mins(1);
/// A longer file is read by those who ask for it, as are requirements beyond this number: one file is not to take all the room.
const GO_MOD_BYTES_MAX: usize = 256 << 10;
const REQUIREMENTS_MAX: usize = 512;

/// What has been foretold of late.
#[derive(Debug, Default)]
pub(crate) struct Foretold {
    versions: HashSet<ModuleVersion>,
    since: Option<Instant>,
}

impl Foretold {
    /// Whether `version` has not been foretold yet, and there is room for it.
    pub(crate) fn add(&mut self, version: &ModuleVersion, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > WINDOW) {
            self.versions.clear();
            self.since = Some(now);
        }
        self.versions.len() < FORETOLD_MAX && self.versions.insert(version.clone())
    }
}

/// How a `.mod` came to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It was asked for: only the file itself says whether what it requires is loaded.
    Unknown,
    /// It belongs to the graph of a module without graph pruning, and so does what it requires; until then somebody may load it.
    Unpruned(Instant),
}

impl Place {
    /// Until when what it requires is fetched ahead.
    pub(crate) fn until(self, now: Instant) -> Instant {
        match self {
            Self::Unknown => now + LOADING_MAX,
            Self::Unpruned(until) => until,
        }
    }
}

/// What of the module graph is known to be loaded next, once this file is.
pub(crate) fn loaded_next(go_mod: &[u8], place: Place) -> Vec<ModuleVersion> {
    if go_mod.len() > GO_MOD_BYTES_MAX {
        return Vec::new();
    }
    match Requirements::read(go_mod) {
        Ok(mut read) if read.is_unpruned || place != Place::Unknown => {
            read.modules.truncate(REQUIREMENTS_MAX);
            read.modules
        }
        Ok(_) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use gomod::{ModulePath, Version};

    use super::*;

    fn version(number: usize) -> ModuleVersion {
        let module = ModulePath::parse("a.b/c").unwrap();
        ModuleVersion::new(module, Version::parse(&format!("v1.{number}.0")).unwrap()).unwrap()
    }

    #[test]
    fn a_version_is_foretold_once_and_no_more_than_there_is_room_for() {
        let (mut foretold, now) = (Foretold::default(), Instant::now());
        for (number, is_new) in [(1, true), (2, true), (1, false), (3, true)] {
            assert_eq!(foretold.add(&version(number), now), is_new, "{number}");
        }
        let added = (0..2 * FORETOLD_MAX).filter(|&number| foretold.add(&version(number), now)).count();
        assert_eq!(added, FORETOLD_MAX - 3);
        assert!(!foretold.add(&version(3 * FORETOLD_MAX), now + WINDOW));
        assert!(foretold.add(&version(1), now + WINDOW + Duration::from_secs(1)));
    }

    #[test]
    fn what_an_unpruned_module_requires_is_loaded_next() {
        let (now, later) = (Instant::now(), Instant::now() + WINDOW);
        let unpruned = Place::Unpruned(now);
        assert_eq!((unpruned.until(later), Place::Unknown.until(later)), (now, later + LOADING_MAX));
        for (go, place, is_loaded) in
            [("1.16", Place::Unknown, true), ("1.17", Place::Unknown, false), ("1.17", unpruned, true)]
        {
            let text = format!("module a.b/d\ngo {go}\nrequire a.b/c v1.1.0\n");
            let next = loaded_next(text.as_bytes(), place);
            assert_eq!(next, if is_loaded { vec![version(1)] } else { Vec::new() }, "{go} {place:?}");
        }
        let requires = |n| format!("require a.b/c v1.{n}.0");
        let requires: Vec<_> = (0..2 * REQUIREMENTS_MAX).map(requires).collect();
        let many = format!("module a.b/d\n{}", requires.join("\n"));
        assert_eq!(loaded_next(many.as_bytes(), Place::Unknown).len(), REQUIREMENTS_MAX);
        let long = format!("module a.b/d\nrequire a.b/c v1.1.0\n{}", "\n".repeat(GO_MOD_BYTES_MAX));
        assert!(loaded_next(long.as_bytes(), unpruned).is_empty());
        assert!(loaded_next(b"no go.mod", unpruned).is_empty());
    }
}
