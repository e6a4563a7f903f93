//! What time a leader may say it is: no later than the clocks of a majority.
//!
//! A command brings its proposer's time into the truth, and the cluster's time never goes back: one clock that runs ahead for a
//! second would end tokens and secrets for good. Invariant: a clock that a majority does not bear out moves nothing.

use std::time::{Instant, SystemTime};

use cluster::record::MemberState;
use cluster::{MemberId, Tables, Timestamp};

use crate::observed::Observed;
use crate::services::convert::timestamp;

/// The latest time that the clocks of a majority of the voters have reached, as this leader knows them; none before there are any.
/// Whoever has not said what time it is bears out none. What a voter said goes on by the monotonic clock, so that a jump of our own
/// clock since then changes nothing of it.
pub(crate) fn agreed_time(
    tables: &Tables,
    me: MemberId,
    observed: &Observed,
    now: Instant,
    wall: SystemTime,
) -> Option<Timestamp> {
    let voters = tables.members.values().filter(|member| matches!(member.state, MemberState::Voter));
    let mut clocks: Vec<Timestamp> = voters
        .map(|voter| {
            if voter.id == me {
                return timestamp(wall);
            }
            observed.of_member(voter.id).map_or_else(Timestamp::default, |seen| {
                let said = timestamp(seen.wall).millis().saturating_add_signed(seen.report.clock_offset_ms);
                Timestamp::from_millis(said).after(now.saturating_duration_since(seen.at))
            })
        })
        .collect();
    clocks.sort_unstable_by(|one, other| other.cmp(one));
    // Of three clocks the second latest: two have reached it.
    clocks.get(clocks.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observed::{MemberReport, Seen};
    use crate::reconcile::bed::{member, tables};

    const DAY: Duration = Duration::from_hours(24);

    fn ms(at: SystemTime) -> Timestamp {
        timestamp(at)
    }

    #[test]
    fn a_clock_that_a_majority_does_not_bear_out_moves_nothing() {
        let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + 1000 * DAY);
        let mut tables = tables();
        let mut observed = Observed::new(start);
        assert_eq!(agreed_time(&tables, MemberId::ONE, &observed, start, wall), None);
        let me = member(&mut tables, 1, MemberState::Voter);
        member(&mut tables, 9, MemberState::Learner);
        let agreed =
            |tables: &Tables, observed: &Observed, now, wall| agreed_time(tables, me, observed, now, wall);
        assert_eq!(agreed(&tables, &observed, start, wall), Some(ms(wall)), "alone it is right");
        let others = [2, 3].map(|number| member(&mut tables, number, MemberState::Voter));
        assert_eq!(
            agreed(&tables, &observed, start, wall),
            Some(Timestamp::default()),
            "nobody said anything"
        );
        let mut said = |id, clock_offset_ms| {
            let report = MemberReport { clock_offset_ms, ..MemberReport::default() };
            observed.member(id, Seen { report, at: start, wall });
            observed.clone()
        };
        let one = said(others[0], 20);
        assert_eq!(agreed(&tables, &one, start, wall), Some(ms(wall)));
        let all = said(others[1], 40);
        let later = Duration::from_secs(1);
        // Ours jumps ahead, before anybody was asked again, or back.
        let ahead = agreed(&tables, &all, start + later, wall + DAY);
        assert_eq!(ahead, Some(ms(wall + later + Duration::from_millis(40))));
        let back = agreed(&tables, &all, start + later, wall - DAY);
        assert_eq!(back, Some(ms(wall + later + Duration::from_millis(20))));
        // So does one of the others.
        let theirs = said(others[1], i64::try_from(DAY.as_millis()).unwrap());
        assert_eq!(agreed(&tables, &theirs, start, wall), Some(ms(wall + Duration::from_millis(20))));
    }
}
