//! The cluster as a whole: status, health, who leads, who did what.

use std::time::{Duration, SystemTime};

use cluster::record::MemberState;
use cluster::{Role, Tables};
use proto::control::v1 as pb;
use proto::control::v1::cluster_service_server::ClusterService;
use proto::raft::v1::TransferLeadershipRequest;
use proto::{ErrorCode, Fault};
use tonic::{Request, Response, Status};

use super::convert::{self, options, parse, timestamp, wall_time};
use super::page::page;
use super::stream::{Answers, Look, interval, watch};
use super::{Desk, deadline};
use crate::control::Control;
use crate::sights::Sights;

/// How long a look at the status waits to be sure; after that it shows what this member knows.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Clusters(pub(crate) Desk);

#[tonic::async_trait]
impl ClusterService for Clusters {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        self.0.control.gate.operator(&request, Role::Viewer)?;
        let status = status(&self.0.control).await;
        Ok(Response::new(pb::GetStatusResponse { status: Some(status) }))
    }

    type WatchStatusStream = Answers<pb::WatchStatusResponse>;

    async fn watch_status(
        &self,
        request: Request<pb::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        self.0.control.gate.operator(&request, Role::Viewer)?;
        let every = interval(convert::duration("interval_duration", request.get_ref().interval_duration)?);
        let stream = watch(self.0.control.clone(), every, |control| async move {
            let status = status(&control).await;
            Ok(Look::Now(pb::WatchStatusResponse { status: Some(status) }))
        });
        Ok(Response::new(stream))
    }

    async fn get_health(
        &self,
        request: Request<pb::GetHealthRequest>,
    ) -> Result<Response<pb::GetHealthResponse>, Status> {
        let known = self.0.control.gate.operator(&request, Role::Viewer).is_ok();
        let deadline = deadline(&request).min(std::time::Instant::now() + STATUS_TIMEOUT);
        let quorum = self.0.control.read_latest(deadline).await.is_ok();
        let status = status(&self.0.control).await;
        let mut problems: Vec<_> = status.alarms.iter().map(|alarm| alarm.message.clone()).collect();
        if !quorum {
            problems.insert(0, "too few control nodes reach one another: nothing can be changed".to_owned());
        }
        let health = match (quorum, problems.is_empty()) {
            (false, _) => pb::Health::Down,
            (true, false) => pb::Health::Suspect,
            (true, true) => pb::Health::Ok,
        };
        let problems = if known { problems } else { Vec::new() };
        Ok(Response::new(pb::GetHealthResponse { health: health.into(), quorum, problems }))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let options = options(request.options)?;
        let control = &self.0.control;
        control.read_latest(until).await?;
        let target = control.shared.read(|state| target(state.tables(), &request.name))?;
        let leader = control.raft.leadership().borrow().leader;
        let no_leader = || Fault::new(ErrorCode::NoQuorum, "no member leads just now");
        let leader = leader.ok_or_else(no_leader)?;
        if target == Some(leader) {
            let text = format!("member {} leads already", request.name);
            return Err(Fault::new(ErrorCode::AlreadyExists, text).into());
        }
        let handed = TransferLeadershipRequest { member_id: target.map_or(0, cluster::MemberId::get) };
        let told = if options.dry_run {
            None
        } else if leader == control.me {
            Some(super::transfer(control, handed, until).await?)
        } else {
            let mut client = control.peers.peer(leader).ok_or_else(no_leader)?;
            let mut request = Request::new(handed);
            request.set_timeout(until.saturating_duration_since(std::time::Instant::now()));
            Some(client.transfer_leadership(request).await?.into_inner())
        };
        let (id, term) = match told {
            Some(told) => (cluster::MemberId::new(told.member_id).unwrap_or(leader), told.term),
            None => (target.unwrap_or(leader), control.raft.leadership().borrow().term),
        };
        Ok(Response::new(pb::TransferLeaderResponse { leader: control.member_name(id), term }))
    }

    async fn list_audit_records(
        &self,
        request: Request<pb::ListAuditRecordsRequest>,
    ) -> Result<Response<pb::ListAuditRecordsResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let since =
            request.since_time.map_or(0, |time| time.seconds.saturating_mul(1000).try_into().unwrap_or(0));
        let page = self.0.control.shared.read(|state| {
            let entries = state.tables().audit.values().rev().filter(|entry| entry.at.millis() >= since);
            let entries = entries.map(|entry| (entry.revision, convert::audit_record(entry)));
            let entries = entries.filter(|(_, record)| {
                (request.subject.is_empty() || record.subject == request.subject)
                    && (request.caller.is_empty() || record.caller == request.caller)
            });
            page(entries, request.page_size, &request.page_token)
        })?;
        Ok(Response::new(pb::ListAuditRecordsResponse { records: page.entries, next_page_token: page.next }))
    }
}

/// The voter that is named; none for whichever is furthest.
fn target(tables: &Tables, name: &str) -> Result<Option<cluster::MemberId>, Fault> {
    if name.is_empty() {
        return Ok(None);
    }
    let name: cluster::NodeName = parse("name", name)?;
    let subject = convert::subject("member", &name);
    let found = tables.members.values().find(|member| member.name == name && member.state.is_in_group());
    let member = found.ok_or_else(|| {
        Fault::new(ErrorCode::NotFound, format!("there is no member {name}")).about(subject.clone())
    })?;
    if !matches!(member.state, MemberState::Voter) {
        let text = format!("member {name} has no vote yet");
        return Err(Fault::new(ErrorCode::LearnerLags, text).about(subject));
    }
    Ok(Some(member.id))
}

/// The status as this member knows it, as new as can be had in a short time.
pub(crate) async fn status(control: &Control) -> pb::ClusterStatus {
    let latest = control.read_latest(std::time::Instant::now() + STATUS_TIMEOUT).await;
    let sights = control.sights().await;
    let leadership = *control.raft.leadership().borrow();
    let quorum = latest.is_ok();
    let leader = leadership.leader.filter(|_| quorum).map(|id| control.member_name(id));
    let mut status = control.shared.read(|state| of(state.tables(), &sights));
    status.cluster_id = control.cluster.to_string();
    status.leader = leader.unwrap_or_default();
    status.revision = control.shared.applied();
    status.term = leadership.term;
    status.read_time = Some(wall_time(SystemTime::now()));
    if let Err(fault) = latest {
        let message = format!("{fault}: what is shown is what member {} knows", control.name);
        let alarm = pb::Alarm {
            code: "no-quorum".to_owned(),
            message,
            subject: "cluster".to_owned(),
            raise_time: None,
        };
        status.alarms.insert(0, alarm);
    }
    status
}

fn of(tables: &Tables, sights: &Sights) -> pb::ClusterStatus {
    let shown = |state: &MemberState| !matches!(state, MemberState::Removed);
    let mut members: Vec<_> = tables
        .members
        .values()
        .filter(|member| shown(&member.state))
        .map(|member| convert::member(member, sights))
        .collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let nodes = tables
        .nodes
        .values()
        .filter(|node| !matches!(node.state, cluster::record::NodeState::Removed))
        .map(|node| convert::node(tables, node, sights))
        .collect();
    let mut alarms: Vec<_> = tables.alarms.values().collect();
    alarms.sort_by_key(|alarm| alarm.since);
    pb::ClusterStatus {
        members,
        nodes,
        layout: Some(convert::layout_status(tables, sights, timestamp(SystemTime::now()))),
        alarms: alarms.into_iter().map(convert::alarm).collect(),
        ..pb::ClusterStatus::default()
    }
}
