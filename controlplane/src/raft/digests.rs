//! Comparing states: each member remembers what its state hashed to at every so many entries, and hears the others'.
//!
//! A difference is always told. Which of two is wrong cannot be said by two: a member stops when a majority of the
//! voters agrees on another state than its own, or when all have spoken and no majority agrees with it.

use std::collections::{BTreeMap, BTreeSet};

use cluster::MemberId;

use super::disk::Members;
use super::error::Divergence;
use super::machine::Digest;

/// Indices remembered. Members that are further apart than this many intervals do not compare.
const REMEMBERED: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Digests {
    ours: BTreeMap<u64, Digest>,
    theirs: BTreeMap<u64, BTreeMap<MemberId, Digest>>,
    told: BTreeSet<(u64, MemberId)>,
}

/// What a comparison came to.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    /// Differences that were not told before.
    pub(super) differences: Vec<Divergence>,
    /// One of them, if this member has to stop.
    pub(super) stop: Option<Divergence>,
}

impl Digests {
    /// Our state at `index`.
    pub(super) fn ours(&mut self, index: u64, digest: Digest, members: &Members) -> Verdict {
        self.ours.insert(index, digest);
        while self.ours.len() > REMEMBERED {
            self.ours.pop_first();
        }
        self.compare(index, members)
    }

    /// Another member's state at `index`.
    pub(super) fn theirs(
        &mut self,
        member: MemberId,
        index: u64,
        digest: Digest,
        members: &Members,
    ) -> Verdict {
        if !members.all().contains(&member.get()) {
            return Verdict::default();
        }
        self.theirs.entry(index).or_default().insert(member, digest);
        // The highest are kept: a member that is behind will come to them.
        while self.theirs.len() > REMEMBERED {
            self.theirs.pop_first();
        }
        self.compare(index, members)
    }

    fn compare(&mut self, index: u64, members: &Members) -> Verdict {
        let (Some(&ours), Some(theirs)) = (self.ours.get(&index), self.theirs.get(&index)) else {
            return Verdict::default();
        };
        let differing: Vec<_> = theirs
            .iter()
            .filter(|(_, digest)| **digest != ours)
            .map(|(&member, &theirs)| Divergence { index, member, ours, theirs })
            .collect();
        let stop = differing.first().copied().filter(|_| is_outvoted(ours, theirs, members));
        let told = &mut self.told;
        let differences = differing.into_iter().filter(|one| told.insert((one.index, one.member))).collect();
        while self.told.len() > REMEMBERED * REMEMBERED {
            self.told.pop_first();
        }
        Verdict { differences, stop }
    }
}

fn is_outvoted(ours: Digest, theirs: &BTreeMap<MemberId, Digest>, members: &Members) -> bool {
    let majority = members.voters.len() / 2 + 1;
    let mut votes: BTreeMap<Digest, usize> = BTreeMap::new();
    for (member, digest) in theirs {
        if members.voters.contains(&member.get()) {
            *votes.entry(*digest).or_default() += 1;
        }
    }
    let spoken: usize = votes.values().sum();
    let with_us = votes.get(&ours).copied().unwrap_or(0);
    let outvoted = votes.iter().any(|(digest, count)| *digest != ours && *count >= majority);
    // We are a voter that has spoken too, or a learner, who counts for nothing.
    let silent = members.voters.len().saturating_sub(spoken + 1);
    outvoted || (silent == 0 && with_us + 1 < majority)
}

#[cfg(test)]
mod tests {
    use super::super::disk::Incarnation;
    use super::*;

    fn member(number: u64) -> MemberId {
        MemberId::new(number).unwrap()
    }

    fn group(voters: u64) -> Members {
        Members::of_voters((1..=voters).map(|id| (member(id), Incarnation(u128::from(id)))))
    }

    const GOOD: Digest = Digest([1; 32]);
    const BAD: Digest = Digest([2; 32]);

    #[test]
    fn who_agrees_goes_on() {
        let mut digests = Digests::default();
        assert_eq!(digests.theirs(member(2), 1000, GOOD, &group(3)), Verdict::default());
        assert_eq!(digests.ours(1000, GOOD, &group(3)), Verdict::default());
        assert_eq!(digests.theirs(member(3), 1000, GOOD, &group(3)), Verdict::default());
    }

    #[test]
    fn who_hears_of_a_bad_one_tells_and_goes_on() {
        let mut digests = Digests::default();
        digests.ours(1000, GOOD, &group(3));
        let verdict = digests.theirs(member(2), 1000, BAD, &group(3));
        assert_eq!((verdict.differences.len(), verdict.stop), (1, None), "the third has not spoken");
        let again = digests.theirs(member(2), 1000, BAD, &group(3));
        assert_eq!(again.differences, [], "told once");
        assert_eq!(digests.theirs(member(3), 1000, GOOD, &group(3)), Verdict::default());
    }

    #[test]
    fn who_is_outvoted_stops() {
        let mut digests = Digests::default();
        digests.ours(1000, BAD, &group(3));
        assert_eq!(digests.theirs(member(2), 1000, GOOD, &group(3)).stop, None);
        let verdict = digests.theirs(member(3), 1000, GOOD, &group(3));
        assert_eq!(verdict.stop.map(|stop| (stop.index, stop.ours)), Some((1000, BAD)));
    }

    #[test]
    fn of_two_that_differ_both_stop() {
        let mut digests = Digests::default();
        digests.ours(1000, GOOD, &group(2));
        assert!(digests.theirs(member(2), 1000, BAD, &group(2)).stop.is_some());
    }

    #[test]
    fn strangers_have_no_say_and_memory_is_bounded() {
        let mut digests = Digests::default();
        digests.ours(1000, GOOD, &group(3));
        assert_eq!(digests.theirs(member(9), 1000, BAD, &group(3)), Verdict::default());
        for index in 0..1000 {
            digests.ours(index, GOOD, &group(3));
            digests.theirs(member(2), index, BAD, &group(3));
        }
        assert!(digests.ours.len() <= REMEMBERED && digests.theirs.len() <= REMEMBERED);
        assert!(digests.told.len() <= REMEMBERED * REMEMBERED);
    }
}
