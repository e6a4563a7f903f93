//! What was published and is held here although its slot is elsewhere by the layout in force.
//!
//! It may be nowhere else: when all replicas of a slot are away for so long that others take their places, nobody has it to give, and
//! those that come back may get other slots. So whoever holds such a version tells its replicas of it, again and again; one that has
//! it takes nothing.

use cluster::layout::Slot;
use gomod::ModuleVersion;

use super::holdings::page;
use super::slots::SlotSet;
use crate::store::{Store, StoreError};

/// Versions that are told of at a time.
const STRAYS_MAX: usize = 10_000;

/// The published versions in the store that are of none of the slots in `held`. Blocks.
pub(super) fn strays(store: &Store, held: &SlotSet) -> Result<Vec<ModuleVersion>, StoreError> {
    let elsewhere: SlotSet = Slot::all().filter(|slot| !held.contains(*slot)).collect();
    let (mut strays, mut after) = (Vec::new(), None);
    loop {
        let (holdings, next) = page(store, &elsewhere, after.as_ref())?;
        let published = holdings.into_iter().filter(|holding| holding.published && holding.zip_size > 0);
        strays.extend(published.map(|holding| holding.version));
        strays.truncate(STRAYS_MAX);
        if next.is_none() || strays.len() == STRAYS_MAX {
            return Ok(strays);
        }
        after = next;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use common::clock::SystemClock;
    use gomod::{H1, ModulePath, Version};
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::store::{Class, Durability, Patch, StoreOptions, Verified};

    #[test]
    fn what_was_published_and_has_its_slot_elsewhere_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default(), Arc::new(SystemClock)).unwrap();
        let version = |path: &str| {
            ModuleVersion::new(ModulePath::parse(path).unwrap(), Version::parse("v1.0.0").unwrap()).unwrap()
        };
        let (here, stray, cached) =
            (version("a.example/here"), version("a.example/stray"), version("a.example/cached"));
        for (version, class) in
            [(&here, Class::Published), (&stray, Class::Published), (&cached, Class::Cache)]
        {
            let zip = Bytes::from(format!("zip of {version}"));
            let mut writer = store.begin_blob().unwrap();
            writer.append(zip.clone()).unwrap();
            let sealed = writer.seal(Sha256::digest(&zip).into());
            let zip = Some((sealed, H1::from_bytes([0; 32])));
            let patch = Patch { zip, verified: Verified::Unchecked, class, ..Patch::default() };
            store.commit(version, patch, Durability::Synced).unwrap();
        }
        let held: SlotSet = [Slot::of("a.example/here")].into_iter().collect();
        assert_eq!(strays(&store, &held).unwrap(), std::slice::from_ref(&stray));
        assert_eq!(strays(&store, &SlotSet::default()).unwrap().len(), 2);
    }
}
