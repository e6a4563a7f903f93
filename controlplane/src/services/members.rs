//! Control nodes: staged, listed, promoted, removed.

use std::time::{Duration, SystemTime};

use cluster::command::{PromoteMember, RemoveMember, StageMember};
use cluster::record::{Member, MemberState};
use cluster::{Answer, Command, Hash, IdempotencyKey, NodeName, Role, Tables};
use identity::JoinKind;
use proto::control::v1 as pb;
use proto::control::v1::member_service_server::MemberService;
use proto::{ErrorCode, Fault};
use tonic::{Request, Response, Status};

use super::convert::{self, options, parse, subject, time, timestamp};
use super::page::page;
use super::{Desk, deadline, join_command};
use crate::raft::Status as RaftStatus;
use crate::reconcile::has_caught_up;

/// How long a join token is good unless the operator says.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_hours(24);

pub(crate) struct Members(pub(crate) Desk);

#[tonic::async_trait]
impl MemberService for Members {
    async fn add_member(
        &self,
        request: Request<pb::AddMemberRequest>,
    ) -> Result<Response<pb::AddMemberResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Admin)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let name: NodeName = parse("name", &request.name)?;
        let lifetime =
            convert::duration("join_token_lifetime_duration", request.join_token_lifetime_duration)?;
        let expires = timestamp(SystemTime::now()).after(lifetime.unwrap_or(TOKEN_LIFETIME));
        let control = &self.0.control;
        let options = options(request.options)?;
        let token = control.issuer.invite(JoinKind::Member, name.clone(), options.key.as_ref())?;
        let secret = Hash::from_bytes(*token.secret.hash().as_bytes());
        let command = Command::StageMember(StageMember { name: name.clone(), secret, expires });
        self.0.carry_out(operator, options, command, until).await?;
        // A key that was seen before: what was said then holds.
        let staged = control.shared.read(|state| {
            let MemberState::Staged(invitation) = find(state.tables(), name.as_str()).ok()?.state else {
                return None;
            };
            Some(invitation.expires)
        });
        let expires = staged.unwrap_or(expires);
        let text = token.text();
        let command = join_command::member(&name, &control.peers.addresses(), &text);
        Ok(Response::new(pb::AddMemberResponse {
            name: name.to_string(),
            join_token: text,
            expire_time: Some(time(expires)),
            command,
        }))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let sights = self.0.control.sights().await;
        let page = self.0.control.shared.read(|state| {
            let members = state.tables().members.values();
            let mut members: Vec<_> = members
                .filter(|member| !matches!(member.state, MemberState::Removed))
                .map(|member| (member.name.clone(), convert::member(member, &sights)))
                .collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            page(members, request.page_size, &request.page_token)
        })?;
        Ok(Response::new(pb::ListMembersResponse { members: page.entries, next_page_token: page.next }))
    }

    async fn promote_member(
        &self,
        request: Request<pb::PromoteMemberRequest>,
    ) -> Result<Response<pb::PromoteMemberResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Admin)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let control = &self.0.control;
        control.read_latest(until).await?;
        let member = control.shared.read(|state| find(state.tables(), &request.name))?;
        // Voters are made by the leader as soon as they have caught up; asking for it only says whether that is so.
        if matches!(member.state, MemberState::Learner) && !self.is_caught_up(&member).await {
            let text = format!(
                "member {} has not caught up yet: it becomes a voter by itself when it has",
                member.name
            );
            return Err(Fault::new(ErrorCode::LearnerLags, text)
                .about(subject("member", &member.name))
                .into());
        }
        let command = Command::PromoteMember(PromoteMember { id: member.id });
        self.0.carry_out(operator, options(request.options)?, command, until).await?;
        let sights = control.sights().await;
        let member = control.shared.read(|state| find(state.tables(), &request.name))?;
        let member = convert::member(&member, &sights);
        Ok(Response::new(pb::PromoteMemberResponse { member: Some(member) }))
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Result<Response<pb::RemoveMemberResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Admin)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let options = options(request.options)?;
        let control = &self.0.control;
        control.read_latest(until).await?;
        let member =
            control.shared.read(|state| find_again(state.tables(), options.key.as_ref(), &request.name))?;
        if control.raft.leadership().borrow().leader == Some(member.id) {
            return Err(Fault::new(ErrorCode::WrongState, format!("member {} leads", member.name))
                .about(subject("member", &member.name))
                .hint("hand leadership over first, with `goproxyctl cluster transfer-leader`")
                .into());
        }
        if !request.force {
            let sights = control.sights().await;
            control.shared.read(|state| would_keep_quorum(state.tables(), &member, &sights))?;
        }
        let command = Command::RemoveMember(RemoveMember { id: member.id });
        self.0.carry_out(operator, options, command, until).await?;
        Ok(Response::new(pb::RemoveMemberResponse { name: member.name.to_string(), id: member.id.get() }))
    }
}

impl Members {
    async fn is_caught_up(&self, member: &Member) -> bool {
        let status: Option<RaftStatus> = self.0.control.raft.status().await;
        status.is_some_and(|status| status.members.is_voter(member.id) || has_caught_up(&status, member.id))
    }
}

fn find(tables: &Tables, name: &str) -> Result<Member, Fault> {
    let name: NodeName = parse("name", name)?;
    let there = |member: &&Member| member.name == name && !matches!(member.state, MemberState::Removed);
    tables.members.values().find(there).cloned().ok_or_else(|| {
        Fault::new(ErrorCode::NotFound, format!("there is no member {name}"))
            .about(subject("member", &name))
            .hint("`goproxyctl member list` shows those that there are")
    })
}

/// The member that a request is about. Asked again under its key, that is the one that it was about then: it may be removed by now, and its
/// name another's.
fn find_again(tables: &Tables, key: Option<&IdempotencyKey>, name: &str) -> Result<Member, Fault> {
    let of_key = || {
        let before = tables.remembered.get(key?)?;
        let Answer::Member { id } = before.answer else { return None };
        tables.members.get(&id).filter(|member| member.name.as_str() == name)
    };
    of_key().map_or_else(|| find(tables, name), |member| Ok(member.clone()))
}

/// Refuses to take out a voter if those that remain and answer would be no majority.
fn would_keep_quorum(tables: &Tables, gone: &Member, sights: &crate::sights::Sights) -> Result<(), Fault> {
    if !matches!(gone.state, MemberState::Voter) {
        return Ok(());
    }
    let rest: Vec<_> = tables
        .members
        .values()
        .filter(|member| matches!(member.state, MemberState::Voter) && member.id != gone.id)
        .collect();
    let answering = rest
        .iter()
        .filter(|member| sights.member(member.id).is_some_and(|sight| sight.silence < Duration::from_secs(3)))
        .count();
    if !rest.is_empty() && answering * 2 > rest.len() {
        return Ok(());
    }
    let text =
        format!("{answering} of the {} voters that would remain answer: that is no majority", rest.len());
    Err(Fault::new(ErrorCode::WouldLoseQuorum, text)
        .about(subject("member", &gone.name))
        .hint("start those that are down first, or add another member"))
}

#[cfg(test)]
mod tests {
    use cluster::record::Remembered;
    use cluster::{Revision, Timestamp};

    use super::*;
    use crate::reconcile::bed;

    #[test]
    fn a_member_that_was_removed_under_a_key_is_found_by_it_again() {
        let mut tables = bed::tables();
        let gone = bed::member(&mut tables, 1, MemberState::Removed);
        let found = |tables: &Tables, key: Option<&IdempotencyKey>, name: &str| {
            find_again(tables, key, name).map(|member| member.id).map_err(|fault| fault.code)
        };
        let key = IdempotencyKey::parse("key-1").unwrap();
        assert_eq!(found(&tables, Some(&key), "control-1"), Err(ErrorCode::NotFound));
        let answered = Remembered {
            key: key.clone(),
            request: Hash::of(b"remove"),
            revision: Revision::new(1),
            at: Timestamp::default(),
            answer: Answer::Member { id: gone },
        };
        tables.remembered.insert(key.clone(), answered);
        assert_eq!(found(&tables, Some(&key), "control-1"), Ok(gone));
        // Another has its name by now.
        let new = bed::member(&mut tables, 2, MemberState::Voter);
        tables.members.get_mut(&new).unwrap().name = NodeName::parse("control-1").unwrap();
        assert_eq!(found(&tables, Some(&key), "control-1"), Ok(gone));
        assert_eq!(found(&tables, None, "control-1"), Ok(new));
        assert_eq!(found(&tables, Some(&key), "control-3"), Err(ErrorCode::NotFound));
    }
}
