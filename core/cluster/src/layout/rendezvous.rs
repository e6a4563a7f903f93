//! Rendezvous hashing: how much a slot is drawn to a node, by the names of the two and the node's weight alone.
//!
//! With u drawn from (0, 1] for each slot and node, the node with the least -log2(u) / weight wins a slot with a probability in
//! proportion to its weight. All of it is done in integers, so that it is the same on every machine.
//!
//! Invariant: a score never changes from one release to the next; the golden values below say so.

use sha2::{Digest as _, Sha256};

use super::slot::Slot;
use crate::ids::NodeName;

/// Binary digits behind the point of a logarithm.
const FRACTION_BITS: u32 = 32;

/// Steps of the table between 1 and 2; the error between two of them is below 3 in a million.
const STEP_BITS: u32 = 8;
const STEPS: usize = 1 << STEP_BITS;

/// log2(1 + step / 256) in steps of 2^-32.
static LOG2: [u64; STEPS + 1] = log2_table();

/// What a node's scores are drawn from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64);

impl Seed {
    pub(super) fn of(name: &NodeName) -> Self {
        let digest = Sha256::digest(name.as_str());
        Self(digest.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte)))
    }
}

/// How far a slot is from a node: the least wins. `weight` is not 0.
pub(super) fn score(seed: Seed, slot: Slot, weight: u32) -> u64 {
    let drawn = mix(seed.0 ^ mix(u64::from(slot.number()) + 1));
    // At most 64 << 32; what is left of 64 bits keeps heavy nodes apart after the division.
    let distance = negative_log2(drawn) << (63 - 6 - FRACTION_BITS);
    distance / u64::from(weight.max(1))
}

/// -log2(drawn / 2^64) in steps of 2^-32; 0 is taken for 1.
fn negative_log2(drawn: u64) -> u64 {
    let drawn = drawn.max(1);
    let zeros = drawn.leading_zeros();
    // The digits behind the leading one, moved to the top.
    let mantissa = (drawn << zeros) << 1;
    let step = (mantissa >> (64 - STEP_BITS)) as usize;
    let within = (mantissa << STEP_BITS) >> FRACTION_BITS;
    let (Some(&low), Some(&high)) = (LOG2.get(step), LOG2.get(step + 1)) else { return 0 };
    let fraction = low + (((high - low) * within) >> FRACTION_BITS);
    ((u64::from(zeros) + 1) << FRACTION_BITS) - fraction
}

/// Spreads every bit over all of them (the finaliser of splitmix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses a wrong index")]
const fn log2_table() -> [u64; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut step = 0;
    while step < STEPS {
        // Squaring a number between 1 and 2 doubles its logarithm, whose digits come out one by one.
        let mut value = ((STEPS + step) as u128) << (63 - STEP_BITS);
        let mut bit = FRACTION_BITS;
        while bit > 0 {
            bit -= 1;
            value = (value * value) >> 63;
            if value >> 64 != 0 {
                value >>= 1;
                table[step] |= 1 << bit;
            }
        }
        step += 1;
    }
    table[STEPS] = 1 << FRACTION_BITS;
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seed(name: &str) -> Seed {
        Seed::of(&NodeName::parse(name).unwrap())
    }

    #[test]
    fn scores_are_golden() {
        let golden = |name: &str, slot, weight| score(seed(name), Slot::new(slot).unwrap(), weight);
        assert_eq!(
            [
                golden("a", 0, 1),
                golden("a", 1, 1),
                golden("a", 1, 100),
                golden("node-17", 4095, 3),
                golden("node-17", 4095, u32::MAX),
            ],
            [
                703_064_641_655_275_520,
                658_072_397_642_989_568,
                6_580_723_976_429_895,
                3_402_674_932_984_490,
                2_376_740
            ]
        );
    }

    #[test]
    fn the_logarithm_is_right_at_its_ends() {
        let one = 1 << FRACTION_BITS;
        assert_eq!(negative_log2(0), 64 * one);
        assert_eq!(negative_log2(1), 64 * one);
        assert_eq!(negative_log2(1 << 63), one);
        assert_eq!(negative_log2(u64::MAX), 1);
    }

    #[test]
    fn slots_go_to_nodes_by_weight() {
        let nodes = [("a", 1_u32), ("b", 2), ("c", 5)].map(|(name, weight)| (seed(name), weight));
        let mut won = [0_u32; 3];
        for slot in Slot::all() {
            let best = (0..3).min_by_key(|&at| score(nodes[at].0, slot, nodes[at].1)).unwrap();
            won[best] += 1;
        }
        for (won, (_, weight)) in won.iter().zip(nodes) {
            // Within four standard deviations of the expected number.
            let (expected, share) = (512.0 * f64::from(weight), f64::from(weight) / 8.0);
            let deviation = (expected * (1.0 - share)).sqrt();
            assert!((f64::from(*won) - expected).abs() < 4.0 * deviation, "{won} of {expected}");
        }
    }

    proptest! {
        #[test]
        fn the_logarithm_is_near_the_true_one(drawn: u64, shift in 0_u32..64) {
            let drawn = (drawn >> shift).max(1);
            let truth = 64.0 - (drawn as f64).log2();
            let found = negative_log2(drawn) as f64 / 2_f64.powi(32);
            prop_assert!((truth - found).abs() < 4e-6, "{} for {}", found, truth);
        }

        #[test]
        fn the_logarithm_never_rises(drawn: u64, more: u64) {
            prop_assert!(negative_log2(drawn) >= negative_log2(drawn.saturating_add(more)));
        }
    }
}
