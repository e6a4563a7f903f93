//! The bytes of a layout, as they lie on disk and go over the wire.
//!
//! Version 1, numbers big-endian: `GPL` and the version; epoch, 8 bytes; replication factor, 1; number of nodes, 2; each node's
//! name after its length, 1; for each slot in order its replicas after their number, 1: a byte each with up to 256 nodes, else
//! two. With 200 nodes and 3 replicas that is 16 KiB and the names.
//!
//! Invariant: one layout has one encoding, and whatever is not one is refused before it takes memory.

use super::candidate::NODES_MAX;
use super::seats::{REPLICAS_MAX, ReplicationFactor, Seats};
use super::slot::{SLOTS, Slot};
use super::table::Layout;
use crate::ids::{Epoch, LABEL_BYTES_MAX, LabelError, NodeName};

/// Before everything else, the version last.
const MAGIC: [u8; 4] = *b"GPL\x01";

/// Nodes that a byte can tell apart.
const NARROW_NODES_MAX: usize = 256;

/// Bound of an encoded layout.
pub const LAYOUT_BYTES_MAX: usize =
    MAGIC.len() + 8 + 1 + 2 + NODES_MAX * (1 + LABEL_BYTES_MAX) + SLOTS * (1 + 2 * REPLICAS_MAX);

/// Why bytes are no layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Something else, or damaged.
    #[error("layout does not begin with its mark")]
    Mark,
    /// Written by a release that knows more.
    #[error("layout has encoding {0}, which is not known")]
    Version(u8),
    /// They end before the layout does.
    #[error("layout is cut off")]
    CutOff,
    /// They go on after the layout.
    #[error("{bytes} bytes follow the layout")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A number that is out of its range.
    #[error("layout has a bad {what}")]
    Number {
        /// Which.
        what: &'static str,
    },
    /// A node without a name.
    #[error("layout has a bad node name")]
    Name(#[from] LabelError),
    /// Names that are not in order, or that hold nothing: another encoding of a layout that has one.
    #[error("layout is not in its one form")]
    Form,
}

impl Layout {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let narrow = self.nodes().len() <= NARROW_NODES_MAX;
        let mut out = Vec::with_capacity(MAGIC.len() + 11 + self.nodes().len() * 20 + SLOTS * 5);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.epoch().get().to_be_bytes());
        out.push(self.replication().get());
        out.extend_from_slice(&(self.nodes().len() as u16).to_be_bytes());
        for name in self.nodes() {
            out.push(name.as_str().len() as u8);
            out.extend_from_slice(name.as_str().as_bytes());
        }
        for seats in self.seats() {
            out.push(seats.len() as u8);
            for &at in seats.as_slice() {
                let [high, low] = at.to_be_bytes();
                if !narrow {
                    out.push(high);
                }
                out.push(low);
            }
        }
        out
    }

    /// Reads bytes of any version that there has been.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut left = Bytes(bytes);
        let [mark @ .., version] = left.array::<4>().map_err(|_| DecodeError::Mark)?;
        let [known_mark @ .., known_version] = MAGIC;
        if mark != known_mark {
            return Err(DecodeError::Mark);
        }
        if version != known_version {
            return Err(DecodeError::Version(version));
        }
        let epoch = Epoch::new(u64::from_be_bytes(left.array()?));
        let replication =
            ReplicationFactor::new(left.byte()?).ok_or(DecodeError::Number { what: "replication factor" })?;
        let count = usize::from(u16::from_be_bytes(left.array()?));
        if count > NODES_MAX {
            return Err(DecodeError::Number { what: "number of nodes" });
        }
        let nodes = left.names(count)?;
        let seats = Slot::all().map(|_| left.seats(count)).collect::<Result<Vec<_>, _>>()?;
        if !left.0.is_empty() {
            return Err(DecodeError::Trailing { bytes: left.0.len() });
        }
        let layout = Self::from_seats(epoch, replication, nodes, seats);
        // Names that hold nothing have been left out.
        if layout.nodes().len() != count {
            return Err(DecodeError::Form);
        }
        Ok(layout)
    }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(DecodeError::CutOff)?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, left) = self.0.split_first_chunk().ok_or(DecodeError::CutOff)?;
        self.0 = left;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn names(&mut self, count: usize) -> Result<Vec<NodeName>, DecodeError> {
        let mut names: Vec<NodeName> = Vec::new();
        for _ in 0..count {
            let length = usize::from(self.byte()?);
            let text = std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Form)?;
            let name = NodeName::parse(text)?;
            if names.last().is_some_and(|last| *last >= name) {
                return Err(DecodeError::Form);
            }
            names.push(name);
        }
        Ok(names)
    }

    fn seats(&mut self, nodes: usize) -> Result<Seats, DecodeError> {
        let mut seats = Seats::default();
        for _ in 0..self.byte()? {
            let at = if nodes <= NARROW_NODES_MAX {
                u16::from(self.byte()?)
            } else {
                u16::from_be_bytes(self.array()?)
            };
            if usize::from(at) >= nodes {
                return Err(DecodeError::Number { what: "node" });
            }
            if !seats.push(at) {
                return Err(DecodeError::Number { what: "number of replicas" });
            }
        }
        Ok(seats)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(nodes: usize, replication: u8) -> Layout {
        let replication = ReplicationFactor::new(replication).unwrap();
        Layout::from_fn(Epoch::new(0x0102), replication, |slot| {
            let number = usize::from(slot.number());
            let name = |at: usize| NodeName::parse(&format!("n{}", (number + at) % nodes)).unwrap();
            (0..usize::from(replication.get())).map(name).collect()
        })
        .unwrap()
    }

    #[test]
    fn the_bytes_are_golden() {
        let bytes = layout(2, 2).encode();
        let head = b"GPL\x01\0\0\0\0\0\0\x01\x02\x02\0\x02\x02n0\x02n1\x02\0\x01\x02\x01\0\x02\0\x01";
        assert_eq!(&bytes[..head.len()], head);
        assert_eq!(bytes.len(), 15 + 2 * 3 + SLOTS * 3);
        let wide = layout(257, 1).encode();
        assert_eq!(wide[13..15], [1, 1]);
        // The last slot is 4095 = 15 * 257 + 240; n240 is at 158 among the names in order.
        assert_eq!(wide[wide.len() - 3..], [1, 0, 158]);
    }

    #[test]
    fn layouts_read_back_and_are_small() {
        for (nodes, replication) in [(1, 1), (3, 3), (256, 2), (257, 2), (1024, 7)] {
            let layout = layout(nodes, replication);
            let bytes = layout.encode();
            assert_eq!(Layout::decode(&bytes), Ok(layout));
            assert!(bytes.len() <= LAYOUT_BYTES_MAX);
        }
        // Names of full length leave room for 200 nodes in 64 KiB.
        assert!(layout(200, 3).encode().len() + 200 * LABEL_BYTES_MAX < 64 * 1024);
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        let good = layout(3, 2).encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Layout::decode(&bytes).unwrap_err()
        };
        assert_eq!(with(0, b'X'), DecodeError::Mark);
        assert_eq!(with(3, 2), DecodeError::Version(2));
        assert_eq!(with(12, 0), DecodeError::Number { what: "replication factor" });
        assert_eq!(with(13, 0xff), DecodeError::Number { what: "number of nodes" });
        assert_eq!(with(17, b'9'), DecodeError::Form);
        assert!(matches!(with(16, b'N'), DecodeError::Name(_)));
        assert_eq!(with(25, 3), DecodeError::Number { what: "node" });
        assert_eq!(with(24, 8), DecodeError::Number { what: "number of replicas" });
        assert_eq!(Layout::decode(&good[..good.len() - 1]), Err(DecodeError::CutOff));
        let longer = [&good[..], b"x"].concat();
        assert_eq!(Layout::decode(&longer), Err(DecodeError::Trailing { bytes: 1 }));
    }

    proptest! {
        #[test]
        fn bytes_are_refused_or_are_the_one_encoding(changes in prop::collection::vec((0_usize..13_000, any::<u8>()), 0..8), cut in 0_usize..13_000) {
            let mut bytes = layout(5, 2).encode();
            for (at, byte) in changes {
                // The head is where most can go wrong.
                let at = if byte % 2 == 0 { at % 40 } else { at };
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if cut % 4 == 0 {
                bytes.truncate(cut);
            }
            if let Ok(layout) = Layout::decode(&bytes) {
                prop_assert_eq!(layout.encode(), bytes);
            }
        }

        #[test]
        fn noise_is_refused(bytes: Vec<u8>) {
            prop_assert!(Layout::decode(&bytes).is_err());
            prop_assert!(Layout::decode(&[&MAGIC[..], &bytes].concat()).is_err());
        }
    }
}
