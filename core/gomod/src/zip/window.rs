//! A buffered view of a [`ReadAt`]: many small reads in ascending order become few large ones.
//!
//! Invariant: `buffer[..filled]` equals the source's bytes from `start` on.

use super::error::ZipError;
use super::read_at::ReadAt;

/// Bytes read at a time. The store's chunks have this size too, so a refill touches at most two.
const WINDOW_BYTES: usize = 256 << 10;

pub(super) struct Window<'a, R: ReadAt> {
    source: &'a R,
    buffer: Vec<u8>,
    filled: usize,
    start: u64,
}

impl<'a, R: ReadAt> Window<'a, R> {
    pub(super) fn new(source: &'a R) -> Self {
        Self { source, buffer: Vec::new(), filled: 0, start: 0 }
    }

    /// Exactly `count` bytes at `offset`, or nothing when the source ends before; `count` is at most
    /// [`WINDOW_BYTES`] (two lengths of 16 bits and a header fit).
    pub(super) fn exact(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>, ZipError> {
        if self.held(offset) < count {
            self.refill(offset)?;
        }
        Ok(self.rest(offset).get(..count))
    }

    /// Some bytes at `offset`, at most `most`; empty only at the end of the source.
    pub(super) fn some(&mut self, offset: u64, most: u64) -> Result<&[u8], ZipError> {
        if self.held(offset) == 0 {
            self.refill(offset)?;
        }
        let rest = self.rest(offset);
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(rest.len());
        Ok(rest.get(..count).unwrap_or(&[]))
    }

    fn held(&self, offset: u64) -> usize {
        self.rest(offset).len()
    }

    fn rest(&self, offset: u64) -> &[u8] {
        let skip = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.buffer.get(skip..self.filled)).unwrap_or(&[])
    }

    fn refill(&mut self, offset: u64) -> Result<(), ZipError> {
        let left = self.source.len().saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        self.buffer.resize(count.max(self.buffer.len()), 0);
        self.start = offset;
        self.filled = read_full(self.source, offset, &mut self.buffer)?;
        Ok(())
    }
}

/// Fills `buf` from `offset` on as far as the source reaches.
pub(super) fn read_full(source: &impl ReadAt, offset: u64, buf: &mut [u8]) -> Result<usize, ZipError> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = offset + filled as u64;
        let room = rest.len();
        match source.read_at(at, rest) {
            Ok(0) => break,
            Ok(count) => filled += count.min(room),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(ZipError::Io { offset: at, source }),
        }
    }
    Ok(filled)
}
