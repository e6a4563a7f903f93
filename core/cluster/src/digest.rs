//! The digest of the state: a sum over its records, so that it is kept up with each change and does not depend on their order.
//!
//! Members compare it to find out that they have come apart. It is no proof against somebody who makes records up: sums modulo
//! 2^256 can be met on purpose.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::record::{Key, Record};

/// The sum modulo 2^256 of SHA-256 over all records, each as its key's length (4 bytes, big-endian), its key and its value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StateDigest {
    /// Little end first.
    limbs: [u64; 4],
}

impl StateDigest {
    /// The digest of these records.
    pub fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut digest = Self::default();
        for record in records {
            digest.add(&record.key(), &record.encode());
        }
        digest
    }

    /// Takes a record in.
    pub fn add(&mut self, key: &Key, value: &[u8]) {
        let mut carry = false;
        for (limb, more) in self.limbs.iter_mut().zip(limbs_of(key, value)) {
            let (sum, over) = limb.overflowing_add(more);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, over || over_again);
        }
    }

    /// Takes a record out that was taken in.
    pub fn subtract(&mut self, key: &Key, value: &[u8]) {
        let mut borrow = false;
        for (limb, less) in self.limbs.iter_mut().zip(limbs_of(key, value)) {
            let (rest, under) = limb.overflowing_sub(less);
            let (rest, under_again) = rest.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (rest, under || under_again);
        }
    }

    /// Its bytes, big-endian.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().zip(self.limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()))
        {
            *place = byte;
        }
        bytes
    }

    /// The digest with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut limbs = [0; 4];
        let (chunks, _) = bytes.as_chunks::<8>();
        for (limb, chunk) in limbs.iter_mut().zip(chunks.iter().rev()) {
            *limb = u64::from_be_bytes(*chunk);
        }
        Self { limbs }
    }
}

fn limbs_of(key: &Key, value: &[u8]) -> [u64; 4] {
    let key = key.encode();
    let mut hash = Sha256::new();
    hash.update((key.len() as u32).to_be_bytes());
    hash.update(&key);
    hash.update(value);
    StateDigest::from_bytes(hash.finalize().into()).limbs
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateDigest({self})")
    }
}
