//! A piece of a body on its way into a connection. The last one carries the body's [`Guard`], so that a permit is
//! given back when the bytes have left, not when they have been queued.

use bytes::{Buf, Bytes};

use super::guard::Guard;

/// See the head of this file.
pub struct Piece {
    bytes: Bytes,
    guard: Guard,
}

impl Piece {
    /// A piece that others follow.
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, guard: Guard::default() }
    }

    /// The last piece of a body.
    pub(super) fn last(bytes: Bytes, mut guard: Guard) -> Self {
        guard.leave();
        Self { bytes, guard }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece").field("remaining", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.guard.unsent(self.bytes.len() as u64);
        }
    }
}
