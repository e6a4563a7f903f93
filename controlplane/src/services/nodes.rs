//! Data nodes: staged, listed, cordoned, drained, replaced, removed.

use std::time::SystemTime;

use cluster::command::{
    CordonNode, DrainNode, LabelNode, MarkNode, NodeHealth, ReplaceNode, StageNode, UncordonNode,
};
use cluster::record::{Node, NodeState};
use cluster::{Command, Hash, JobKind, LabelKey, Name, NodeName, Note, Role, Tables, Timestamp, Zone};
use identity::JoinKind;
use proto::control::v1 as pb;
use proto::control::v1::node_service_server::NodeService;
use proto::{ErrorCode, Fault};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tonic::{Request, Response, Status};

use super::convert::{self, Options, options, parse, subject, time, timestamp};
use super::members::TOKEN_LIFETIME;
use super::page::page;
use super::stream::{Answers, Look, interval, watch};
use super::{Desk, deadline, join_command};
use crate::authorize::{Operator, system_actor};
use crate::propose::Wish;

/// A node's share unless the operator says.
const WEIGHT_DEFAULT: u32 = 100;
/// The zone of a node unless the operator says.
const ZONE_DEFAULT: &str = "default";

pub(crate) struct Nodes(pub(crate) Desk);

/// What a new node joins with.
struct Staged {
    join_token: String,
    expires: Timestamp,
    command: String,
}

#[tonic::async_trait]
impl NodeService for Nodes {
    async fn add_node(
        &self,
        request: Request<pb::AddNodeRequest>,
    ) -> Result<Response<pb::AddNodeResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let name: NodeName = parse("name", &request.name)?;
        let zone = if request.zone.is_empty() { ZONE_DEFAULT } else { &request.zone };
        let zone: Zone = parse("zone", zone)?;
        let weight = if request.weight == 0 { WEIGHT_DEFAULT } else { request.weight };
        let place =
            Place { zone, weight, labels: labels(&request.labels)?, apply_on_join: !request.no_apply };
        let lifetime =
            convert::duration("join_token_lifetime_duration", request.join_token_lifetime_duration)?;
        let staged = self.stage(operator, options(request.options)?, &name, place, lifetime, until).await?;
        Ok(Response::new(pb::AddNodeResponse {
            name: name.to_string(),
            join_token: staged.join_token,
            expire_time: Some(time(staged.expires)),
            command: staged.command,
        }))
    }

    async fn list_nodes(
        &self,
        request: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let states: Vec<_> = request.states().collect();
        let sights = self.0.control.sights().await;
        let page = self.0.control.shared.read(|state| {
            let tables = state.tables();
            let wanted = |node: &&Node| {
                let state = convert::node_state(&node.state);
                let by_state =
                    if states.is_empty() { state != pb::NodeState::Removed } else { states.contains(&state) };
                by_state && (request.zone.is_empty() || node.zone.as_str() == request.zone)
            };
            let nodes = tables.nodes.values().filter(wanted);
            let shown = nodes.map(|node| (&node.name, convert::node(tables, node, &sights)));
            page(shown, request.page_size, &request.page_token)
        })?;
        Ok(Response::new(pb::ListNodesResponse { nodes: page.entries, next_page_token: page.next }))
    }

    async fn get_node(
        &self,
        request: Request<pb::GetNodeRequest>,
    ) -> Result<Response<pb::GetNodeResponse>, Status> {
        self.0.viewer(&request).await?;
        let node = self.shown(&request.get_ref().name).await?;
        Ok(Response::new(pb::GetNodeResponse { node: Some(node) }))
    }

    type WatchNodeStream = Answers<pb::WatchNodeResponse>;

    async fn watch_node(
        &self,
        request: Request<pb::WatchNodeRequest>,
    ) -> Result<Response<Self::WatchNodeStream>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let every = interval(None);
        let nodes = Self(self.0.clone());
        // So that a name that is wrong is told at once.
        nodes.shown(&request.name).await?;
        let stream = watch(self.0.control.clone(), every, move |_| {
            let (nodes, name) = (Self(nodes.0.clone()), request.name.clone());
            async move {
                let node = nodes.shown(&name).await?;
                Ok(Look::Now(pb::WatchNodeResponse { node: Some(node) }))
            }
        });
        Ok(Response::new(stream))
    }

    async fn cordon_node(
        &self,
        request: Request<pb::CordonNodeRequest>,
    ) -> Result<Response<pb::CordonNodeResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let command = |name| Command::CordonNode(CordonNode { name });
        let change =
            Change { options: request.options, name: request.name, expected: request.expected_generation };
        let node = self.change(operator, change, command, until).await?;
        Ok(Response::new(pb::CordonNodeResponse { node: Some(node) }))
    }

    async fn uncordon_node(
        &self,
        request: Request<pb::UncordonNodeRequest>,
    ) -> Result<Response<pb::UncordonNodeResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let command = |name| Command::UncordonNode(UncordonNode { name });
        let change =
            Change { options: request.options, name: request.name, expected: request.expected_generation };
        let node = self.change(operator, change, command, until).await?;
        Ok(Response::new(pb::UncordonNodeResponse { node: Some(node) }))
    }

    async fn drain_node(
        &self,
        request: Request<pb::DrainNodeRequest>,
    ) -> Result<Response<pb::DrainNodeResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let command = |name| Command::DrainNode(DrainNode { name });
        let change =
            Change { options: request.options, name: request.name, expected: request.expected_generation };
        let dry_run = is_dry_run(change.options.as_ref());
        let node = self.change(operator, change, command, until).await?;
        let job_id = if dry_run { String::new() } else { self.0.drain_of(&node) };
        Ok(Response::new(pb::DrainNodeResponse { node: Some(node), job_id }))
    }

    async fn remove_node(
        &self,
        request: Request<pb::RemoveNodeRequest>,
    ) -> Result<Response<pb::RemoveNodeResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        Ok(Response::new(self.remove(operator, request.into_inner(), until).await?))
    }

    async fn replace_node(
        &self,
        request: Request<pb::ReplaceNodeRequest>,
    ) -> Result<Response<pb::ReplaceNodeResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let options = options(request.options)?;
        let by: NodeName = parse("replacement", &request.replacement)?;
        let old = self.find(&request.name, request.expected_generation, until).await?;
        if by == old.name {
            let text = format!("replacement: node {by} cannot take its own place");
            return Err(Fault::new(ErrorCode::InvalidArgument, text).into());
        }
        let known = self.0.control.shared.read(|state| {
            state.tables().nodes.get(&by).filter(|node| !matches!(node.state, NodeState::Removed)).cloned()
        });
        let holds = self.0.control.shared.read(|state| {
            let layout = crate::placement::current(state.tables());
            layout.is_some_and(|layout| layout.nodes().contains(&old.name))
        });
        // Who did not hear the answer asks again with the same key and gets the same token. With another key nothing is staged anew: that
        // would make the token worthless that was given out.
        let known = known.filter(|new| {
            let is_asked_again = options.key.as_ref().is_some_and(|key| {
                self.0.control.shared.read(|state| state.tables().remembered.contains_key(key))
            });
            !(is_asked_again && matches!(new.state, NodeState::Staged(_)))
        });
        let Some(new) = known else {
            let lifetime =
                convert::duration("join_token_lifetime_duration", request.join_token_lifetime_duration)?;
            // Only a node that has joined takes over: asked again then, it does. Where nothing is left to take over, it gets its share
            // like any other.
            let place =
                Place { zone: old.zone, weight: old.weight, labels: old.labels, apply_on_join: !holds };
            let staged = self.stage(operator, options, &by, place, lifetime, until).await?;
            return Ok(Response::new(pb::ReplaceNodeResponse {
                name: by.to_string(),
                join_token: staged.join_token,
                expire_time: Some(time(staged.expires)),
                command: staged.command,
                job_id: String::new(),
            }));
        };
        let job_id = if holds {
            let epoch = self.0.control.shared.read(|state| {
                state.tables().transition.as_ref().map(|transition| transition.current).unwrap_or_default()
            });
            let replace = ReplaceNode { name: old.name.clone(), by: by.clone(), expect_epoch: epoch };
            let came = self.0.carry_out(operator, options, Command::ReplaceNode(replace), until).await?;
            self.0.move_of(&came)
        } else {
            self.take_in(operator, options, &old, &new, until).await?
        };
        let name = by.to_string();
        Ok(Response::new(pb::ReplaceNodeResponse { name, job_id, ..pb::ReplaceNodeResponse::default() }))
    }

    async fn label_node(
        &self,
        request: Request<pb::LabelNodeRequest>,
    ) -> Result<Response<pb::LabelNodeResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let mut changed: BTreeMap<LabelKey, Option<Name>> =
            labels(&request.labels)?.into_iter().map(|(key, value)| (key, Some(value))).collect();
        for key in &request.removed_labels {
            changed.insert(parse("removed_labels", key)?, None);
        }
        let zone = request.zone.as_deref().map(|zone| parse("zone", zone)).transpose()?;
        let weight = request.weight;
        let command = move |name| Command::LabelNode(LabelNode { name, labels: changed, zone, weight });
        let change =
            Change { options: request.options, name: request.name, expected: request.expected_generation };
        let node = self.change(operator, change, command, until).await?;
        Ok(Response::new(pb::LabelNodeResponse { node: Some(node) }))
    }

    async fn failover_node(
        &self,
        request: Request<pb::FailoverNodeRequest>,
    ) -> Result<Response<pb::FailoverNodeResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        if !request.force {
            self.refuse_living(&request.name).await?;
        }
        let command = |name| Command::MarkNode(MarkNode { name, health: NodeHealth::Down });
        let change =
            Change { options: request.options, name: request.name, expected: request.expected_generation };
        let dry_run = is_dry_run(change.options.as_ref());
        if request.force && !dry_run {
            self.cordon(operator.clone(), &change, until).await?;
        }
        let node = self.change(operator, change, command, until).await?;
        let job_id = if dry_run { String::new() } else { self.move_from(&node.name, until).await };
        Ok(Response::new(pb::FailoverNodeResponse { node: Some(node), job_id }))
    }
}

fn is_dry_run(options: Option<&pb::MutationOptions>) -> bool {
    options.is_some_and(|options| options.dry_run)
}

/// Where a new node stands.
struct Place {
    zone: Zone,
    weight: u32,
    labels: BTreeMap<LabelKey, Name>,
    apply_on_join: bool,
}

/// What every change of one node says.
struct Change {
    options: Option<pb::MutationOptions>,
    name: String,
    expected: u64,
}

impl Nodes {
    async fn stage(
        &self,
        operator: Operator,
        options: Options,
        name: &NodeName,
        place: Place,
        lifetime: Option<Duration>,
        until: Instant,
    ) -> Result<Staged, Fault> {
        let control = &self.0.control;
        let expires = timestamp(SystemTime::now()).after(lifetime.unwrap_or(TOKEN_LIFETIME));
        let token = control.issuer.invite(JoinKind::Node, name.clone(), options.key.as_ref())?;
        let stage = StageNode {
            name: name.clone(),
            zone: place.zone.clone(),
            weight: place.weight,
            labels: place.labels,
            apply_on_join: place.apply_on_join,
            secret: Hash::from_bytes(*token.secret.hash().as_bytes()),
            expires,
        };
        self.0.carry_out(operator, options, Command::StageNode(stage), until).await?;
        // A key that was seen before: what was said then holds.
        let said = control.shared.read(|state| {
            let NodeState::Staged(invitation) = &find(state.tables(), name).ok()?.state else { return None };
            Some(invitation.expires)
        });
        let expires = said.unwrap_or(expires);
        let join_token = token.text();
        let command = join_command::node(name, &control.peers.addresses(), &join_token);
        Ok(Staged { join_token, expires, command })
    }

    async fn change(
        &self,
        operator: Operator,
        change: Change,
        command: impl FnOnce(NodeName) -> Command,
        until: Instant,
    ) -> Result<pb::Node, Fault> {
        let node = self.find(&change.name, change.expected, until).await?;
        let name = node.name.to_string();
        self.0.carry_out(operator, options(change.options)?, command(node.name), until).await?;
        self.shown(&name).await
    }

    /// Cordons a node that is to be taken for dead though it may answer: it is heard of again at once, and would get its slots back.
    async fn cordon(&self, operator: Operator, change: &Change, until: Instant) -> Result<(), Fault> {
        let node = self.find(&change.name, change.expected, until).await?;
        if node.state != NodeState::Active {
            return Ok(());
        }
        let why = options(change.options.clone())?.why;
        self.beside(operator, why, Command::CordonNode(CordonNode { name: node.name }), until).await
    }

    /// Carries out what belongs to another change, unless it is so already or cannot be.
    pub(super) async fn beside(
        &self,
        operator: Operator,
        why: Option<Note>,
        command: Command,
        until: Instant,
    ) -> Result<(), Fault> {
        let options = Options { key: None, dry_run: false, why };
        match self.0.carry_out(operator, options, command, until).await {
            Err(Fault {
                code: ErrorCode::AlreadyExists | ErrorCode::WrongState | ErrorCode::WouldLoseData,
                ..
            }) => Ok(()),
            carried => carried.map(|_| ()),
        }
    }

    /// The node as it is recorded.
    pub(super) async fn find(&self, name: &str, expected: u64, until: Instant) -> Result<Node, Fault> {
        let name: NodeName = parse("name", name)?;
        self.0.control.read_latest(until).await?;
        let node = self.0.control.shared.read(|state| find(state.tables(), &name).cloned())?;
        let generation = node.incarnation.get();
        if expected != 0 && expected != generation {
            let text = format!("node {name} has generation {generation}, not {expected}");
            return Err(Fault::new(ErrorCode::WrongGeneration, text).about(subject("node", &name)));
        }
        Ok(node)
    }

    /// The node as an operator sees it.
    pub(super) async fn shown(&self, name: &str) -> Result<pb::Node, Fault> {
        let name: NodeName = parse("name", name)?;
        let sights = self.0.control.sights().await;
        self.0.control.shared.read(|state| {
            let tables = state.tables();
            Ok(convert::node(tables, find(tables, &name)?, &sights))
        })
    }

    /// The job of the move that gives to others what a dead node held. The leader would begin it with its next look; who waits for
    /// the job is to hear of it now.
    pub(super) async fn move_from(&self, name: &str, until: Instant) -> String {
        let control = &self.0.control;
        let tables = control.shared.read(|state| state.tables().clone());
        let planned = tokio::task::spawn_blocking(move || crate::reconcile::next_layout(&tables)).await;
        if let Ok(Some(command)) = planned {
            let wish = Wish::of(system_actor("placement"), command);
            if let Err(fault) = control.proposer.propose(&wish, until).await {
                tracing::debug!(%fault, node = name, "the leader applies the next layout");
            }
        }
        let epoch = control.shared.read(|state| {
            let layout = crate::placement::current(state.tables())?;
            let holds = layout.nodes().iter().any(|node| node.as_str() == name);
            (!holds).then(|| layout.epoch().to_string())
        });
        epoch.map(|epoch| self.0.job_about(JobKind::LAYOUT, &epoch)).unwrap_or_default()
    }

    async fn refuse_living(&self, name: &str) -> Result<(), Fault> {
        let name: NodeName = parse("name", name)?;
        let suspect_after = self.0.control.shared.read(|state| {
            state
                .tables()
                .cluster
                .as_ref()
                .map(|cluster| cluster.settings.suspect_after())
                .unwrap_or_default()
        });
        let sights = self.0.control.sights().await;
        if sights.node_silence(&name).is_some_and(|silence| silence < suspect_after) {
            let text = if sights.node(&name).is_some() {
                format!("node {name} was heard of just now: it is not dead")
            } else {
                format!("whether node {name} is dead is not known yet: the leader began to lead just now")
            };
            return Err(Fault::new(ErrorCode::WrongState, text)
                .about(subject("node", &name))
                .hint("drain it, or say --force"));
        }
        Ok(())
    }
}

fn find<'a>(tables: &'a Tables, name: &NodeName) -> Result<&'a Node, Fault> {
    tables.nodes.get(name).ok_or_else(|| {
        Fault::new(ErrorCode::NotFound, format!("there is no node {name}"))
            .about(subject("node", name))
            .hint("`goproxyctl node list` shows those that there are")
    })
}

fn labels(labels: &BTreeMap<String, String>) -> Result<BTreeMap<LabelKey, Name>, Fault> {
    labels.iter().map(|(key, value)| Ok((parse("labels", key)?, parse("labels", value)?))).collect()
}
