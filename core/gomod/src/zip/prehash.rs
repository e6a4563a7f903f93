//! Hashing a zip's entries while its bytes still arrive.
//!
//! A zip can only be judged once its central directory, its last part, is there. But the entries before it
//! can be inflated and hashed as they pass, so that judging takes milliseconds instead of a second pass.
//! What is found is a memo, never a verdict: [`super::verify`] uses a memo only where the directory tells
//! the same of the entry. Invariant: a memo is true of the bytes pushed, whatever the directory says.

use sha2::{Digest, Sha256};

use super::descriptor::{LOOK_AHEAD_BYTES, descriptor_bytes};
use super::error::ZipError;
use super::inflate::{Content, Inflater, Sink};
use super::limits::{UNPACKED_BYTES_MAX, ZIP_BYTES_MAX, ZIP_ENTRIES_MAX};
use super::local::{DEFLATE, LOCAL_BYTES, LocalHeader, Measured, STORE, UNSUPPORTED_FLAGS};

/// What is known of one entry after it passed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memo {
    /// Where its local header starts.
    pub(super) offset: u32,
    pub(super) data_offset: u32,
    /// Where its data, or the descriptor after them, ends.
    pub(super) end: u32,
    pub(super) truth: Measured,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) name_sha256: [u8; 32],
    pub(super) sha256: [u8; 32],
}

/// The memos of a zip, by offset of the local header. Empty ones serve as well, only more slowly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryDigests(Vec<Memo>);

impl EntryDigests {
    /// Number of entries hashed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no entry was hashed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, offset: u32) -> Option<&Memo> {
        let at = self.0.binary_search_by_key(&offset, |memo| memo.offset).ok()?;
        self.0.get(at)
    }
}

/// Hashes entries as the bytes of a zip arrive. Never fails: at the first thing that cannot be read
/// without the directory it just stops helping. Memory is constant but for about 100 bytes per entry.
pub struct PreHasher {
    stage: Stage,
    /// Header or descriptor bytes not yet understood.
    pending: Vec<u8>,
    /// Offset of the first byte that is neither understood nor pending.
    position: u64,
    inflater: Inflater,
    sink: Sink,
    entry: Option<Current>,
    unpacked_bytes: u64,
    memos: Vec<Memo>,
    over_limit: Option<Limit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Stored { left: u64 },
    Deflated,
    Descriptor { content: Content, compressed: u32 },
    Stopped,
}

#[derive(Clone, Copy)]
enum Limit {
    Unpacked,
    Entries,
}

/// The entry whose data are passing.
struct Current {
    offset: u64,
    data_offset: u64,
    header: LocalHeader,
    extra: Vec<u8>,
    name_sha256: [u8; 32],
}

impl Default for PreHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl PreHasher {
    /// Ready for the first byte of a zip.
    pub fn new() -> Self {
        Self {
            stage: Stage::Header,
            pending: Vec::new(),
            position: 0,
            inflater: Inflater::default(),
            sink: Sink::new(),
            entry: None,
            unpacked_bytes: 0,
            memos: Vec::new(),
            over_limit: None,
        }
    }

    /// Takes the next bytes of the zip, in chunks of any size.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.stage != Stage::Stopped {
            let before = (rest.len(), self.pending.len());
            match self.step(&mut rest) {
                Some(()) => {}
                None => self.stop(),
            }
            // With nothing taken, nothing changes until more arrives.
            if rest.is_empty() && before == (0, self.pending.len()) {
                break;
            }
        }
    }

    /// Set when the bytes so far already break a limit that [`super::verify`] enforces: the rest of the
    /// zip need not be fetched.
    pub fn over_limit(&self) -> Option<ZipError> {
        self.over_limit.map(|limit| match limit {
            Limit::Unpacked => ZipError::UnpackedTooLarge { limit: UNPACKED_BYTES_MAX },
            Limit::Entries => ZipError::TooManyEntries {
                entries: self.memos.len() as u64 + 1,
                limit: ZIP_ENTRIES_MAX as u64,
            },
        })
    }

    /// What was learnt.
    pub fn finish(self) -> EntryDigests {
        EntryDigests(self.memos)
    }

    fn stop(&mut self) {
        self.stage = Stage::Stopped;
        self.pending = Vec::new();
        self.entry = None;
    }

    /// One step of the walk; `None` ends it.
    fn step(&mut self, rest: &mut &[u8]) -> Option<()> {
        match self.stage {
            Stage::Header => self.header(rest),
            Stage::Stored { left } => self.stored(rest, left),
            Stage::Deflated => self.deflated(rest),
            Stage::Descriptor { content, compressed } => self.descriptor(rest, content, compressed),
            Stage::Stopped => None,
        }
    }

    /// Moves bytes from `rest` until `count` are pending; false if there are not enough yet.
    fn gather(&mut self, rest: &mut &[u8], count: usize) -> bool {
        let missing = count.saturating_sub(self.pending.len()).min(rest.len());
        let (head, tail) = rest.split_at(missing);
        self.pending.extend_from_slice(head);
        self.position += missing as u64;
        *rest = tail;
        self.pending.len() >= count
    }

    fn header(&mut self, rest: &mut &[u8]) -> Option<()> {
        if !self.gather(rest, LOCAL_BYTES) {
            return Some(());
        }
        let header = LocalHeader::parse(&self.pending)?;
        let [name_bytes, extra_bytes] = [header.name_bytes, header.extra_bytes].map(usize::from);
        let total = LOCAL_BYTES + name_bytes + extra_bytes;
        if !self.gather(rest, total) {
            return Some(());
        }
        if self.memos.len() == ZIP_ENTRIES_MAX {
            self.over_limit = Some(Limit::Entries);
            return None;
        }
        if header.flags & UNSUPPORTED_FLAGS != 0 || self.position > ZIP_BYTES_MAX {
            return None;
        }
        // What a descriptor left pending is shorter than a header, so nothing is pending beyond it now.
        let data_offset = self.position;
        let (name, extra) = self.pending.get(LOCAL_BYTES..total)?.split_at(name_bytes);
        let (compressed, _) = header.sizes(extra)?;
        self.stage = match header.method {
            STORE if !header.has_descriptor() || compressed > 0 => Stage::Stored { left: compressed },
            DEFLATE => Stage::Deflated,
            _ => return None,
        };
        self.entry = Some(Current {
            offset: data_offset - total as u64,
            data_offset,
            header,
            extra: extra.to_vec(),
            name_sha256: Sha256::digest(name).into(),
        });
        self.pending.clear();
        self.inflater.reset();
        Some(())
    }

    fn stored(&mut self, rest: &mut &[u8], left: u64) -> Option<()> {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let (head, tail) = rest.split_at(count);
        self.sink.absorb(head);
        self.position += count as u64;
        *rest = tail;
        self.check_unpacked()?;
        let left = left - count as u64;
        self.stage = Stage::Stored { left };
        if left == 0 {
            let compressed = self.sink.size();
            self.data_done(compressed)?;
        }
        Some(())
    }

    fn deflated(&mut self, rest: &mut &[u8]) -> Option<()> {
        let room = UNPACKED_BYTES_MAX - self.unpacked_bytes;
        let outcome = self.inflater.push(rest, &mut self.sink, room);
        let Ok((taken, ended)) = outcome else {
            self.check_unpacked()?;
            return None;
        };
        *rest = rest.get(taken..)?;
        self.position += taken as u64;
        if ended {
            self.data_done(self.inflater.consumed())?;
        }
        Some(())
    }

    fn check_unpacked(&mut self) -> Option<()> {
        if self.sink.size() > UNPACKED_BYTES_MAX - self.unpacked_bytes {
            self.over_limit = Some(Limit::Unpacked);
            return None;
        }
        Some(())
    }

    fn data_done(&mut self, compressed: u64) -> Option<()> {
        let compressed = u32::try_from(compressed).ok()?;
        let content = self.sink.finish();
        self.unpacked_bytes += content.size;
        if self.entry.as_ref()?.header.has_descriptor() {
            self.stage = Stage::Descriptor { content, compressed };
            Some(())
        } else {
            self.record(content, compressed, self.position)
        }
    }

    fn descriptor(&mut self, rest: &mut &[u8], content: Content, compressed: u32) -> Option<()> {
        let truth = measured(content, compressed)?;
        if !self.gather(rest, LOOK_AHEAD_BYTES) {
            return Some(());
        }
        let length = descriptor_bytes(&self.pending, truth)?;
        let end = self.position - (self.pending.len() - length) as u64;
        self.pending.drain(..length);
        self.record(content, compressed, end)
    }

    fn record(&mut self, content: Content, compressed: u32, end: u64) -> Option<()> {
        let entry = self.entry.take()?;
        let truth = measured(content, compressed)?;
        if entry.header.contradicts(&entry.extra, truth).is_some() {
            return None;
        }
        self.memos.push(Memo {
            offset: u32::try_from(entry.offset).ok()?,
            data_offset: u32::try_from(entry.data_offset).ok()?,
            end: u32::try_from(end).ok()?,
            truth,
            flags: entry.header.flags,
            method: entry.header.method,
            name_sha256: entry.name_sha256,
            sha256: content.sha256,
        });
        self.stage = Stage::Header;
        Some(())
    }
}

fn measured(content: Content, compressed: u32) -> Option<Measured> {
    Some(Measured { crc: content.crc, compressed, size: u32::try_from(content.size).ok()? })
}
