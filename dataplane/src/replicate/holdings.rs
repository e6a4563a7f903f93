//! What the store holds of some slots, page by page.

use cluster::layout::Slot;
use gomod::ModuleVersion;

use super::digests::Digests;
use super::slots::SlotSet;
use crate::store::{Class, Store, StoreError};

/// Records looked at for one page, and holdings in it.
const RECORDS_MAX: usize = 16_384;
const HOLDINGS_MAX: usize = 1000;

/// What is held of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holding {
    /// The version.
    pub version: ModuleVersion,
    /// Whether its `.info` is.
    pub info: bool,
    /// Whether its go.mod is.
    pub go_mod: bool,
    /// The length of its zip; 0 if that is not held.
    pub zip_size: u64,
    /// How much it is worth: what is not of the class `cache` is to be at all replicas.
    pub class: Class,
}

/// Digests of all that is held of `slots`. Blocks.
pub fn digests_of(store: &Store, slots: &SlotSet) -> Result<Digests, StoreError> {
    let (mut digests, mut after) = (Digests::default(), None);
    if slots.is_empty() {
        return Ok(digests);
    }
    loop {
        let (holdings, next) = page(store, slots, after.as_ref())?;
        for held in &holdings {
            digests.add(held);
        }
        if next.is_none() {
            return Ok(digests);
        }
        after = next;
    }
}

/// The holdings of `slots` that follow `after`, and where the next page begins; without that, it was the last. Records that cannot be read
/// are passed over: whoever asks for such a version has it set aside and fetched anew. Blocks.
pub fn page(
    store: &Store,
    slots: &SlotSet,
    after: Option<&ModuleVersion>,
) -> Result<(Vec<Holding>, Option<ModuleVersion>), StoreError> {
    let (mut holdings, mut last, mut seen) = (Vec::new(), None, 0);
    store.see_records_after(after, RECORDS_MAX, |version, record| {
        seen += 1;
        if slots.contains(Slot::of(version.module.as_str())) {
            match record {
                Ok(record) => {
                    let held = Holding {
                        info: record.info.is_some(),
                        go_mod: record.go_mod.is_some(),
                        zip_size: record.zip.map_or(0, |zip| zip.size),
                        class: record.class,
                        version: version.clone(),
                    };
                    if held.info || held.go_mod || held.zip_size > 0 {
                        holdings.push(held);
                    }
                }
                Err(error) => tracing::warn!(%error, "a record that does not verify is not listed"),
            }
        }
        last = Some(version);
        holdings.len() < HOLDINGS_MAX
    })?;
    let is_last = seen < RECORDS_MAX && holdings.len() < HOLDINGS_MAX;
    Ok((holdings, last.filter(|_| !is_last)))
}
