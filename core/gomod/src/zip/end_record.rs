//! Finding the central directory: the end record, its zip64 companion, and that nothing follows them.
//!
//! Go takes the last end signature in the last 65 KiB and forgives bytes before and after the archive.
//! Here there may be neither, and no second record that another reader could take instead.

use super::error::ZipError;
use super::fields::Fields;
use super::limits::{ZIP_BYTES_MAX, ZIP_DIRECTORY_BYTES_MAX, ZIP_ENTRIES_MAX};
use super::read_at::ReadAt;
use super::window::read_full;

const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: u64 = 65_535;
const ZIP64_LOCATOR_SIGNATURE: u32 = 0x0706_4b50;
const ZIP64_LOCATOR_BYTES: u64 = 20;
const ZIP64_END_SIGNATURE: u32 = 0x0606_4b50;
const ZIP64_END_BYTES: u64 = 56;

/// Where the central directory lies and how many entries it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirectoryBounds {
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

/// The fields of either end record that matter.
#[derive(Clone, Copy)]
struct EndFields {
    entries: u64,
    bytes: u64,
    start: u64,
}

/// Finds the directory's bounds, all limits checked.
pub(super) fn locate(source: &impl ReadAt) -> Result<DirectoryBounds, ZipError> {
    let length = source.len();
    if length > ZIP_BYTES_MAX {
        return Err(ZipError::TooLarge { bytes: length, limit: ZIP_BYTES_MAX });
    }
    let (end_offset, plain) = find_end(source, length)?;
    let (found, directory_end) = match zip64_end(source, end_offset, plain)? {
        Some(zip64) => zip64,
        None => (plain, end_offset),
    };
    if found.start.checked_add(found.bytes) != Some(directory_end) {
        let EndFields { start, bytes, .. } = found;
        return Err(ZipError::DirectoryBounds { start, bytes, expected: directory_end });
    }
    if found.entries > ZIP_ENTRIES_MAX as u64 {
        return Err(ZipError::TooManyEntries { entries: found.entries, limit: ZIP_ENTRIES_MAX as u64 });
    }
    if found.bytes > ZIP_DIRECTORY_BYTES_MAX {
        return Err(ZipError::DirectoryTooLarge { bytes: found.bytes, limit: ZIP_DIRECTORY_BYTES_MAX });
    }
    Ok(DirectoryBounds { start: found.start, bytes: found.bytes, entries: found.entries })
}

fn find_end(source: &impl ReadAt, length: u64) -> Result<(u64, EndFields), ZipError> {
    let tail_bytes = length.min(COMMENT_BYTES_MAX + END_BYTES as u64);
    let tail_start = length - tail_bytes;
    let mut tail = vec![0; tail_bytes as usize];
    let read = read_full(source, tail_start, &mut tail)?;
    if read < tail.len() {
        return Err(ZipError::NoEndRecord);
    }
    // A nested zip that is stored rather than deflated puts signatures into the tail; such an inner record
    // is no candidate, because its comment does not reach the end of the file.
    let mut last = None;
    let mut fitting = None;
    for (at, record) in tail.windows(END_BYTES).enumerate().filter(|(_, w)| w.starts_with(&END_SIGNATURE)) {
        last = Some(at);
        let comment = record.last_chunk().map_or(0, |length| usize::from(u16::from_le_bytes(*length)));
        if at + END_BYTES + comment != tail.len() {
            continue;
        }
        if let Some((first, _)) = fitting {
            let [first, second] = [first, at].map(|at| tail_start + at as u64);
            return Err(ZipError::AmbiguousEnd { first, second });
        }
        fitting = Some((at, record));
    }
    match (fitting, last) {
        // The last signature is the one that Go takes.
        (Some((at, record)), Some(last)) if at == last => {
            let offset = tail_start + at as u64;
            Ok((offset, parse_end(record)?))
        }
        (_, Some(at)) => Err(ZipError::EndNotLast { offset: tail_start + at as u64 }),
        (_, None) => Err(ZipError::NoEndRecord),
    }
}

fn parse_end(record: &[u8]) -> Result<EndFields, ZipError> {
    let mut fields = Fields(record);
    let parsed = (|| {
        fields.take(4)?;
        let disks = [fields.u16()?, fields.u16()?];
        let entries = [fields.u16()?, fields.u16()?];
        Some((disks, entries, fields.u32()?, fields.u32()?))
    })();
    let Some((disks, [here, entries], bytes, start)) = parsed else {
        return Err(ZipError::NoEndRecord);
    };
    // With zip64 the volume numbers may be all ones, meaning "see there".
    if here != entries || disks.iter().any(|&disk| disk != 0 && disk != u16::MAX) {
        return Err(ZipError::MultiVolume);
    }
    Ok(EndFields { entries: entries.into(), bytes: bytes.into(), start: start.into() })
}

/// The zip64 end record and its offset, when the locator before the plain end record names one.
fn zip64_end(
    source: &impl ReadAt,
    end_offset: u64,
    plain: EndFields,
) -> Result<Option<(EndFields, u64)>, ZipError> {
    let Some(record_offset) = end_offset.checked_sub(ZIP64_LOCATOR_BYTES + ZIP64_END_BYTES) else {
        return Ok(None);
    };
    let mut buffer = [0; (ZIP64_END_BYTES + ZIP64_LOCATOR_BYTES) as usize];
    let read = read_full(source, record_offset, &mut buffer)?;
    if read < buffer.len() {
        return Err(ZipError::Zip64End);
    }
    let (record, locator) = buffer.split_at(ZIP64_END_BYTES as usize);
    let mut locator = Fields(locator);
    if locator.u32() != Some(ZIP64_LOCATOR_SIGNATURE) {
        return Ok(None);
    }
    if [locator.u32(), locator.u32(), locator.u32(), locator.u32()]
        != [Some(0), Some(record_offset as u32), Some((record_offset >> 32) as u32), Some(1)]
    {
        return Err(ZipError::Zip64End);
    }
    let found = parse_zip64_end(record).ok_or(ZipError::Zip64End)?;
    // Each plain field either gives way or agrees.
    let agree = |plain: u64, wide: u64, ones: u64| plain == ones || plain == wide;
    if agree(plain.entries, found.entries, u16::MAX.into())
        && agree(plain.bytes, found.bytes, u32::MAX.into())
        && agree(plain.start, found.start, u32::MAX.into())
    {
        Ok(Some((found, record_offset)))
    } else {
        Err(ZipError::Zip64End)
    }
}

fn parse_zip64_end(record: &[u8]) -> Option<EndFields> {
    let mut fields = Fields(record);
    let signature = fields.u32()?;
    let rest_bytes = fields.u64()?;
    let _versions = fields.u32()?;
    let disks = [fields.u32()?, fields.u32()?];
    let [here, entries] = [fields.u64()?, fields.u64()?];
    let [bytes, start] = [fields.u64()?, fields.u64()?];
    let whole = signature == ZIP64_END_SIGNATURE && rest_bytes == ZIP64_END_BYTES - 12;
    (whole && disks == [0, 0] && here == entries).then_some(EndFields { entries, bytes, start })
}
