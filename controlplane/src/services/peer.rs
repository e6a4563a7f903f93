//! What control nodes ask of each other beside Raft's own messages.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use cluster::{MemberId, Proposal};
use proto::raft::v1 as pb;
use proto::raft::v1::peer_service_server::PeerService;
use proto::{ErrorCode, Fault};
use tonic::{Request, Response, Status};

use super::convert::wall_time;
use super::{Desk, deadline};
use crate::control::Control;
use crate::raft::TransferError;

pub(crate) struct Peer(pub(crate) Desk);

#[tonic::async_trait]
impl PeerService for Peer {
    async fn propose(
        &self,
        request: Request<pb::ProposeRequest>,
    ) -> Result<Response<pb::ProposeResponse>, Status> {
        self.0.control.gate.member(&request)?;
        let until = deadline(&request);
        let proposal = Proposal::decode(&request.get_ref().proposal).map_err(|error| {
            Fault::new(ErrorCode::InvalidArgument, format!("the proposal cannot be read: {error}"))
        })?;
        let done = self.0.control.proposer.local(&proposal, until).await.map_err(|failure| failure.fault)?;
        let answer = serde_json::to_vec(&done.answer)
            .map_err(|error| Fault::new(ErrorCode::Internal, format!("write the answer: {error}")))?;
        Ok(Response::new(pb::ProposeResponse { index: done.index, answer: answer.into() }))
    }

    async fn get_observations(
        &self,
        request: Request<pb::GetObservationsRequest>,
    ) -> Result<Response<pb::GetObservationsResponse>, Status> {
        self.0.control.gate.member(&request)?;
        if !self.0.control.leads() {
            return Err(Fault::new(ErrorCode::NotLeader, "this member does not lead").into());
        }
        Ok(Response::new(self.0.control.sights().await.tell()))
    }

    async fn get_member_status(
        &self,
        request: Request<pb::GetMemberStatusRequest>,
    ) -> Result<Response<pb::GetMemberStatusResponse>, Status> {
        self.0.control.gate.member(&request)?;
        Ok(Response::new(pb::GetMemberStatusResponse {
            id: self.0.control.me.get(),
            applied_index: self.0.control.shared.applied(),
            version: self.0.control.version.clone(),
            read_time: Some(wall_time(SystemTime::now())),
            disk_slow: self.0.control.disk.is_slow(),
        }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<pb::TransferLeadershipRequest>,
    ) -> Result<Response<pb::TransferLeadershipResponse>, Status> {
        self.0.control.gate.member(&request)?;
        let until = deadline(&request);
        Ok(Response::new(transfer(&self.0.control, request.into_inner(), until).await?))
    }
}

/// Hands leadership of this member over.
pub(crate) async fn transfer(
    control: &Arc<Control>,
    request: pb::TransferLeadershipRequest,
    until: Instant,
) -> Result<pb::TransferLeadershipResponse, Fault> {
    let to = match MemberId::new(request.member_id) {
        Some(to) => to,
        None => furthest(control).await?,
    };
    control.raft.transfer_leader(to, until).await.map_err(|error| {
        let code = match error {
            TransferError::NotLeader { .. } => ErrorCode::NotLeader,
            TransferError::NotVoter { .. } => ErrorCode::LearnerLags,
            TransferError::Deadline => ErrorCode::Deadline,
            TransferError::Stopped => ErrorCode::Unavailable,
        };
        Fault::new(code, error.to_string())
    })?;
    let term = control.raft.leadership().borrow().term;
    Ok(pb::TransferLeadershipResponse { member_id: to.get(), term })
}

/// The voter other than this one whose log is furthest.
async fn furthest(control: &Arc<Control>) -> Result<MemberId, Fault> {
    let stopped = || Fault::new(ErrorCode::Unavailable, "this member has stopped");
    let status = control.raft.status().await.ok_or_else(stopped)?;
    let others = status.progress.iter().filter(|progress| {
        progress.member != control.me && progress.active && status.members.is_voter(progress.member)
    });
    others.max_by_key(|progress| progress.matched).map(|progress| progress.member).ok_or_else(|| {
        Fault::new(ErrorCode::WrongState, "there is no other voter that answers")
            .hint("add control nodes with `goproxyctl member add`")
    })
}
