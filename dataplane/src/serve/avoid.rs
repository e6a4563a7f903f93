//! Which origin gave bad content for which version a moment ago, so that the next fetch asks another first.

use std::sync::Arc;

use gomod::ModuleVersion;
use quick_cache::sync::Cache;

use crate::upstream::OriginId;

/// Versions remembered.
const VERSIONS_MAX: usize = 1024;

/// See the head of this file.
pub(crate) struct Avoided {
    by_version: Cache<ModuleVersion, Arc<[OriginId]>>,
}

impl Default for Avoided {
    fn default() -> Self {
        Self { by_version: Cache::new(VERSIONS_MAX) }
    }
}

impl Avoided {
    /// Origins not to ask for `version`.
    pub(crate) fn of(&self, version: &ModuleVersion) -> Vec<OriginId> {
        self.by_version.get(version).map(|origins| origins.to_vec()).unwrap_or_default()
    }

    /// `origin` gave bad content for `version`.
    pub(crate) fn add(&self, version: &ModuleVersion, origin: &OriginId) {
        let mut origins = self.of(version);
        if !origins.contains(origin) {
            origins.push(origin.clone());
            self.by_version.insert(version.clone(), origins.into());
        }
    }

    /// All are welcome again.
    pub(crate) fn clear(&self, version: &ModuleVersion) {
        self.by_version.remove(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gomod::{ModulePath, Version};

    #[test]
    fn origins_are_avoided_per_version_until_cleared() {
        let module = ModulePath::parse("a.example/m").unwrap();
        let one = ModuleVersion::new(module.clone(), Version::parse("v1.0.0").unwrap()).unwrap();
        let other = ModuleVersion::new(module, Version::parse("v1.0.1").unwrap()).unwrap();
        let avoided = Avoided::default();
        let origin = OriginId::new(0, "bad.example");
        avoided.add(&one, &origin);
        avoided.add(&one, &origin);
        assert_eq!(avoided.of(&one), [origin]);
        assert!(avoided.of(&other).is_empty());
        avoided.clear(&one);
        assert!(avoided.of(&one).is_empty());
    }
}
