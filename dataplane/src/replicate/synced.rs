//! Which slots are in sync, kept on disk: a node that was away knows what came to it meanwhile.

use std::io;
use std::path::{Path, PathBuf};

use cluster::Epoch;
use sha2::{Digest as _, Sha256};

use super::slots::SlotSet;

/// The file's name.
const FILE: &str = "synced";
/// What it begins with; the last byte is the version of its form.
const MAGIC: &[u8; 8] = b"gpsync\0\x02";

/// What is in sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Synced {
    /// The layout that this is about.
    pub(super) epoch: Epoch,
    /// The slots that are.
    pub(super) slots: SlotSet,
}

impl Synced {
    /// Layout `epoch`, after `before`, is in force, and has `held` here: what is not held any more is not in sync any more. A node that does
    /// not know the layout before cannot tell what left and came back meanwhile, and begins anew. Tells whether anything changed.
    pub(super) fn follow(&mut self, epoch: Epoch, before: Option<Epoch>, held: &SlotSet) -> bool {
        let knows = self.epoch == epoch || before == Some(self.epoch) || self.epoch.get() + 1 == epoch.get();
        let slots = if knows { self.slots.within(held) } else { SlotSet::default() };
        let followed = Self { epoch, slots };
        let has_changed = followed != *self;
        *self = followed;
        has_changed
    }
}

/// The file.
#[derive(Debug, Clone)]
pub(super) struct SyncedFile(PathBuf);

impl SyncedFile {
    /// In `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self(folder.join(FILE))
    }

    /// What it says; nothing is in sync where it is missing or damaged. Blocks.
    pub(super) fn read(&self) -> Synced {
        std::fs::read(&self.0).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default()
    }

    /// Replaces it. Blocks.
    pub(super) fn write(&self, synced: &Synced) -> io::Result<()> {
        common::durable_file::replace(&self.0, &encode(synced))
    }
}

fn encode(synced: &Synced) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(synced.epoch.get().to_be_bytes());
    bytes.extend(synced.slots.as_bytes());
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Synced> {
    let (content, sum) = bytes.split_last_chunk::<32>()?;
    if Sha256::digest(content).as_slice() != sum {
        return None;
    }
    let (epoch, slots) = content.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    Some(Synced { epoch: Epoch::new(u64::from_be_bytes(*epoch)), slots: SlotSet::from_bytes(slots)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::layout::Slot;

    #[test]
    fn what_is_damaged_says_that_nothing_is_in_sync() {
        let dir = tempfile::tempdir().unwrap();
        let file = SyncedFile::new(dir.path());
        assert_eq!(file.read(), Synced::default());
        let synced = Synced { epoch: Epoch::new(7), slots: Slot::all().step_by(3).collect() };
        file.write(&synced).unwrap();
        assert_eq!(file.read(), synced);
        let mut bytes = std::fs::read(&file.0).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&file.0, bytes).unwrap();
        assert_eq!(file.read(), Synced::default());
    }

    #[test]
    fn who_missed_a_layout_begins_anew() {
        let all: SlotSet = Slot::all().collect();
        let some: SlotSet = Slot::all().take(10).collect();
        let mut synced = Synced { epoch: Epoch::new(5), slots: all.clone() };
        assert!(!synced.follow(Epoch::new(5), Some(Epoch::new(4)), &all));
        assert!(synced.follow(Epoch::new(6), Some(Epoch::new(5)), &some));
        assert_eq!(synced.slots, some);
        assert!(synced.follow(Epoch::new(9), Some(Epoch::new(8)), &some));
        assert!(synced.slots.is_empty());
    }
}
