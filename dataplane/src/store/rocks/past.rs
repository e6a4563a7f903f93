//! Scans that go on behind what cannot be read.
//!
//! A block that does not verify hides the keys in it, and where it ends: that is found by halving what is left of the
//! family. Invariant: whatever is passed over is told of.

use std::ops::ControlFlow;

use super::super::error::StoreError;
use super::super::keys;
use super::Rocks;

/// Looks for the end of what cannot be read, at most: eight for each byte by which keys on both sides of it differ.
const LOOKS_MAX: usize = 8 * 80;

impl Rocks {
    /// As [`Self::scan`], but goes on behind what cannot be read, of which it tells `damaged`.
    pub(in super::super) fn scan_past(
        &self,
        what: &'static str,
        prefix: &[u8],
        start: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
        mut damaged: impl FnMut(StoreError),
    ) -> Result<(), StoreError> {
        let mut from = start.max(prefix).to_vec();
        loop {
            let mut last = Vec::new();
            let scanned = self.scan(what, prefix, &from, |key, value| {
                last.clear();
                last.extend_from_slice(key);
                each(key, value)
            });
            match scanned {
                Err(error @ StoreError::Corrupt { .. }) => damaged(error),
                result => return result,
            }
            let stuck = if last.is_empty() { from } else { last };
            let Some(behind) = self.behind(what, prefix, stuck)? else { return Ok(()) };
            from = behind;
        }
    }

    /// A key behind `stuck` from which on all can be read for a while, as low as can be found; [`None`] when there is none.
    fn behind(
        &self,
        what: &'static str,
        prefix: &[u8],
        stuck: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(end) = keys::after(prefix) else { return Ok(None) };
        let shortest = stuck.len();
        let (mut low, mut high) = (stuck, end.clone());
        // Keys that are longer than those on both sides tell nothing more.
        let mut enough = usize::MAX;
        for _ in 0..LOOKS_MAX {
            let Some(mut middle) = between(&low, &high) else { break };
            middle.truncate(enough);
            if middle <= low {
                break;
            }
            let mut first = None;
            let looked = self.scan(what, prefix, &middle, |key, _| {
                first = Some(key.len());
                ControlFlow::Break(())
            });
            match looked {
                Ok(()) => {
                    high = middle;
                    enough = first.map_or(usize::MAX, |len| len.max(shortest) + 1);
                }
                Err(StoreError::Corrupt { .. }) => low = middle,
                Err(error) => return Err(error),
            }
        }
        Ok((high != end).then_some(high))
    }
}

/// A key in the middle between two, longer than both by one byte at most; [`None`] when there is none.
fn between(low: &[u8], high: &[u8]) -> Option<Vec<u8>> {
    let len = low.len().max(high.len()) + 1;
    let digit = |key: &[u8], at: usize| u16::from(key.get(at).copied().unwrap_or(0));
    // Half of the sum, as of two fractions to the base of 256: added from the last digit on, halved from the first on.
    let mut sums = vec![0_u16; len];
    let mut carry = 0;
    for (at, sum) in sums.iter_mut().enumerate().rev() {
        let both = digit(low, at) + digit(high, at) + carry;
        (*sum, carry) = (both % 256, both / 256);
    }
    let mut middle = Vec::with_capacity(len);
    for sum in sums {
        let all = carry * 256 + sum;
        middle.push((all / 2) as u8);
        carry = all % 2;
    }
    while middle.last() == Some(&0) {
        middle.pop();
    }
    let is_between = low < middle.as_slice() && middle.as_slice() < high;
    is_between.then_some(middle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_middle_is_in_the_middle() {
        for (low, high, middle) in [
            ("a", "c", Some(&b"b"[..])),
            ("a", "b", Some(&[b'a', 128][..])),
            ("ab", "b", Some(&[b'a', 177][..])),
            ("", "b", Some(&b"1"[..])),
            ("b", "b", None),
            ("c", "b", None),
        ] {
            assert_eq!(between(low.as_bytes(), high.as_bytes()).as_deref(), middle, "{low} and {high}");
        }
    }

    proptest! {
        /// Halving comes down to any key, wherever it is.
        #[test]
        fn every_end_is_found(
            mut keys in proptest::collection::vec(proptest::collection::vec(1..=255_u8, 1..12), 3),
        ) {
            keys.sort();
            keys.dedup();
            prop_assume!(keys.len() == 3);
            let (mut low, end, mut high) = (keys[0].clone(), keys[1].clone(), keys[2].clone());
            for _ in 0..LOOKS_MAX {
                let Some(middle) = between(&low, &high) else { break };
                prop_assert!(low < middle && middle < high);
                if middle < end { low = middle } else { high = middle }
            }
            prop_assert!(high.starts_with(&end));
        }
    }
}
