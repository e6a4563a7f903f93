//! The cluster's authorities, and the certificates that they signed.

use cluster::{Answer, JobKind, Role};
use proto::control::v1 as pb;
use proto::control::v1::certificate_service_server::CertificateService;
use tonic::{Request, Response, Status};

use super::convert::{self, options};
use super::{Came, Desk, deadline};
use crate::propose::Done;

pub(crate) struct Certificates(pub(crate) Desk);

#[tonic::async_trait]
impl CertificateService for Certificates {
    async fn get_certificate_status(
        &self,
        request: Request<pb::GetCertificateStatusRequest>,
    ) -> Result<Response<pb::GetCertificateStatusResponse>, Status> {
        self.0.viewer(&request).await?;
        let certificates = self.0.control.shared.read(|state| {
            let tables = state.tables();
            let members = tables.members.values().filter_map(|member| {
                let held = member.certificate.as_ref()?;
                Some(convert::certificate(tables, convert::subject("member", &member.name), held))
            });
            let nodes = tables.nodes.values().filter_map(|node| {
                let held = node.certificate.as_ref()?;
                Some(convert::certificate(tables, convert::subject("node", &node.name), held))
            });
            members.chain(nodes).collect()
        });
        Ok(Response::new(pb::GetCertificateStatusResponse { authorities: self.authorities(), certificates }))
    }

    async fn rotate_authority(
        &self,
        request: Request<pb::RotateAuthorityRequest>,
    ) -> Result<Response<pb::RotateAuthorityResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Admin)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let command = self.0.control.issuer.next_authority()?;
        // The leader does the rest: it lets the new one sign once all trust it, and ends the old one once nobody needs it.
        let came = self.0.carry_out(operator, options(request.options)?, command, until).await?;
        let job_id = match came {
            Came::Made(Done { answer: Answer::Authority { generation }, .. }) => {
                self.0.job_about(JobKind::AUTHORITY, &generation.to_string())
            }
            Came::Made(_) | Came::WouldBe(_) => String::new(),
        };
        Ok(Response::new(pb::RotateAuthorityResponse { authorities: self.authorities(), job_id }))
    }
}

impl Certificates {
    fn authorities(&self) -> Vec<pb::Authority> {
        self.0
            .control
            .shared
            .read(|state| state.tables().authorities.values().map(convert::authority).collect())
    }
}
