//! The data descriptor: checksum and sizes that follow an entry's data when the writer did not know them
//! before.
//!
//! Four layouts are in use, with or without a signature and with 32- or 64-bit sizes; the format does not
//! say which one it is, so it is found by what it must contain.

use super::local::Measured;

const SIGNATURE: [u8; 4] = *b"PK\x07\x08";

/// Bytes of each layout: with signature, without, then the same with 64-bit sizes.
const LAYOUTS: [(usize, bool, bool); 4] =
    [(16, true, false), (12, false, false), (24, true, true), (20, false, true)];

/// Bytes of the longest layout.
pub(super) const DESCRIPTOR_BYTES_MAX: usize = 24;

/// Bytes that [`descriptor_bytes`] must see: the longest layout and the beginning of what follows.
pub(super) const LOOK_AHEAD_BYTES: usize = DESCRIPTOR_BYTES_MAX + HEADER_START.len();

/// What every header starts with. Where sizes are 0 a short layout opens a long one as well; what follows
/// tells them apart.
const HEADER_START: [u8; 2] = *b"PK";

/// The length of a descriptor that opens `bytes`, says `truth` and is followed by a header.
pub(super) fn descriptor_bytes(bytes: &[u8], truth: Measured) -> Option<usize> {
    let fits = |&(length, signed, wide): &(usize, bool, bool)| {
        let (expected, _) = render(truth, signed, wide);
        let rest = expected.get(..length).and_then(|expected| bytes.strip_prefix(expected));
        rest.is_some_and(|rest| rest.starts_with(&HEADER_START))
    };
    LAYOUTS.iter().find(|layout| fits(layout)).map(|layout| layout.0)
}

/// Whether `bytes` is, as a whole, a descriptor that says `truth`.
pub(super) fn is_descriptor(bytes: &[u8], truth: Measured) -> bool {
    LAYOUTS.iter().any(|&(length, signed, wide)| {
        let (expected, _) = render(truth, signed, wide);
        bytes.len() == length && expected.get(..length) == Some(bytes)
    })
}

fn render(truth: Measured, signed: bool, wide: bool) -> ([u8; DESCRIPTOR_BYTES_MAX], usize) {
    let mut bytes = [0; DESCRIPTOR_BYTES_MAX];
    let mut length = 0;
    let mut put = |value: &[u8]| {
        if let Some(to) = bytes.get_mut(length..length + value.len()) {
            to.copy_from_slice(value);
        }
        length += value.len();
    };
    if signed {
        put(&SIGNATURE);
    }
    put(&truth.crc.to_le_bytes());
    for size in [truth.compressed, truth.size] {
        put(&size.to_le_bytes());
        if wide {
            put(&[0; 4]);
        }
    }
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layout_is_found_and_no_other_length_is() {
        let full = Measured { crc: 0x1122_3344, compressed: 5, size: 77 };
        let empty = Measured { crc: 0, compressed: 2, size: 0 };
        for ((length, signed, wide), truth) in
            LAYOUTS.iter().flat_map(|&layout| [(layout, full), (layout, empty)])
        {
            let (bytes, rendered) = render(truth, signed, wide);
            assert_eq!(rendered, length);
            assert!(is_descriptor(&bytes[..length], truth));
            assert!(!is_descriptor(&bytes[..length - 1], truth));
            let mut followed = bytes[..length].to_vec();
            followed.extend_from_slice(b"PK\x03\x04and more than the longest layout needs");
            assert_eq!(descriptor_bytes(&followed, truth), Some(length));
            assert_eq!(descriptor_bytes(&followed, Measured { size: 78, ..truth }), None);
            assert_eq!(descriptor_bytes(&bytes[..length], truth), None);
            assert!(!is_descriptor(&bytes[..length], Measured { crc: 1, ..truth }));
        }
    }
}
