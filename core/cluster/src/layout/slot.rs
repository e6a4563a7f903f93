//! Slots: the parts into which modules are divided.
//!
//! Invariant: a [`Slot`] is below [`SLOTS`], and a module's slot is the same on every node and in every release.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::ids::{NumberError, parse_decimal};

/// How many slots there are: 20 to a node with 200 nodes, and a layout of a few dozen KiB.
pub const SLOTS: usize = 4096;

/// The greatest slot.
const LAST: u16 = 4095;

/// One of the [`SLOTS`] parts of all modules.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

impl Slot {
    /// Slot 0.
    pub const FIRST: Self = Self(0);

    /// The slot with this number; `None` from [`SLOTS`] on.
    pub const fn new(number: u16) -> Option<Self> {
        if number <= LAST { Some(Self(number)) } else { None }
    }

    /// The slot of a module: the top 12 bits of the SHA-256 of its path. The path is an opaque key here.
    pub fn of(module_path: &str) -> Self {
        let [first, second, ..] = <[u8; 32]>::from(Sha256::digest(module_path));
        Self(u16::from_be_bytes([first, second]) >> 4)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Every slot, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator + Clone {
        (0..=LAST).map(Self)
    }

    /// Its place in a table of all slots.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Slot {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let value = parse_decimal(text)?;
        let slot = u16::try_from(value).ok().and_then(Self::new);
        slot.ok_or(NumberError::Range { value, min: 0, max: u64::from(LAST) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modules_slot_is_golden() {
        // printf %s PATH | sha256sum | cut -c1-3
        for (path, number) in [("", 0xe3b), ("abc", 0xba7), ("rsc.io/quote", 0x2fd)] {
            assert_eq!(Slot::of(path).number(), number, "{path}");
        }
    }

    #[test]
    fn all_slots_print_and_read_back() {
        assert_eq!(Slot::all().len(), SLOTS);
        for slot in Slot::all() {
            assert_eq!(slot.to_string().parse(), Ok(slot));
            assert_eq!(Slot::new(slot.number()), Some(slot));
        }
        assert_eq!(Slot::new(4096), None);
        let refused = |text: &str| text.parse::<Slot>().unwrap_err();
        assert_eq!(refused("4096"), NumberError::Range { value: 4096, min: 0, max: 4095 });
        assert_eq!(refused("65536"), NumberError::Range { value: 65536, min: 0, max: 4095 });
        assert_eq!(refused("01"), NumberError::Decimal);
    }
}
