//! The header that stands before each entry's data.
//!
//! Go reads only its lengths. A reader that walks the file from its start believes all of it, so here it
//! must agree with the central directory.

use super::fields::{Fields, ZIP64_EXTRA, extra_field};

pub(super) const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
/// Bytes of a local header without name and extra field.
pub(super) const LOCAL_BYTES: usize = 30;
pub(super) const STORE: u16 = 0;
pub(super) const DEFLATE: u16 = 8;
/// A data descriptor follows the data, since sizes were not known when the header was written.
pub(super) const DESCRIPTOR_FLAG: u16 = 1 << 3;
/// Encryption (0, 6), patch data (5), masked headers (13).
pub(super) const UNSUPPORTED_FLAGS: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;

/// The fixed part of a local header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LocalHeader {
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    compressed: u32,
    size: u32,
    pub(super) name_bytes: u16,
    pub(super) extra_bytes: u16,
}

/// What was measured, or what the central directory declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) crc: u32,
    pub(super) compressed: u32,
    pub(super) size: u32,
}

impl LocalHeader {
    /// Parses the first [`LOCAL_BYTES`] bytes; `None` when they are no local header.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.u32()? != LOCAL_SIGNATURE {
            return None;
        }
        let _version_needed = fields.u16()?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        let _modified = fields.u32()?;
        let crc = fields.u32()?;
        let [compressed, size] = [fields.u32()?, fields.u32()?];
        let [name_bytes, extra_bytes] = [fields.u16()?, fields.u16()?];
        Some(Self { flags, method, crc, compressed, size, name_bytes, extra_bytes })
    }

    /// Whether sizes and checksum come after the data.
    pub(super) fn has_descriptor(&self) -> bool {
        self.flags & DESCRIPTOR_FLAG != 0
    }

    /// The declared compressed and unpacked size, taken from the zip64 extra field where the header leaves
    /// them to it. `None` when it should be there and is not.
    pub(super) fn sizes(&self, extra: &[u8]) -> Option<(u64, u64)> {
        if self.compressed != u32::MAX && self.size != u32::MAX {
            return Some((self.compressed.into(), self.size.into()));
        }
        let mut wide = extra_field(extra, ZIP64_EXTRA)?;
        // The unpacked size comes first there.
        let mut one = |plain: u32| if plain == u32::MAX { wide.u64() } else { Some(plain.into()) };
        let size = one(self.size)?;
        Some((one(self.compressed)?, size))
    }

    /// The first declared value that contradicts the truth. With a descriptor to come each may be 0.
    pub(super) fn contradicts(&self, extra: &[u8], truth: Measured) -> Option<&'static str> {
        let open = self.has_descriptor();
        let agrees =
            |declared: u64, true_value: u32| declared == u64::from(true_value) || (open && declared == 0);
        let Some((compressed, size)) = self.sizes(extra) else {
            return Some("zip64 sizes");
        };
        if !agrees(self.crc.into(), truth.crc) {
            Some("checksum")
        } else if !agrees(compressed, truth.compressed) {
            Some("compressed size")
        } else if !agrees(size, truth.size) {
            Some("size")
        } else {
            None
        }
    }
}
