//! Which slots are in sync, kept on disk: a node that was away knows what came to it meanwhile.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::slots::SlotSet;

/// The file's name.
const FILE: &str = "synced";
/// What it begins with; the last byte is the version of its form.
const MAGIC: &[u8; 8] = b"gpsync\0\x01";

/// The file.
#[derive(Debug, Clone)]
pub(super) struct SyncedFile(PathBuf);

impl SyncedFile {
    /// In `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self(folder.join(FILE))
    }

    /// What it says; nothing is in sync where it is missing or damaged. Blocks.
    pub(super) fn read(&self) -> SlotSet {
        std::fs::read(&self.0).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default()
    }

    /// Replaces it. Blocks.
    pub(super) fn write(&self, slots: &SlotSet) -> io::Result<()> {
        common::durable_file::replace(&self.0, &encode(slots))
    }
}

fn encode(slots: &SlotSet) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(slots.as_bytes());
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<SlotSet> {
    let (content, sum) = bytes.split_last_chunk::<32>()?;
    if Sha256::digest(content).as_slice() != sum {
        return None;
    }
    SlotSet::from_bytes(content.strip_prefix(MAGIC)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::layout::Slot;

    #[test]
    fn what_is_damaged_says_that_nothing_is_in_sync() {
        let dir = tempfile::tempdir().unwrap();
        let file = SyncedFile::new(dir.path());
        assert_eq!(file.read(), SlotSet::default());
        let slots: SlotSet = Slot::all().step_by(3).collect();
        file.write(&slots).unwrap();
        assert_eq!(file.read(), slots);
        let mut bytes = std::fs::read(&file.0).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&file.0, bytes).unwrap();
        assert_eq!(file.read(), SlotSet::default());
    }
}
