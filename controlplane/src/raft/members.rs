//! Changes of members: proposed by the leader, applied by everybody.
//!
//! A change of one member is made at once; several at once go through a joint configuration, in which the majorities of
//! both groups decide, and which ends by itself. When learners are promoted is the caller's to decide.

use raft::StateRole;

use super::convert::{from_changes, write_logs};
use super::disk::Disk;
use super::effect::MemberChange;
use super::envelope::{Purpose, seal};
use super::error::{ChangeError, ProposeError};
use super::machine::{Machine, RequestId};
use super::peer::Peer;

impl<D: Disk, M: Machine> Peer<D, M> {
    /// Proposes a change of members. `Ok` means that an [`super::Effect::Changed`] with this id will come.
    pub fn propose_members(
        &mut self,
        request: RequestId,
        changes: &[MemberChange],
    ) -> Result<(), ChangeError> {
        self.may_propose(request).map_err(ChangeError::Propose)?;
        self.check_members(changes)?;
        if self.raw.raft.has_pending_conf() || self.applied.members.is_joint() || self.joint_change.is_some()
        {
            return Err(ChangeError::Pending);
        }
        let added = changes.iter().filter_map(|change| match change {
            MemberChange::Add { member, log } => Some((member.get(), *log)),
            MemberChange::Promote { .. } | MemberChange::Demote { .. } | MemberChange::Remove { .. } => None,
        });
        let change = from_changes(changes, seal(Purpose::Members, request, &write_logs(added)));
        let before = self.raw.raft.raft_log.last_index();
        let busy = |_| ChangeError::Propose(ProposeError::Busy);
        self.raw.propose_conf_change(Vec::new(), change).map_err(busy)?;
        self.note_proposal(request, before, true).map_err(ChangeError::Propose)
    }

    /// Refuses what would leave the group without a leader or a vote, or changes nothing.
    fn check_members(&self, changes: &[MemberChange]) -> Result<(), ChangeError> {
        let refused = |reason: String| Err(ChangeError::Refused { reason });
        let mut voters = self.applied.members.voters.clone();
        let mut learners = self.applied.members.learners.clone();
        for change in changes {
            let (fits, member) = match change {
                MemberChange::Add { member, .. } => {
                    (!voters.contains(&member.get()) && learners.insert(member.get()), member)
                }
                MemberChange::Promote { member } => {
                    (learners.remove(&member.get()) && voters.insert(member.get()), member)
                }
                MemberChange::Demote { member } => {
                    (voters.remove(&member.get()) && learners.insert(member.get()), member)
                }
                MemberChange::Remove { member } => {
                    (voters.remove(&member.get()) | learners.remove(&member.get()), member)
                }
            };
            if !fits {
                return refused(format!("member {member} is no such member"));
            }
        }
        if changes.is_empty() || voters.is_empty() {
            return refused("it changes nothing, or nobody would have a vote".to_owned());
        }
        if !voters.contains(&self.identity.member.get()) {
            return Err(ChangeError::IsLeader);
        }
        Ok(())
    }

    /// Raft ends a joint configuration when its leader applies it. Should that leader be gone by then, the next one does
    /// it here.
    pub(super) fn end_joint_left_hanging(&mut self) {
        if self.raw.raft.state != StateRole::Leader || !self.applied.members.is_joint() {
            self.joint_ticks = 0;
            return;
        }
        self.joint_ticks += 1;
        if self.joint_ticks >= self.config.timing.election_ticks && !self.raw.raft.has_pending_conf() {
            self.joint_ticks = 0;
            // Dropped when leadership is being handed over; tried again then.
            let _ = self.raw.propose_conf_change(Vec::new(), raft::eraftpb::ConfChangeV2::default());
        }
    }
}
