//! The central directory in memory.
//!
//! Owns the parse of its entries and nothing of their meaning. Invariant: the entries cover the directory's
//! bytes exactly, and every number in them fits 32 bits, since a module zip is far smaller than 4 GiB.

use super::end_record::{DirectoryBounds, locate};
use super::error::{NameProblem, ZipError, shown};
use super::fields::{Fields, ZIP64_EXTRA, extra_field};
use super::limits::{UNPACKED_BYTES_MAX, ZIP_BYTES_MAX};
use super::read_at::ReadAt;
use super::window::read_full;

const ENTRY_SIGNATURE: u32 = 0x0201_4b50;
/// An entry's bytes without name, extra and comment.
const ENTRY_BYTES: u64 = 46;
/// Sizes and offsets of all ones stand in the zip64 extra field instead.
const WIDE: u32 = u32::MAX;

/// One entry of the central directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    name_start: u32,
    name_bytes: u16,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) compressed: u32,
    pub(super) size: u32,
    /// Where the local header starts.
    pub(super) offset: u32,
    made_by: u16,
    attributes: u32,
}

impl Entry {
    /// Whether the attributes, in the meaning they have on the system that made the entry, tell of
    /// anything but a plain file (`directory` false) or a directory (`directory` true).
    pub(super) fn is_irregular(&self, directory: bool) -> bool {
        const UNIX: u16 = 3;
        const MACOS: u16 = 19;
        const TYPE: u32 = 0o170_000;
        const TYPE_FILE: u32 = 0o100_000;
        const TYPE_DIRECTORY: u32 = 0o040_000;
        if !matches!(self.made_by >> 8, UNIX | MACOS) {
            return false;
        }
        let kind = (self.attributes >> 16) & TYPE;
        kind != 0 && kind != if directory { TYPE_DIRECTORY } else { TYPE_FILE }
    }
}

/// The whole central directory.
pub(super) struct Directory {
    bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    /// Where it starts in the file, which is where the last entry's data must end.
    pub(super) start: u64,
}

impl Directory {
    /// Finds and parses the directory.
    pub(super) fn read(source: &impl ReadAt) -> Result<Self, ZipError> {
        let bounds = locate(source)?;
        // Checked before anything of that size is allocated.
        if bounds.entries.saturating_mul(ENTRY_BYTES) > bounds.bytes {
            return Err(entry_count(bounds.bytes / ENTRY_BYTES, bounds));
        }
        let mut bytes = vec![0; bounds.bytes as usize];
        let read = read_full(source, bounds.start, &mut bytes)?;
        if read < bytes.len() {
            return Err(ZipError::NoEndRecord);
        }
        let mut entries = Vec::with_capacity(bounds.entries as usize);
        let mut rest = Fields(&bytes);
        while !rest.0.is_empty() {
            let index = entries.len();
            if index as u64 == bounds.entries {
                return Err(entry_count(index as u64 + 1, bounds));
            }
            let position = bytes.len() - rest.0.len();
            let entry = parse_entry(&mut rest, position).ok_or(ZipError::DirectoryEntry { index })?;
            entries.push(entry?);
        }
        if entries.len() as u64 != bounds.entries {
            return Err(entry_count(entries.len() as u64, bounds));
        }
        Ok(Self { bytes, entries, start: bounds.start })
    }

    /// The entry's name as it stands in the directory.
    pub(super) fn name(&self, entry: &Entry) -> &[u8] {
        let start = entry.name_start as usize;
        self.bytes.get(start..start + usize::from(entry.name_bytes)).unwrap_or(&[])
    }

    /// The same as text.
    pub(super) fn text_name(&self, entry: &Entry) -> Result<&str, ZipError> {
        let name = self.name(entry);
        std::str::from_utf8(name)
            .map_err(|_| ZipError::Name { name: shown(name), problem: NameProblem::Utf8 })
    }
}

fn entry_count(found: u64, bounds: DirectoryBounds) -> ZipError {
    ZipError::EntryCount { found, declared: bounds.entries }
}

/// Parses one entry off `fields`; `None` when it is cut off or no entry.
fn parse_entry(fields: &mut Fields<'_>, position: usize) -> Option<Result<Entry, ZipError>> {
    if fields.u32()? != ENTRY_SIGNATURE {
        return None;
    }
    let made_by = fields.u16()?;
    let _version_needed = fields.u16()?;
    let flags = fields.u16()?;
    let method = fields.u16()?;
    let _modified = fields.u32()?;
    let crc = fields.u32()?;
    let [compressed, size] = [fields.u32()?, fields.u32()?];
    let [name_bytes, extra_bytes, comment_bytes] = [fields.u16()?, fields.u16()?, fields.u16()?];
    let disk = fields.u16()?;
    let _internal_attributes = fields.u16()?;
    let attributes = fields.u32()?;
    let offset = fields.u32()?;
    fields.take(usize::from(name_bytes))?;
    let extra = fields.take(usize::from(extra_bytes))?;
    fields.take(usize::from(comment_bytes))?;
    if disk != 0 && disk != u16::MAX {
        return Some(Err(ZipError::MultiVolume));
    }
    let (size, compressed, offset) = widen(extra, size, compressed, offset)?;
    if size > UNPACKED_BYTES_MAX {
        return Some(Err(ZipError::UnpackedTooLarge { limit: UNPACKED_BYTES_MAX }));
    }
    if compressed > ZIP_BYTES_MAX || offset > ZIP_BYTES_MAX {
        return None;
    }
    Some(Ok(Entry {
        name_start: u32::try_from(position as u64 + ENTRY_BYTES).ok()?,
        name_bytes,
        flags,
        method,
        crc,
        compressed: compressed as u32,
        size: size as u32,
        offset: offset as u32,
        made_by,
        attributes,
    }))
}

/// Takes from the zip64 extra field, in this order, whatever the plain fields leave to it.
fn widen(extra: &[u8], size: u32, compressed: u32, offset: u32) -> Option<(u64, u64, u64)> {
    if size != WIDE && compressed != WIDE && offset != WIDE {
        return Some((size.into(), compressed.into(), offset.into()));
    }
    let mut wide = extra_field(extra, ZIP64_EXTRA)?;
    let mut one = |plain: u32| if plain == WIDE { wide.u64() } else { Some(plain.into()) };
    Some((one(size)?, one(compressed)?, one(offset)?))
}
