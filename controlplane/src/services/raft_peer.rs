//! Raft's messages and snapshots as they come in. Whoever sends must be the member that its certificate names.

use cluster::MemberId;
use proto::raft::v1 as pb;
use proto::raft::v1::install_snapshot_request::Part;
use proto::raft::v1::raft_service_server::RaftService;
use proto::{ErrorCode, Fault};
use tonic::{Request, Response, Status, Streaming};

use super::Desk;
use crate::raft::{MessageError, SnapshotError};

pub(crate) struct RaftPeer(pub(crate) Desk);

#[tonic::async_trait]
impl RaftService for RaftPeer {
    async fn exchange(
        &self,
        request: Request<Streaming<pb::ExchangeRequest>>,
    ) -> Result<Response<pb::ExchangeResponse>, Status> {
        let member = self.0.control.gate.member(&request)?;
        let mut stream = request.into_inner();
        let mut message_count = 0;
        while let Some(batch) = stream.message().await? {
            self.check(member, batch.envelope.as_ref())?;
            // Who was removed meanwhile is to hear of it.
            self.0.control.gate.still_member(member)?;
            for message in batch.messages {
                message_count += 1;
                match self.0.control.raft.deliver(message) {
                    Ok(()) => {}
                    Err(MessageError::Stopped) => return Err(stopped()),
                    Err(error) => {
                        return Err(Fault::new(ErrorCode::InvalidArgument, error.to_string()).into());
                    }
                }
            }
        }
        Ok(Response::new(pb::ExchangeResponse { message_count }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::InstallSnapshotRequest>>,
    ) -> Result<Response<pb::InstallSnapshotResponse>, Status> {
        let member = self.0.control.gate.member(&request)?;
        let mut stream = request.into_inner();
        let out_of_order = || Fault::new(ErrorCode::InvalidArgument, "parts of a snapshot out of order");
        let Some(pb::InstallSnapshotRequest { part: Some(Part::Header(header)) }) = stream.message().await?
        else {
            return Err(out_of_order().into());
        };
        self.check(member, header.envelope.as_ref())?;
        let mut receiver =
            self.0.control.raft.receive_snapshot(header.message).await.map_err(|error| refused(&error))?;
        let mut size_bytes = 0;
        loop {
            let part = stream.message().await?.and_then(|request| request.part);
            match part {
                Some(Part::Frame(frame)) => {
                    size_bytes += frame.len() as u64;
                    receiver.frame(frame).await.map_err(|error| refused(&error))?;
                }
                Some(Part::End(_)) => break,
                Some(Part::Header(_)) | None => return Err(out_of_order().into()),
            }
        }
        receiver.finish().await.map_err(|error| refused(&error))?;
        Ok(Response::new(pb::InstallSnapshotResponse { size_bytes }))
    }

    async fn renew_member_certificate(
        &self,
        request: Request<pb::RenewMemberCertificateRequest>,
    ) -> Result<Response<pb::RenewMemberCertificateResponse>, Status> {
        let member = self.0.control.gate.member(&request)?;
        let until = super::deadline(&request);
        let request = request.into_inner();
        self.check(member, request.envelope.as_ref())?;
        let issued = self.0.control.renew_member(member, &request.certificate_request, until).await?;
        Ok(Response::new(pb::RenewMemberCertificateResponse {
            certificate_chain: issued.chain,
            authorities: issued.authorities,
        }))
    }
}

impl RaftPeer {
    /// Refuses what is for another cluster or another member, or from another than its certificate says.
    fn check(&self, member: MemberId, envelope: Option<&pb::Envelope>) -> Result<(), Fault> {
        let control = &self.0.control;
        let envelope = envelope.ok_or_else(|| Fault::new(ErrorCode::InvalidArgument, "no envelope"))?;
        if envelope.cluster_id != control.cluster.as_bytes().as_slice() {
            return Err(Fault::new(ErrorCode::WrongCluster, "this is a member of another cluster"));
        }
        if envelope.from_member_id != member.get() {
            return Err(Fault::new(ErrorCode::PermissionDenied, "the certificate is another member's"));
        }
        if envelope.to_member_id != control.me.get() {
            let text = format!("this is member {}, not {}", control.me, envelope.to_member_id);
            return Err(Fault::new(ErrorCode::WrongCluster, text));
        }
        Ok(())
    }
}

fn refused(error: &SnapshotError) -> Status {
    let text = common::error_chain::ErrorChain::new(error).to_string();
    let code = match error {
        SnapshotError::Message(_) => ErrorCode::InvalidArgument,
        SnapshotError::Superseded => ErrorCode::Conflict,
        SnapshotError::Frame { .. } | SnapshotError::Content { .. } => ErrorCode::DataLoss,
        SnapshotError::Stopped => return stopped(),
    };
    Fault::new(code, text).into()
}

fn stopped() -> Status {
    Fault::new(ErrorCode::Unavailable, "this member has stopped").into()
}
