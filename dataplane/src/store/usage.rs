//! How much there is, and how much room is left.

use std::io;
use std::sync::Arc;

use super::counters::Counter;
use super::error::StoreError;
use super::evict::QUEUES;
use super::keys::QueueId;
use super::rocks::Space;
use super::{Inner, Store};

/// What is arriving goes on with one part of so many of the room that it takes to begin.
const GO_ON_PARTS: u64 = 2;

/// State of the file system that the store is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// Bytes used by anybody.
    pub used_bytes: u64,
    /// Bytes that this process may still use.
    pub available_bytes: u64,
}

impl FileSystem {
    /// How full it is, per cent, rounded up as `df` does.
    pub fn percent(&self) -> u8 {
        let total = self.used_bytes + self.available_bytes;
        if total == 0 {
            return 100;
        }
        (u128::from(self.used_bytes) * 100).div_ceil(u128::from(total)) as u8
    }

    /// Free bytes with which it is no fuller than `percent`, or has `room_bytes`, whichever is less.
    pub fn room_bytes(&self, percent: u8, room_bytes: u64) -> u64 {
        let total = self.used_bytes.saturating_add(self.available_bytes);
        let allowed = (u128::from(total) * u128::from(percent) / 100) as u64;
        total.saturating_sub(allowed).min(room_bytes)
    }

    /// Whether it is fuller than `percent` and has less room than `room_bytes`.
    pub fn is_above(&self, percent: u8, room_bytes: u64) -> bool {
        self.percent() > percent && self.available_bytes < room_bytes
    }
}

/// What the store holds and takes up.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each tells of another trouble of the disk, and they come together"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Version records that are more than stubs.
    pub records: u64,
    /// Zips, each counted once however many versions have it.
    pub zips: u64,
    /// Bytes of these zips.
    pub zip_bytes: u64,
    /// Bytes of the zips that eviction may take.
    pub evictable_bytes: u64,
    /// Bytes on disk of records and answers, compressed.
    pub meta_disk_bytes: u64,
    /// Bytes on disk of zip chunks, garbage included.
    pub chunk_disk_bytes: u64,
    /// Bytes of writes in memory.
    pub memtable_bytes: u64,
    /// Bytes of cached table blocks in memory.
    pub block_cache_bytes: u64,
    /// The file system.
    pub file_system: FileSystem,
    /// Nothing new is stored for want of space: the last write failed, or zips are refused.
    pub out_of_space: bool,
    /// The disk takes no writes though it has room.
    pub unwritable: bool,
    /// The disk takes long to put something on stable storage.
    pub slow: bool,
    /// Nothing can be written until [`Store::heal`] succeeds.
    pub stopped: bool,
}

impl Usage {
    /// Bytes on disk of chunks that nothing names: what collecting garbage gives back, now or after the next
    /// flush.
    pub fn garbage_bytes(&self) -> u64 {
        self.chunk_disk_bytes.saturating_sub(self.zip_bytes)
    }

    /// Bytes that the store takes: on disk, and of zips that are written there with the next flush.
    pub fn store_bytes(&self) -> u64 {
        self.chunk_disk_bytes.max(self.zip_bytes).saturating_add(self.meta_disk_bytes)
    }
}

impl Store {
    /// Counts and sizes; cheap enough for every scrape.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let inner = &self.inner;
        let Space { meta_bytes, chunk_bytes, memtable_bytes, block_cache_bytes } = inner.rocks.space()?;
        let file_system = inner.file_system()?;
        // Also where nobody wants to store anything.
        let refuses = inner.refuses(file_system);
        Ok(Usage {
            records: inner.counters.get(Counter::Records),
            zips: inner.counters.get(Counter::Blobs),
            zip_bytes: inner.counters.get(Counter::BlobBytes),
            evictable_bytes: self.evictable_bytes(),
            meta_disk_bytes: meta_bytes,
            chunk_disk_bytes: chunk_bytes,
            memtable_bytes,
            block_cache_bytes,
            file_system,
            out_of_space: inner.state.is_out_of_space() || refuses,
            unwritable: inner.state.unwritable().is_some(),
            slow: self.is_slow(),
            stopped: self.is_stopped(),
        })
    }

    /// Whether nothing can be written, because background work met damage, until [`Self::heal`] succeeds; reads go
    /// on. A full disk is another matter.
    pub fn is_stopped(&self) -> bool {
        self.inner.state.is_stopped()
    }

    /// Why the disk takes no writes though it has room (read-only, failing, over quota, not permitted); `None` when it takes
    /// them, as far as is known. [`Self::heal`] ends it as soon as that is no longer so.
    pub fn unwritable(&self) -> Option<Arc<str>> {
        self.inner.state.unwritable()
    }

    /// Whether nothing new is stored for want of space: the last write failed, or zips are refused.
    pub fn is_out_of_space(&self) -> bool {
        self.inner.state.is_out_of_space() || self.inner.rocks.room.is_refusing()
    }

    /// Bytes of the zips that eviction may take; one addition, for asking after every commit.
    pub fn evictable_bytes(&self) -> u64 {
        let bytes = |queue| self.inner.counters.get(Counter::QueueBytes(QueueId(queue as u8)));
        (0..QUEUES).map(bytes).sum()
    }
}

impl Inner {
    /// Asks the file system; a system call of about a microsecond.
    pub(super) fn file_system(&self) -> Result<FileSystem, StoreError> {
        let stat = rustix::fs::statvfs(&self.dir).or_else(|error| {
            // A folder that was moved away, or a volume that was taken out under a running process.
            let why = format!("{} is not there as it was: {}", self.dir.display(), io::Error::from(error));
            self.note(Err(StoreError::Unwritable { what: "a new zip", why: why.into() }))
        })?;
        Ok(FileSystem {
            used_bytes: stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize),
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    /// Refuses what could not be written.
    pub(super) fn check_writable(&self, what: &'static str) -> Result<(), StoreError> {
        self.state.unwritable().map_or(Ok(()), |why| Err(StoreError::Unwritable { what, why }))
    }

    /// Refuses to begin what would fill the disk.
    pub(super) fn check_space(&self) -> Result<(), StoreError> {
        if self.refuses(self.file_system()?) {
            return Err(StoreError::Full { what: "a new zip" });
        }
        Ok(())
    }

    /// Refuses to go on with what would fill the disk. That takes less room than to begin, so that what has begun is not
    /// given up for what begins beside it; and what removes things has room left.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        let file_system = self.file_system()?;
        let wanted = self.wanted_bytes(file_system) / GO_ON_PARTS;
        if file_system.available_bytes < wanted {
            return Err(StoreError::Full { what: "the rest of a zip" });
        }
        Ok(())
    }

    fn refuses(&self, file_system: FileSystem) -> bool {
        self.rocks.room.refuses(file_system.available_bytes, self.wanted_bytes(file_system))
    }

    /// Free bytes that it takes to begin a zip.
    fn wanted_bytes(&self, file_system: FileSystem) -> u64 {
        let options = &self.options;
        file_system.room_bytes(options.full_percent, options.full_room_bytes).max(options.reserve_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_rounds_up_and_never_divides_by_nothing() {
        let percent = |used_bytes, available_bytes| FileSystem { used_bytes, available_bytes }.percent();
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(1, 999), 1);
        assert_eq!(percent(97, 3), 97);
        assert_eq!(percent(u64::MAX / 2, 0), 100);
    }

    #[test]
    fn room_is_a_share_or_so_many_bytes() {
        let disk = FileSystem { used_bytes: 900, available_bytes: 100 };
        for (percent, room_bytes, expected) in
            [(97, 50, 30), (97, 20, 20), (100, 50, 0), (0, 50, 50), (0, u64::MAX, 1000)]
        {
            assert_eq!(disk.room_bytes(percent, room_bytes), expected, "{percent} per cent, {room_bytes}");
        }
        assert_eq!(FileSystem::default().room_bytes(97, 50), 0);
    }
}
