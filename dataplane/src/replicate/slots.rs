//! A set of slots.

use cluster::layout::{SLOTS, Slot};

/// A bit for each slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotSet([u8; SLOTS / 8]);

impl Default for SlotSet {
    fn default() -> Self {
        Self([0; SLOTS / 8])
    }
}

impl SlotSet {
    /// Reads what [`Self::as_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Bit n % 8 of byte n / 8 stands for slot n.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it has `slot`.
    pub fn contains(&self, slot: Slot) -> bool {
        let number = usize::from(slot.number());
        self.0.get(number / 8).is_some_and(|byte| byte & (1 << (number % 8)) != 0)
    }

    /// Adds `slot`.
    pub fn insert(&mut self, slot: Slot) {
        let number = usize::from(slot.number());
        if let Some(byte) = self.0.get_mut(number / 8) {
            *byte |= 1 << (number % 8);
        }
    }

    /// Takes `slot` away.
    pub fn remove(&mut self, slot: Slot) {
        let number = usize::from(slot.number());
        if let Some(byte) = self.0.get_mut(number / 8) {
            *byte &= !(1 << (number % 8));
        }
    }

    /// Those that `other` has as well.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        self.iter().filter(|slot| other.contains(*slot)).collect()
    }

    /// Those that `other` has not.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.iter().filter(|slot| !other.contains(*slot)).collect()
    }

    /// Those of both.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// How many it has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Its slots in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        Slot::all().filter(|slot| self.contains(*slot))
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<T: IntoIterator<Item = Slot>>(slots: T) -> Self {
        let mut set = Self::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_bits() {
        let of =
            |numbers: &[u16]| numbers.iter().map(|number| Slot::new(*number).unwrap()).collect::<SlotSet>();
        let mut set = of(&[0, 7, 8, 4095]);
        assert_eq!(set.len(), 4);
        assert_eq!(set.iter().map(Slot::number).collect::<Vec<_>>(), [0, 7, 8, 4095]);
        assert_eq!(SlotSet::from_bytes(set.as_bytes()), Some(set.clone()));
        set.remove(Slot::new(8).unwrap());
        assert_eq!(set, of(&[0, 7, 4095]));
        assert!(!set.is_empty() && SlotSet::default().is_empty());
        assert_eq!(SlotSet::from_bytes(&[0; 3]), None);
    }
}
