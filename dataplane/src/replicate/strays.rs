//! What is to be kept and is held here although its slot is elsewhere by the layout in force: it was published, its origin has lost it, or it is
//! pinned.
//!
//! It may be nowhere else: when all replicas of a slot are away for so long that others take their places, nobody has it to give, and
//! those that come back may get other slots. So whoever holds such a version tells its replicas of it, again and again; one that has
//! it takes nothing. None of them ever leaves by itself, so where there are more than are told of at a time, chance has all of them told of
//! before long.

use cluster::layout::Slot;
use gomod::ModuleVersion;

use super::holdings::page;
use super::slots::SlotSet;
use crate::reservoir::Reservoir;
use crate::store::{Class, Store, StoreError};

/// Versions that are told of at a time.
const STRAYS_MAX: usize = 10_000;

/// The versions in the store that are to be kept and are of none of the slots in `held`; of very many, some. Blocks.
pub(super) fn strays(
    store: &Store,
    held: &SlotSet,
    is_pinned: &dyn Fn(&ModuleVersion) -> bool,
) -> Result<Vec<ModuleVersion>, StoreError> {
    some_of(store, held, is_pinned, STRAYS_MAX)
}

/// At most so many of them, each as likely as any other.
fn some_of(
    store: &Store,
    held: &SlotSet,
    is_pinned: &dyn Fn(&ModuleVersion) -> bool,
    count_max: usize,
) -> Result<Vec<ModuleVersion>, StoreError> {
    let elsewhere: SlotSet = Slot::all().filter(|slot| !held.contains(*slot)).collect();
    let (mut strays, mut after) = (Reservoir::new(count_max), None);
    loop {
        let (holdings, next) = page(store, &elsewhere, after.as_ref())?;
        for stray in holdings {
            let is_kept =
                matches!(stray.class, Class::Published | Class::Retained) || is_pinned(&stray.version);
            if is_kept && stray.zip_size > 0 {
                strays.see(stray.version);
            }
        }
        if next.is_none() {
            return Ok(strays.into_kept());
        }
        after = next;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use bytes::Bytes;
    use common::clock::SystemClock;
    use gomod::{H1, ModulePath, Version};
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::store::{Durability, Patch, StoreOptions, Verified};

    #[test]
    fn what_is_to_be_kept_and_has_its_slot_elsewhere_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default(), Arc::new(SystemClock)).unwrap();
        let version = |path: &str| {
            ModuleVersion::new(ModulePath::parse(path).unwrap(), Version::parse("v1.0.0").unwrap()).unwrap()
        };
        let names =
            ["here", "stray", "cached", "lost", "pinned"].map(|name| version(&format!("a.example/{name}")));
        let [here, stray, cached, lost, pinned] = &names;
        for (version, class) in [
            (here, Class::Published),
            (stray, Class::Published),
            (cached, Class::Cache),
            (lost, Class::Retained),
            (pinned, Class::Cache),
        ] {
            let zip = Bytes::from(format!("zip of {version}"));
            let mut writer = store.begin_blob().unwrap();
            writer.append(zip.clone()).unwrap();
            let sealed = writer.seal(Sha256::digest(&zip).into());
            let zip = Some((sealed, H1::from_bytes([0; 32])));
            let patch = Patch { zip, verified: Verified::Unchecked, class, ..Patch::default() };
            store.commit(version, patch, Durability::Synced).unwrap();
        }
        let held: SlotSet = [Slot::of("a.example/here")].into_iter().collect();
        let of = |held: &SlotSet| {
            let found = strays(&store, held, &|version| version == pinned).unwrap();
            found.into_iter().collect::<BTreeSet<_>>()
        };
        assert_eq!(of(&held), [stray, lost, pinned].map(ModuleVersion::clone).into());
        assert_eq!(of(&SlotSet::default()).len(), 4);
        let in_turn = (0..200).map(|_| some_of(&store, &SlotSet::default(), &|_| false, 1).unwrap());
        let in_turn: Vec<_> = in_turn.inspect(|told| assert_eq!(told.len(), 1)).flatten().collect();
        assert!(in_turn.contains(here) && in_turn.contains(stray), "the same one again and again");
    }
}
