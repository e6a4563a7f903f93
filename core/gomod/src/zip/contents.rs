//! The contents of a zip: where each entry's bytes lie, and their hashes.
//!
//! Entries are visited in the order of their data. Invariant: when this succeeds, local headers, data and
//! descriptors of the directory's entries tile the file from its first byte to the directory, so there is
//! nothing in it that only some readers see.

use sha2::{Digest, Sha256};

use super::descriptor::is_descriptor;
use super::directory::{Directory, Entry};
use super::error::{ZipError, shown};
use super::inflate::{Content, InflateFault, Inflater, Sink};
use super::local::{DEFLATE, DESCRIPTOR_FLAG, LOCAL_BYTES, LocalHeader, Measured, UNSUPPORTED_FLAGS};
use super::prehash::{EntryDigests, Memo};
use super::read_at::ReadAt;
use super::rules::is_directory;
use super::window::Window;

/// Flags that must be the same in local header and directory.
const SAME_FLAGS: u16 = DESCRIPTOR_FLAG | UNSUPPORTED_FLAGS;

/// SHA-256 of each entry's content, in the directory's order.
pub(super) fn digest_all(
    source: &impl ReadAt,
    directory: &Directory,
    memo: &EntryDigests,
) -> Result<Vec<[u8; 32]>, ZipError> {
    let mut digests = vec![[0; 32]; directory.entries.len()];
    let mut order: Vec<(usize, &Entry)> = directory.entries.iter().enumerate().collect();
    order.sort_by_key(|(_, entry)| entry.offset);
    let mut reader = Reader::new(source);
    let mut position = 0;
    let mut previous: &[u8] = b"";
    for (at, &(index, entry)) in order.iter().enumerate() {
        let name = directory.name(entry);
        check_start(position, entry, name, previous)?;
        let next = order.get(at + 1).map_or(directory.start, |(_, next)| u64::from(next.offset));
        let digest = match memo.get(entry.offset).filter(|memo| agrees(memo, entry, name, next)) {
            Some(memo) => memo.sha256,
            None => reader.digest(entry, name, next)?,
        };
        if let Some(slot) = digests.get_mut(index) {
            *slot = digest;
        }
        position = next;
        previous = name;
    }
    if order.is_empty() && directory.start != 0 {
        return Err(ZipError::LeadingBytes { bytes: directory.start });
    }
    Ok(digests)
}

/// Each entry starts where the one before ended; entries check their own end against the next start.
fn check_start(position: u64, entry: &Entry, name: &[u8], previous: &[u8]) -> Result<(), ZipError> {
    let offset = u64::from(entry.offset);
    if offset == position {
        Ok(())
    } else if offset < position {
        Err(ZipError::Overlap { name: shown(name) })
    } else if previous.is_empty() {
        Err(ZipError::LeadingBytes { bytes: offset })
    } else {
        Err(ZipError::Gap { name: shown(previous) })
    }
}

fn truth(entry: &Entry) -> Measured {
    Measured { crc: entry.crc, compressed: entry.compressed, size: entry.size }
}

/// Whether what passed by is what the directory tells of the entry.
fn agrees(memo: &Memo, entry: &Entry, name: &[u8], next: u64) -> bool {
    memo.truth == truth(entry)
        && memo.method == entry.method
        && (memo.flags ^ entry.flags) & SAME_FLAGS == 0
        && u64::from(memo.end) == next
        // The data begin after header, name and extra field, whose lengths the memo has seen.
        && u64::from(memo.data_offset) + u64::from(entry.compressed) <= next
        && memo.name_sha256 == <[u8; 32]>::from(Sha256::digest(name))
}

/// Reads and hashes entries of which no memo tells.
struct Reader<'a, R: ReadAt> {
    window: Window<'a, R>,
    inflater: Inflater,
    sink: Sink,
}

impl<'a, R: ReadAt> Reader<'a, R> {
    fn new(source: &'a R) -> Self {
        Self { window: Window::new(source), inflater: Inflater::default(), sink: Sink::new() }
    }

    fn digest(&mut self, entry: &Entry, name: &[u8], next: u64) -> Result<[u8; 32], ZipError> {
        let data = self.check_header(entry, name)?;
        let end = data + u64::from(entry.compressed);
        if end > next {
            return Err(ZipError::Overlap { name: shown(name) });
        }
        let sha256 = if is_directory(name) {
            // Some writers store two bytes of empty deflate stream here; Go reads none of it.
            Sha256::digest(b"").into()
        } else {
            let content = self.content(entry, name, data, end)?;
            if content.size != u64::from(entry.size) {
                return Err(ZipError::Size { name: shown(name), declared: entry.size.into() });
            }
            if content.crc != entry.crc {
                return Err(ZipError::Checksum { name: shown(name) });
            }
            content.sha256
        };
        self.check_tail(entry, name, end, next)?;
        Ok(sha256)
    }

    /// Compares the local header with the directory; returns where the data begin.
    fn check_header(&mut self, entry: &Entry, name: &[u8]) -> Result<u64, ZipError> {
        let disagree = |field| ZipError::LocalHeader { name: shown(name), field };
        let offset = u64::from(entry.offset);
        let fixed = self.window.exact(offset, LOCAL_BYTES)?;
        let header = fixed.and_then(LocalHeader::parse).ok_or(disagree("signature"))?;
        let [name_bytes, extra_bytes] = [header.name_bytes, header.extra_bytes].map(usize::from);
        let total = LOCAL_BYTES + name_bytes + extra_bytes;
        let whole = self.window.exact(offset, total)?.and_then(|whole| whole.get(LOCAL_BYTES..));
        let (local_name, extra) =
            whole.and_then(|rest| rest.split_at_checked(name_bytes)).ok_or(disagree("length"))?;
        if local_name != name {
            return Err(disagree("name"));
        }
        if header.method != entry.method {
            return Err(disagree("method"));
        }
        if (header.flags ^ entry.flags) & SAME_FLAGS != 0 {
            return Err(disagree("flags"));
        }
        match header.contradicts(extra, truth(entry)) {
            Some(field) => Err(disagree(field)),
            None => Ok(offset + total as u64),
        }
    }

    fn content(&mut self, entry: &Entry, name: &[u8], data: u64, end: u64) -> Result<Content, ZipError> {
        let deflated = entry.method == DEFLATE;
        let malformed = || ZipError::Deflate { name: shown(name) };
        self.inflater.reset();
        let _unfinished = self.sink.finish();
        let mut position = data;
        let mut ended = false;
        while position < end && !ended {
            let bytes = self.window.some(position, end - position)?;
            if bytes.is_empty() {
                return Err(malformed());
            }
            let taken = if deflated {
                let outcome = self.inflater.push(bytes, &mut self.sink, entry.size.into());
                let (taken, finished) = outcome.map_err(|fault| match fault {
                    InflateFault::Malformed => malformed(),
                    InflateFault::TooLong => {
                        ZipError::Size { name: shown(name), declared: entry.size.into() }
                    }
                })?;
                ended = finished;
                taken
            } else {
                self.sink.absorb(bytes);
                bytes.len()
            };
            position += taken as u64;
        }
        if deflated && !ended {
            return Err(malformed());
        }
        if position < end {
            return Err(ZipError::DeflateTail { name: shown(name) });
        }
        Ok(self.sink.finish())
    }

    /// Checks what lies between the data and the next entry: a descriptor if one is announced, else nothing.
    fn check_tail(&mut self, entry: &Entry, name: &[u8], end: u64, next: u64) -> Result<(), ZipError> {
        let gap = usize::try_from(next - end).unwrap_or(usize::MAX);
        let announced = entry.flags & DESCRIPTOR_FLAG != 0;
        // Go looks for no descriptor after a directory, and some writers announce one there in vain.
        if gap == 0 && (!announced || is_directory(name)) {
            return Ok(());
        }
        if !announced {
            return Err(ZipError::Gap { name: shown(name) });
        }
        // One byte more than the longest descriptor is as wrong as a thousand more.
        let bytes = self.window.exact(end, gap.min(super::descriptor::DESCRIPTOR_BYTES_MAX + 1))?;
        if bytes.is_some_and(|bytes| is_descriptor(bytes, truth(entry))) {
            Ok(())
        } else {
            Err(ZipError::Descriptor { name: shown(name) })
        }
    }
}
