//! A file that takes up room in good times, to be given up when the disk is full: what makes room has to be written, too.
//!
//! Owns when it is there and how large it is. A disk too small for one, or that cannot allocate ahead, does without.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::super::usage::FileSystem;

/// In the store's folder.
const FILE: &str = "RESERVE";
/// Its size in write buffers: what the database may have to write out before it writes anything else, with room to spare.
const BUFFERS: u64 = 4;
/// With less the database cannot be counted on to open for writing.
pub(super) const BUFFERS_MIN: u64 = 2;
/// It is no more than one part of so many of the disk, and of what the cache may take.
const PARTS: u64 = 32;
/// It is made when so many times its size is free: then it is not given up for having been made.
const MAKE_TIMES: u64 = 4;
/// And when no more than so many times its size is free: on a large disk a part of it may be far more than fills up between two looks.
const NEAR_TIMES: u64 = 128;
/// It is given up when less than one part of so many of its size is free.
const GIVE_UP_PARTS: u64 = 4;

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Make it, of so many bytes.
    Make(u64),
    GiveUp,
}

/// How large it should be; 0 for none.
pub(super) fn wanted_bytes(write_buffer_bytes: u64, cache_bytes: u64, disk: FileSystem) -> u64 {
    let all = disk.used_bytes.saturating_add(disk.available_bytes).min(cache_bytes);
    let bytes = write_buffer_bytes.saturating_mul(BUFFERS).min(all / PARTS);
    if bytes < write_buffer_bytes.saturating_mul(BUFFERS_MIN) { 0 } else { bytes }
}

/// Decides. While more than `plenty_bytes` are free nobody needs it.
pub(super) fn step(is_there: bool, is_full: bool, wanted: u64, available: u64, plenty_bytes: u64) -> Step {
    if is_there && (is_full || available < wanted / GIVE_UP_PARTS) {
        Step::GiveUp
    } else if !is_there
        && !is_full
        && wanted > 0
        && available >= wanted.saturating_mul(MAKE_TIMES)
        && available < plenty_bytes.min(wanted.saturating_mul(NEAR_TIMES))
    {
        Step::Make(wanted)
    } else {
        Step::Nothing
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

pub(super) fn is_there(dir: &Path) -> bool {
    path(dir).exists()
}

/// Makes it, or leaves nothing behind.
pub(super) fn make(dir: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(path(dir))?;
    let made = fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(io::Error::from);
    if made.is_err() {
        give_up(dir)?;
    }
    made
}

pub(super) fn give_up(dir: &Path) -> io::Result<()> {
    std::fs::remove_file(path(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn it_is_a_few_write_buffers_and_a_small_part_of_the_disk() {
        let disk = |mib: u64| FileSystem { used_bytes: 0, available_bytes: mib * MIB };
        for (buffer_mib, cache_mib, disk_mib, expected_mib) in [
            (32, 50 << 10, 100 << 10, 128),
            (32, 50 << 10, 2 << 10, 64),
            (32, 50 << 10, 1000, 0),
            (4, 1 << 10, 100 << 10, 16),
            (32, 3 << 10, 100 << 10, 96),
            (32, 1 << 10, 100 << 10, 0),
        ] {
            let bytes = wanted_bytes(buffer_mib * MIB, cache_mib * MIB, disk(disk_mib));
            assert_eq!(bytes, expected_mib * MIB, "{buffer_mib} of {disk_mib}");
        }
    }

    #[test]
    fn it_is_made_in_time_and_given_up_when_it_is_needed() {
        for (is_there, is_full, available, expected) in [
            (false, false, 5000, Step::Nothing),
            (false, false, 999, Step::Make(100)),
            (false, false, 400, Step::Make(100)),
            (false, false, 399, Step::Nothing),
            (false, true, 500, Step::Nothing),
            (true, false, 300, Step::Nothing),
            (true, false, 24, Step::GiveUp),
            (true, true, 300, Step::GiveUp),
        ] {
            let found = step(is_there, is_full, 100, available, 1000);
            assert_eq!(found, expected, "{is_there}, {is_full}, {available}");
        }
        assert_eq!(step(false, false, 0, 500, 1000), Step::Nothing);
        // A tenth of a large disk is room for long.
        assert_eq!(step(false, false, 100, 100 * NEAR_TIMES, u64::MAX), Step::Nothing);
        assert_eq!(step(false, false, 100, 100 * NEAR_TIMES - 1, u64::MAX), Step::Make(100));
    }

    #[test]
    fn it_takes_up_what_it_is_to_take_up() {
        use std::os::unix::fs::MetadataExt as _;

        let dir = tempfile::tempdir().expect("temporary folder");
        assert!(!is_there(dir.path()));
        if let Err(error) = make(dir.path(), 8 * MIB) {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
            assert!(!is_there(dir.path()));
            return;
        }
        let file = path(dir.path()).metadata().expect("metadata");
        assert!(file.blocks() * 512 >= 8 * MIB, "{file:?}");
        give_up(dir.path()).expect("give up");
        assert!(!is_there(dir.path()));
    }
}
