//! From the members that are recorded to those of the Raft group, one step at a time: learners come in, those that have caught up
//! vote, those that are removed go. A pure plan.

use cluster::command::PromoteMember;
use cluster::record::MemberState;
use cluster::{Command, MemberId, Tables};

use crate::raft::{Incarnation, MemberChange, Members, Status};

/// A learner this many entries behind what is committed has caught up.
const LAG_MAX: u64 = 500;

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Change the Raft group.
    Group(MemberChange),
    /// Record that a member votes.
    Record(Command),
}

/// The next step, as the leader sees it.
pub(super) fn plan(tables: &Tables, status: &Status) -> Option<Step> {
    let group = &status.members;
    if group.is_joint() {
        return None;
    }
    let removed = tables
        .members
        .values()
        .filter(|member| matches!(member.state, MemberState::Removed) && is_in(group, member.id))
        .map(|member| Step::Group(MemberChange::Remove { member: member.id }));
    let joined = tables
        .members
        .values()
        .filter(|member| member.state.is_in_group() && !is_in(group, member.id))
        .filter_map(|member| {
            let log = Incarnation(u128::from_be_bytes(*member.log?.as_bytes()));
            Some(Step::Group(MemberChange::Add { member: member.id, log }))
        });
    let caught_up = tables
        .members
        .values()
        .filter(|member| member.state.is_in_group() && group.learners.contains(&member.id.get()))
        .filter(|member| has_caught_up(status, member.id))
        .map(|member| Step::Group(MemberChange::Promote { member: member.id }));
    let voting = tables
        .members
        .values()
        .filter(|member| {
            matches!(member.state, MemberState::Learner) && group.voters.contains(&member.id.get())
        })
        .map(|member| Step::Record(Command::PromoteMember(PromoteMember { id: member.id })));
    voting.chain(removed).chain(joined).chain(caught_up).next()
}

/// Whether a member's log is the leader's, all but the last entries.
pub(crate) fn has_caught_up(status: &Status, id: MemberId) -> bool {
    status.progress.iter().any(|progress| {
        progress.member == id
            && progress.active
            && !progress.snapshot
            && progress.matched.saturating_add(LAG_MAX) >= status.commit
    })
}

fn is_in(group: &Members, id: MemberId) -> bool {
    group.voters.contains(&id.get()) || group.learners.contains(&id.get())
}

#[cfg(test)]
mod tests {
    use super::super::bed::{member, tables};
    use super::*;
    use crate::raft::{Leadership, Progress, Role};

    fn status(voters: &[u64], learners: &[u64], matched: &[(u64, u64)]) -> Status {
        let members = Members {
            voters: voters.iter().copied().collect(),
            learners: learners.iter().copied().collect(),
            ..Members::default()
        };
        let progress = matched.iter().map(|(id, matched)| Progress {
            member: MemberId::new(*id).unwrap(),
            matched: *matched,
            active: true,
            snapshot: false,
        });
        Status {
            member: MemberId::ONE,
            leadership: Leadership { term: 1, leader: Some(MemberId::ONE), role: Role::Leader },
            commit: 10_000,
            applied: 10_000,
            first_index: 1,
            last_index: 10_000,
            members,
            progress: progress.collect(),
            strangers_refused: 0,
        }
    }

    fn group(step: Option<Step>) -> Option<MemberChange> {
        match step {
            Some(Step::Group(change)) => Some(change),
            Some(Step::Record(command)) => panic!("{command:?}"),
            None => None,
        }
    }

    #[test]
    fn a_member_comes_in_catches_up_and_votes() {
        let mut tables = tables();
        member(&mut tables, 1, MemberState::Voter);
        let second = member(&mut tables, 2, MemberState::Learner);
        let added = group(plan(&tables, &status(&[1], &[], &[])));
        assert_eq!(added, Some(MemberChange::Add { member: second, log: Incarnation(2) }));
        // Far behind, it stays a learner.
        assert_eq!(group(plan(&tables, &status(&[1], &[2], &[(2, 100)]))), None);
        let promoted = group(plan(&tables, &status(&[1], &[2], &[(2, 9_990)])));
        assert_eq!(promoted, Some(MemberChange::Promote { member: second }));
        let recorded = plan(&tables, &status(&[1, 2], &[], &[(2, 10_000)]));
        assert_eq!(recorded, Some(Step::Record(Command::PromoteMember(PromoteMember { id: second }))));
    }

    #[test]
    fn one_that_was_removed_goes_and_one_that_is_staged_waits() {
        let mut tables = tables();
        member(&mut tables, 1, MemberState::Voter);
        let gone = member(&mut tables, 2, MemberState::Removed);
        assert_eq!(
            group(plan(&tables, &status(&[1, 2], &[], &[(2, 10_000)]))),
            Some(MemberChange::Remove { member: gone })
        );
        assert_eq!(group(plan(&tables, &status(&[1], &[], &[]))), None);
    }

    #[test]
    fn nothing_is_begun_within_a_joint_change() {
        let mut tables = tables();
        member(&mut tables, 1, MemberState::Voter);
        member(&mut tables, 2, MemberState::Learner);
        let mut joint = status(&[1], &[], &[]);
        joint.members.voters_outgoing.insert(3);
        assert_eq!(plan(&tables, &joint), None);
    }
}
