//! A leader whose disk is slow lets another member lead: everything that is agreed on waits for its disk, and while that writes, nobody hears
//! of the leader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::MemberId;

use crate::control::Control;
use crate::observed::Observed;
use crate::raft::Status;

/// Between two attempts: where every disk is slow, leading does not go round.
const PAUSE: Duration = Duration::from_mins(1);
/// The longest that handing over may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A member that lags by more entries would keep everybody waiting until it has them.
const LAG_MAX: u64 = 1_000;

/// When a leader last tried to go aside.
#[derive(Debug, Default)]
pub(super) struct Aside {
    tried: Option<Instant>,
}

impl Aside {
    /// Hands over if the disk is slow, there is somebody whose disk is not, and it was not tried a moment ago.
    pub(super) async fn look(&mut self, control: &Arc<Control>) {
        if !control.disk.is_slow() || self.tried.is_some_and(|tried| tried.elapsed() < PAUSE) {
            return;
        }
        let Some(status) = control.raft.status().await else { return };
        let Some(to) = heir(&status, &control.observed.lock()) else { return };
        self.tried = Some(Instant::now());
        match control.raft.transfer_leader(to, Instant::now() + TIMEOUT).await {
            Ok(()) => {
                let to = control.member_name(to);
                tracing::warn!(to, "handed leadership over, since the disk is slow");
            }
            Err(error) => tracing::debug!(%error, "leadership was not handed over"),
        }
    }
}

/// Who should lead instead: of the voters that answer, lag little and say that their disks are not slow, the one with the longest log.
fn heir(status: &Status, observed: &Observed) -> Option<MemberId> {
    let fit = status.progress.iter().filter(|progress| {
        let is_quick = observed.of_member(progress.member).is_some_and(|seen| !seen.report.disk_is_slow);
        is_quick
            && progress.active
            && status.members.is_voter(progress.member)
            && progress.matched.saturating_add(LAG_MAX) >= status.last_index
    });
    fit.max_by_key(|progress| progress.matched).map(|progress| progress.member)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::observed::{MemberReport, Seen};
    use crate::raft::{Incarnation, Leadership, Members, Progress, Role};

    fn id(number: u64) -> MemberId {
        MemberId::new(number).unwrap()
    }

    /// Three voters, of which the first leads.
    fn status(matched: [u64; 2]) -> Status {
        let progress = |(at, matched)| Progress { member: id(at), matched, active: true, snapshot: false };
        Status {
            member: id(1),
            leadership: Leadership { term: 1, leader: Some(id(1)), role: Role::Leader },
            commit: 5_000,
            applied: 5_000,
            first_index: 1,
            last_index: 5_000,
            members: Members::of_voters([1, 2, 3].map(|at| (id(at), Incarnation(u128::from(at))))),
            progress: [(2, matched[0]), (3, matched[1])].map(progress).to_vec(),
            strangers_refused: 0,
        }
    }

    fn observed(slow: &[u64]) -> Observed {
        let at = Instant::now();
        let mut observed = Observed::new(at);
        for member in 1..=3 {
            let report = MemberReport { disk_is_slow: slow.contains(&member), ..MemberReport::default() };
            observed.member(id(member), Seen { report, at, wall: SystemTime::UNIX_EPOCH });
        }
        observed
    }

    #[test]
    fn who_has_the_longest_log_leads_instead_unless_its_disk_is_slow_too() {
        assert_eq!(heir(&status([4_990, 4_991]), &observed(&[1])), Some(id(3)));
        assert_eq!(heir(&status([4_990, 4_991]), &observed(&[1, 3])), Some(id(2)));
        assert_eq!(heir(&status([4_990, 4_991]), &observed(&[1, 2, 3])), None);
    }

    #[test]
    fn who_lags_is_silent_or_has_no_vote_does_not_lead() {
        assert_eq!(heir(&status([3_999, 4_000]), &observed(&[1])), Some(id(3)));
        assert_eq!(heir(&status([3_999, 3_999]), &observed(&[1])), None);
        let mut silent = status([5_000, 4_999]);
        silent.progress[0].active = false;
        assert_eq!(heir(&silent, &observed(&[1])), Some(id(3)));
        let mut learner = status([5_000, 4_999]);
        learner.members.voters.remove(&2);
        assert_eq!(heir(&learner, &observed(&[1])), Some(id(3)));
        assert_eq!(
            heir(&status([5_000, 5_000]), &Observed::new(Instant::now())),
            None,
            "nobody said anything"
        );
    }
}
