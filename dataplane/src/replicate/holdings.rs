//! What the store holds of some slots, page by page.

use cluster::layout::Slot;
use gomod::ModuleVersion;

use super::slots::SlotSet;
use crate::store::{Store, StoreError};

/// Records looked at for one page.
const RECORDS_MAX: usize = 4096;

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
}

/// The holdings of `slots` that follow `after`, and where the next page begins; without that, it was the last. Blocks.
pub fn page(
    store: &Store,
    slots: &SlotSet,
    after: Option<&ModuleVersion>,
) -> Result<(Vec<Holding>, Option<ModuleVersion>), StoreError> {
    let records = store.records_after(after, RECORDS_MAX)?;
    let next =
        (records.len() >= RECORDS_MAX).then(|| records.last().map(|(version, _)| version.clone())).flatten();
    let wanted = records.into_iter().filter(|(version, _)| slots.contains(Slot::of(version.module.as_str())));
    let holdings = wanted.map(|(version, record)| Holding {
        version,
        info: record.info.is_some(),
        go_mod: record.go_mod.is_some(),
        zip_size: record.zip.map_or(0, |zip| zip.size),
    });
    Ok((holdings.filter(|held| held.info || held.go_mod || held.zip_size > 0).collect(), next))
}
