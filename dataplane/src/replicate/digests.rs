//! A digest of what is held of each slot, by which replicas find where they differ without telling each other what is alike.
//!
//! Pure. A slot's digest is the sum of one hash for each of its versions, so that it does not matter in which order they are met
//! (`AdHash`: Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing", 1997). It stands for what replicas are to have alike: small
//! files, and what was published or that an origin has lost, with its zip. Zips that can be fetched again are no part of it, since each node evicts by what its own clients
//! ask for.

use cluster::layout::{SLOTS, Slot};
use sha2::{Digest as _, Sha256};

use super::holdings::Holding;
use super::slots::SlotSet;
use crate::store::Class;

/// Bytes of one slot's digest where it is sent.
const BYTES: usize = 8;

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests(Vec<u64>);

impl Default for Digests {
    fn default() -> Self {
        Self(vec![0; SLOTS])
    }
}

impl Digests {
    /// Something is held.
    pub fn add(&mut self, held: &Holding) {
        let (published, retained) = (held.class == Class::Published, held.class == Class::Retained);
        let has_zip = (published || retained) && held.zip_size > 0;
        if !(held.info || held.go_mod || has_zip) {
            return;
        }
        let slot = usize::from(Slot::of(held.version.module.as_str()).number());
        if let Some(digest) = self.0.get_mut(slot) {
            let flags = [held.info, held.go_mod, published, retained && has_zip, has_zip].map(u8::from);
            let (module, version) = (held.version.module.as_str(), held.version.version.as_str());
            let hash = Sha256::new()
                .chain_update(module)
                .chain_update([0])
                .chain_update(version)
                .chain_update([0])
                .chain_update(flags)
                .finalize();
            *digest = digest.wrapping_add(hash.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)));
        }
    }

    /// Those of `slots`, one after the other.
    pub fn to_bytes(&self, slots: &SlotSet) -> Vec<u8> {
        slots.iter().flat_map(|slot| self.of(slot).to_le_bytes()).collect()
    }

    /// The slots whose digests are others than `theirs`, which [`Self::to_bytes`] gave of `slots` elsewhere; `None` if they are not that many.
    pub fn differing(&self, slots: &SlotSet, theirs: &[u8]) -> Option<SlotSet> {
        let (digests, rest) = theirs.as_chunks::<BYTES>();
        if !rest.is_empty() || digests.len() != slots.len() {
            return None;
        }
        let differs = |(slot, digest): &(Slot, &[u8; BYTES])| self.of(*slot) != u64::from_le_bytes(**digest);
        Some(slots.iter().zip(digests).filter(differs).map(|(slot, _)| slot).collect())
    }

    fn of(&self, slot: Slot) -> u64 {
        self.0.get(usize::from(slot.number())).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use gomod::{ModulePath, ModuleVersion, Version};
    use proptest::prelude::*;

    use super::*;

    fn held(number: u8) -> Holding {
        let module = ModulePath::parse(&format!("a.example/m{}", number / 4)).unwrap();
        let version = Version::parse(&format!("v1.{}.0", number % 4)).unwrap();
        Holding {
            version: ModuleVersion::new(module, version).unwrap(),
            info: true,
            go_mod: true,
            zip_size: 7,
            class: Class::Cache,
        }
    }

    fn all() -> SlotSet {
        Slot::all().collect()
    }

    fn digests(holdings: &[Holding]) -> Digests {
        let mut digests = Digests::default();
        for held in holdings {
            digests.add(held);
        }
        digests
    }

    fn slots(holdings: &[Holding]) -> SlotSet {
        holdings.iter().map(|held| Slot::of(held.version.module.as_str())).collect()
    }

    proptest! {
        #[test]
        fn the_slots_of_what_only_one_has_differ(
            mine in prop::collection::btree_set(0_u8..64, 0..40),
            theirs in prop::collection::btree_set(0_u8..64, 0..40),
        ) {
            let of = |numbers: &std::collections::BTreeSet<u8>| numbers.iter().map(|number| held(*number)).collect::<Vec<_>>();
            // Met in another order there.
            let there: Vec<_> = of(&theirs).into_iter().rev().collect();
            let sent = digests(&there).to_bytes(&all());
            let expected = slots(&mine.symmetric_difference(&theirs).map(|number| held(*number)).collect::<Vec<_>>());
            prop_assert_eq!(digests(&of(&mine)).differing(&all(), &sent), Some(expected));
        }
    }

    #[test]
    fn what_replicas_need_not_have_alike_makes_no_difference() {
        let (whole, mut evicted) = (held(1), held(1));
        evicted.zip_size = 0;
        let alike = |one: &Holding, other: &Holding| digests(from_ref(one)) == digests(from_ref(other));
        assert!(alike(&whole, &evicted));
        for change in [
            (|held: &mut Holding| held.info = false) as fn(&mut Holding),
            |held| held.go_mod = false,
            |held| held.class = Class::Published,
            |held| held.class = Class::Retained,
        ] {
            let mut other = held(1);
            change(&mut other);
            assert!(!alike(&whole, &other), "{other:?}");
        }
        let published = Holding { class: Class::Published, ..held(1) };
        assert!(
            !alike(&published, &Holding { zip_size: 0, ..published.clone() }),
            "its zip is to be at all replicas"
        );
        let nothing = Holding { info: false, go_mod: false, ..held(1) };
        assert_eq!(digests(&[nothing]), Digests::default(), "of no use to others");
    }

    #[test]
    fn only_what_fits_is_compared() {
        let some = slots(&[held(1)]);
        let sent = digests(&[held(1)]).to_bytes(&some);
        assert_eq!(digests(&[held(1)]).differing(&some, &sent), Some(SlotSet::default()));
        assert_eq!(Digests::default().differing(&some, &sent), Some(some.clone()));
        for wrong in [&sent[1..], &[], &[sent.clone(), sent.clone()].concat()] {
            assert_eq!(Digests::default().differing(&some, wrong), None);
        }
    }
}
