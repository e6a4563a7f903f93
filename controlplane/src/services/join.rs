//! Joining: a token for a certificate. The only calls that need no credentials beside health.

use cluster::{Hash, LogId, MemberId, NodeName};
use fail::fail_point;
use proto::join::v1 as pb;
use proto::join::v1::join_service_server::JoinService;
use proto::{ErrorCode, Fault};
use tonic::{Request, Response, Status};

use super::convert::parse;
use super::{Desk, deadline};
use crate::control::Control;
use crate::issue::Joiner;

pub(crate) struct Joins(pub(crate) Desk);

#[tonic::async_trait]
impl JoinService for Joins {
    async fn join_node(
        &self,
        request: Request<pb::JoinNodeRequest>,
    ) -> Result<Response<pb::JoinNodeResponse>, Status> {
        let until = deadline(&request);
        let request = request.into_inner();
        let name: NodeName = parse("name", &request.name)?;
        let rpc = parse("rpc_address", &request.rpc_address)?;
        let joiner = Joiner::Node { name, secret: hash(&request.secret)?, rpc };
        let issued = self.0.control.admit(joiner, &request.certificate_request, until).await?;
        fail_point!("join::before_answer", |_| Err(Status::from(Fault::new(
            ErrorCode::Unavailable,
            "as a test wants it"
        ))));
        Ok(Response::new(pb::JoinNodeResponse {
            credentials: Some(credentials(&self.0.control, issued.chain, issued.authorities)),
            members: members(&self.0.control),
        }))
    }

    async fn join_member(
        &self,
        request: Request<pb::JoinMemberRequest>,
    ) -> Result<Response<pb::JoinMemberResponse>, Status> {
        let until = deadline(&request);
        let request = request.into_inner();
        let name: NodeName = parse("name", &request.name)?;
        let rpc = parse("rpc_address", &request.rpc_address)?;
        let id = self.staged(&name)?;
        let log: [u8; 16] = request
            .log_id
            .as_ref()
            .try_into()
            .map_err(|_| Fault::new(ErrorCode::InvalidArgument, "log_id has not 16 bytes"))?;
        let log = LogId::from_bytes(log);
        let joiner = Joiner::Member { id, secret: hash(&request.secret)?, rpc, log };
        let issued = self.0.control.admit(joiner, &request.certificate_request, until).await?;
        Ok(Response::new(pb::JoinMemberResponse {
            credentials: Some(credentials(&self.0.control, issued.chain, issued.authorities)),
            members: members(&self.0.control),
            member_id: id.get(),
            sealing_key: self.0.control.issuer.sealing_key(),
        }))
    }
}

impl Joins {
    /// The number of a member that was staged under this name.
    fn staged(&self, name: &NodeName) -> Result<MemberId, Fault> {
        let id = self.0.control.shared.read(|state| {
            let mut members = state.tables().members.values();
            let staged = members.find(|member| {
                member.name == *name && !matches!(member.state, cluster::record::MemberState::Removed)
            });
            staged.map(|member| member.id)
        });
        // The same words as for a secret that is wrong: who asks is nobody yet.
        id.ok_or_else(|| {
            Fault::new(ErrorCode::JoinRefused, "the join token is not known, was used, or has expired")
                .hint("get another one with `goproxyctl member add`")
        })
    }
}

fn hash(secret: &[u8]) -> Result<Hash, Fault> {
    if secret.len() != 32 {
        return Err(Fault::new(ErrorCode::InvalidArgument, "secret has not 32 bytes"));
    }
    Ok(Hash::of(secret))
}

fn credentials(
    control: &Control,
    certificate_chain: Vec<bytes::Bytes>,
    authorities: Vec<bytes::Bytes>,
) -> pb::Credentials {
    pb::Credentials { cluster_id: control.cluster.to_string(), certificate_chain, authorities }
}

/// Where control nodes are reached.
fn members(control: &Control) -> Vec<pb::MemberAddress> {
    control.shared.read(|state| {
        let members = state.tables().members.values().filter(|member| member.state.is_in_group());
        members
            .filter_map(|member| {
                Some(pb::MemberAddress {
                    id: member.id.get(),
                    name: member.name.to_string(),
                    rpc_address: member.rpc.as_ref()?.to_string(),
                })
            })
            .collect()
    })
}
