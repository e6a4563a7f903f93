//! What data nodes say: where they are, how they are, and what they are to be told.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cluster::command::{AnnounceNode, ReportSync};
use cluster::record::{Addresses, Marked};
use cluster::{AlarmCode, Command, Epoch, NodeName};
use proto::node::v1 as pb;
use proto::node::v1::node_agent_service_server::NodeAgentService;
use proto::{ErrorCode, Fault};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert::{parse, time};
use super::follower::Follower;
use super::stream::Answers;
use super::{Desk, deadline};
use crate::authorize::node_actor;
use crate::control::Control;
use crate::observed::{NodeReport, Seen};
use crate::propose::Wish;

/// How often a data node is to say that it lives: three times within the time after which it is suspected.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Versions about which one heartbeat may ask.
const STAGED_MAX: usize = 64;
/// Alarms that one heartbeat may raise.
const ALARMS_MAX: usize = 16;
/// Answers that wait for one node.
const ANSWERS_MAX: usize = 4;

pub(crate) struct Agents(pub(crate) Desk);

#[tonic::async_trait]
impl NodeAgentService for Agents {
    async fn announce(
        &self,
        request: Request<pb::AnnounceRequest>,
    ) -> Result<Response<pb::AnnounceResponse>, Status> {
        let name = self.0.control.gate.node(&request)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let addresses = Addresses {
            http: parse("listen", &request.listen)?,
            rpc: parse("rpc_address", &request.rpc_address)?,
        };
        let command = Command::AnnounceNode(AnnounceNode { name: name.clone(), addresses });
        self.0.control.proposer.propose(&Wish::of(node_actor(&name), command), until).await?;
        Ok(Response::new(pb::AnnounceResponse {
            members: members(&self.0.control),
            heartbeat_interval_duration: interval(),
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        let name = self.0.control.gate.node(&request)?;
        let until = deadline(&request);
        let control = &self.0.control;
        if !control.leads() {
            // The leader alone keeps what it hears; the list tells who that is.
            return Err(Fault::new(ErrorCode::NotLeader, "this member does not lead")
                .hint(leader_address(control).unwrap_or_default())
                .into());
        }
        let request = request.into_inner();
        let synced = Epoch::new(request.synced_epoch);
        let report = NodeReport {
            version: request.version,
            disk_bytes: request.disk_bytes,
            disk_free_bytes: request.disk_free_bytes,
            store_bytes: request.store_bytes,
            version_count: request.version_count,
            requests_per_second: request.requests_per_second,
            synced_epoch: synced,
            bytes_left: request.bytes_left,
            revision: request.revision,
            alarms: request
                .alarms
                .iter()
                .take(ALARMS_MAX)
                .filter_map(|code| AlarmCode::parse(code).ok())
                .collect(),
        };
        let seen = Seen { report, at: Instant::now(), wall: SystemTime::now() };
        control.observed.lock().node(name.clone(), seen);
        if is_news(control, &name, synced) {
            let command = Command::ReportSync(ReportSync { node: name.clone(), epoch: synced });
            control.proposer.propose(&Wish::of(node_actor(&name), command), until).await?;
        }
        let announced = control
            .shared
            .read(|state| state.tables().nodes.get(&name).is_some_and(|node| node.addresses.is_some()));
        Ok(Response::new(pb::HeartbeatResponse {
            revision: control.shared.applied(),
            members: members(control),
            heartbeat_interval_duration: interval(),
            announce: !announced,
            verdicts: verdicts(control, request.staged),
        }))
    }

    type WatchRecordsStream = Answers<pb::WatchRecordsResponse>;

    async fn watch_records(
        &self,
        request: Request<pb::WatchRecordsRequest>,
    ) -> Result<Response<Self::WatchRecordsStream>, Status> {
        let name = self.0.control.gate.node(&request)?;
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        // What a node has of the time before a recovery may be what nobody here ever agreed on.
        let ours = self.0.control.shared.recovery().unwrap_or_default().get();
        let goes_on = proto::recovery::told(request.metadata()).unwrap_or_default() == ours;
        let follower = Follower {
            control: Arc::clone(&self.0.control),
            name,
            revision: if goes_on { request.get_ref().after_revision } else { 0 },
            told_at: Instant::now(),
            answers,
        };
        tokio::spawn(follower.run());
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        let name = self.0.control.gate.node(&request)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let rpc = parse("rpc_address", &request.rpc_address)?;
        let issued = self.0.control.renew_node(&name, &rpc, &request.certificate_request, until).await?;
        Ok(Response::new(pb::RenewCertificateResponse {
            certificate_chain: issued.chain,
            authorities: issued.authorities,
        }))
    }
}

fn interval() -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(HEARTBEAT_INTERVAL).ok()
}

/// Whether the node has come further with the layout in force than is recorded.
fn is_news(control: &Control, name: &NodeName, synced: Epoch) -> bool {
    control.shared.read(|state| {
        let tables = state.tables();
        let current = tables.transition.as_ref().map(|transition| transition.current);
        let recorded = tables.syncs.get(name).map(|sync| sync.epoch);
        current == Some(synced) && synced != Epoch::default() && recorded != Some(synced)
    })
}

/// What became of the names of versions that wait. What is not said any more is asked again.
fn verdicts(control: &Control, staged: Vec<pb::StagedVersion>) -> Vec<pb::StagedVerdict> {
    control.shared.read(|state| {
        let tables = state.tables();
        let judge = |staged: pb::StagedVersion| {
            let version = Marked::parse(&format!("{}@{}", staged.module_path, staged.version)).ok()?;
            let (verdict, publish_time) = match tables.bindings.get(&version) {
                Some(bound) if bound.zip_h1.as_bytes().as_slice() == staged.zip_h1 => {
                    (pb::BindingVerdict::Bound, Some(time(bound.since)))
                }
                Some(_) => (pb::BindingVerdict::Other, None),
                None => (pb::BindingVerdict::Unbound, None),
            };
            Some(pb::StagedVerdict { staged: Some(staged), verdict: verdict.into(), publish_time })
        };
        staged.into_iter().take(STAGED_MAX).filter_map(judge).collect()
    })
}

/// The control nodes, for a data node that has to find another one.
fn members(control: &Control) -> Vec<pb::ControlAddress> {
    let leader = control.raft.leadership().borrow().leader;
    control.shared.read(|state| {
        let members = state.tables().members.values().filter(|member| member.state.is_in_group());
        members
            .filter_map(|member| {
                Some(pb::ControlAddress {
                    id: member.id.get(),
                    name: member.name.to_string(),
                    rpc_address: member.rpc.as_ref()?.to_string(),
                    leader: leader == Some(member.id),
                })
            })
            .collect()
    })
}

fn leader_address(control: &Control) -> Option<String> {
    let leader = control.raft.leadership().borrow().leader?;
    control.shared.read(|state| Some(state.tables().members.get(&leader)?.rpc.as_ref()?.to_string()))
}
