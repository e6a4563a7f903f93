//! The replicas of one slot as positions in a table of nodes, in a fixed small space, and how many there should be.
//!
//! Invariant: at most [`REPLICAS_MAX`], in order, the owner first. That positions lie in the table is its owner's business.

use std::fmt;
use std::str::FromStr;

use crate::ids::{NumberError, parse_decimal};

/// Bound of the replicas of a slot. Five survive two zones; what asks for more wants a backup.
pub const REPLICAS_MAX: usize = 7;

/// How many replicas a slot should have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplicationFactor(u8);

impl ReplicationFactor {
    /// One replica.
    pub const ONE: Self = Self(1);

    /// 1 to [`REPLICAS_MAX`] replicas; `None` for other numbers.
    pub const fn new(replicas: u8) -> Option<Self> {
        if replicas >= 1 && replicas as usize <= REPLICAS_MAX { Some(Self(replicas)) } else { None }
    }

    /// How many.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for ReplicationFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for ReplicationFactor {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let value = parse_decimal(text)?;
        let factor = u8::try_from(value).ok().and_then(Self::new);
        factor.ok_or(NumberError::Range { value, min: 1, max: REPLICAS_MAX as u64 })
    }
}

/// Positions of nodes, the owner's first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seats {
    len: u8,
    at: [u16; REPLICAS_MAX],
}

impl PartialEq for Seats {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Seats {}

impl Seats {
    pub(super) fn as_slice(&self) -> &[u16] {
        self.at.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Positions as indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.as_slice().iter().map(|&at| usize::from(at))
    }

    pub(super) fn contains(&self, node: usize) -> bool {
        self.iter().any(|at| at == node)
    }

    /// Puts a node last; false if there is no room.
    pub(super) fn push(&mut self, node: u16) -> bool {
        let Some(seat) = self.at.get_mut(usize::from(self.len)) else { return false };
        *seat = node;
        self.len += 1;
        true
    }

    /// Puts `to` where `from` sits.
    pub(super) fn replace(&mut self, from: usize, to: usize) {
        if let Some(seat) =
            self.at.iter_mut().take(usize::from(self.len)).find(|at| usize::from(**at) == from)
        {
            *seat = to as u16;
        }
    }

    /// Takes a node out; the others keep their order.
    pub(super) fn remove(&mut self, node: usize) {
        let mut left = Self::default();
        for &at in self.as_slice().iter().filter(|at| usize::from(**at) != node) {
            left.push(at);
        }
        *self = left;
    }

    /// Lets a node that has a seat and the owner change places.
    pub(super) fn make_owner(&mut self, node: usize) {
        let place = self.iter().position(|at| at == node);
        if let Some(place) = place {
            self.at.swap(0, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_few() {
        assert_eq!("3".parse(), Ok(ReplicationFactor(3)));
        for text in ["0", "8", "259"] {
            assert!(matches!(
                text.parse::<ReplicationFactor>(),
                Err(NumberError::Range { min: 1, max: 7, .. })
            ));
        }
    }

    #[test]
    fn seats_keep_their_order() {
        let mut seats = Seats::default();
        assert!((1..=7).all(|node| seats.push(node)) && !seats.push(8));
        seats.remove(3);
        seats.replace(5, 9);
        seats.make_owner(7);
        seats.make_owner(8);
        assert_eq!(seats.as_slice(), [7, 2, 4, 9, 6, 1]);
        assert!(seats.contains(9) && !seats.contains(5) && seats.len() == 6);
    }
}
