//! Fair shares: how many slots each node should hold, by weight, within what its zone and the node itself can hold.
//!
//! Shares are max-min fair: whoever is not held back by a bound gets the same for each unit of weight, and what one cannot take
//! or must take is spread over the others in the same way. They are computed in fixed point.
//!
//! Invariant: a node's share lies between two whole numbers that it may hold either of.

/// Binary digits behind the point of a share.
const POINT: u32 = 64;
const ONE: u128 = 1 << POINT;

/// Shares so near to a whole number are that number: a millionth of a slot, far more than the arithmetic errs.
const NEAR: u128 = ONE >> 20;

/// A node's part in the sharing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) weight: u32,
    /// The least it holds, whatever its weight.
    pub(super) least: u32,
    /// The most it can hold.
    pub(super) most: u32,
}

/// What is shared by nodes of one zone.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// The least that all of them hold together.
    pub(super) least: u32,
    /// The most that all of them hold together.
    pub(super) most: u32,
    pub(super) claims: Vec<Claim>,
}

/// The whole numbers on both sides of a fair share; the same twice if the share is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Share {
    pub(super) floor: u32,
    pub(super) ceil: u32,
}

/// Divides `total` among the groups and their claims, in the order given. Weights are not 0.
pub(super) fn shares(groups: &[Group], total: u32) -> Vec<Vec<Share>> {
    let level = least_level(|level| groups.iter().map(|group| held(group, level)).sum(), total);
    groups
        .iter()
        .map(|group| {
            let bound = bounded(group, held_freely(group, level));
            // A group at its bound has a level of its own.
            let level = match bound {
                Some(whole) => least_level(|level| held_freely(group, level), whole),
                None => level,
            };
            group.claims.iter().map(|claim| share(taken(*claim, level))).collect()
        })
        .collect()
}

/// The least level, in slots for each unit of weight, at which at least `total` slots are held.
fn least_level(held: impl Fn(u128) -> u128, total: u32) -> u128 {
    let wanted = u128::from(total) << POINT;
    // At this level the lightest node could hold 65536 slots: whoever has a bound has reached it.
    let (mut low, mut high) = (0, 1 << (POINT + 16));
    while low < high {
        let middle = low + (high - low) / 2;
        if held(middle) >= wanted {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn taken(claim: Claim, level: u128) -> u128 {
    // A maximum below the minimum counts more.
    let (least, most) = (u128::from(claim.least) << POINT, u128::from(claim.most) << POINT);
    (level * u128::from(claim.weight)).max(least).min(most)
}

fn held_freely(group: &Group, level: u128) -> u128 {
    group.claims.iter().map(|claim| taken(*claim, level)).sum()
}

fn held(group: &Group, level: u128) -> u128 {
    let freely = held_freely(group, level);
    bounded(group, freely).map_or(freely, |whole| u128::from(whole) << POINT)
}

/// The bound that holds a group back, or up.
fn bounded(group: &Group, freely: u128) -> Option<u32> {
    if freely < u128::from(group.least) << POINT {
        Some(group.least)
    } else if freely > u128::from(group.most) << POINT {
        Some(group.most)
    } else {
        None
    }
}

fn share(exact: u128) -> Share {
    let floor = ((exact + NEAR) >> POINT) as u32;
    let ceil = ((exact.saturating_sub(NEAR) + (ONE - 1)) >> POINT) as u32;
    Share { floor, ceil }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(least: u32, most: u32, claims: &[(u32, u32)]) -> Group {
        let claims = claims.iter().map(|&(weight, most)| Claim { weight, least: 0, most }).collect();
        Group { least, most, claims }
    }

    fn of(groups: &[Group], total: u32) -> Vec<Vec<(u32, u32)>> {
        let pair = |share: &Share| (share.floor, share.ceil);
        shares(groups, total).iter().map(|shares| shares.iter().map(pair).collect()).collect()
    }

    #[test]
    fn shares_follow_weights() {
        let one = group(0, 4096, &[(1, 4096), (1, 4096), (2, 4096)]);
        assert_eq!(of(&[one], 4096), [[(1024, 1024), (1024, 1024), (2048, 2048)]]);
        let thirds = group(0, 4096, &[(7, 4096), (7, 4096), (7, 4096)]);
        assert_eq!(of(&[thirds], 4096), [[(1365, 1366); 3]]);
        let wide = group(0, 4096, &[(1, 4096), (u32::MAX, 4096)]);
        // The share of the light one is a millionth of a slot.
        assert_eq!(of(&[wide], 4095), [[(0, 0), (4095, 4095)]]);
    }

    #[test]
    fn what_one_cannot_take_goes_to_the_others() {
        let heavy = group(0, 8192, &[(8, 4096), (1, 4096), (1, 4096)]);
        assert_eq!(of(&[heavy], 8192), [[(4096, 4096), (2048, 2048), (2048, 2048)]]);
        let zones =
            [group(0, 4096, &[(1, 4096); 6]), group(0, 4096, &[(1, 4096)]), group(0, 4096, &[(1, 4096)])];
        assert_eq!(of(&zones, 8192), [vec![(682, 683); 6], vec![(2048, 2048)], vec![(2048, 2048)]]);
    }

    #[test]
    fn what_one_must_take_the_others_do_not() {
        let zones = [group(4096, 8192, &[(1, 4096), (1, 4096)]), group(4096, 8192, &[(9, 4096), (9, 4096)])];
        assert_eq!(of(&zones, 12288), [[(2048, 2048); 2], [(4096, 4096); 2]]);
    }
}
