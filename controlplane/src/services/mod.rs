//! What is served over gRPC. Each service is thin: it reads what is asked, asks the gate, proposes or looks, and says what came
//! of it.

mod about;
mod agent;
mod caches;
mod certificates;
mod clusters;
pub(crate) mod convert;
mod follower;
pub(crate) mod health;
mod heard;
mod holders;
mod jobs;
mod join;
mod join_command;
mod layouts;
mod lost;
mod members;
mod modules;
mod nodes;
mod page;
mod peer;
mod policies;
mod publish;
mod raft_peer;
pub(crate) mod reflection;
mod rehearsal;
mod removal;
mod remove_node;
mod replace;
mod stream;
mod tokens;
mod verify;
mod versions;
mod warm;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Command, Role};
use proto::Fault;
use proto::limits::{DEADLINE_DEFAULT, DEADLINE_MAX};
use tonic::{Request, Status};

use crate::authorize::Operator;
use crate::control::Control;
use crate::propose::{Done, Wish};
use convert::Options;

pub(crate) use agent::Agents;
pub(crate) use caches::Caches;
pub(crate) use certificates::Certificates;
pub(crate) use clusters::Clusters;
pub(crate) use jobs::Jobs;
pub(crate) use join::Joins;
pub(crate) use layouts::Layouts;
pub(crate) use members::Members;
pub(crate) use modules::Modules;
pub(crate) use nodes::Nodes;
pub(crate) use peer::{Peer, transfer};
pub(crate) use policies::Policies;
pub(crate) use raft_peer::RaftPeer;
pub(crate) use tokens::Tokens;

/// What all services have.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) control: Arc<Control>,
}

/// What a change came to.
pub(crate) enum Came {
    /// It was made.
    Made(Done),
    /// It would be made; it was only asked.
    WouldBe(cluster::Answer),
}

impl Desk {
    /// Who looks: any operator, at a state that is as new as any.
    pub(crate) async fn viewer<T>(&self, request: &Request<T>) -> Result<Operator, Status> {
        let operator = self.control.gate.operator(request, Role::Viewer)?;
        self.control.read_latest(deadline(request)).await?;
        Ok(operator)
    }

    /// Carries out what an operator wants, or only looks what would come of it.
    pub(crate) async fn carry_out(
        &self,
        operator: Operator,
        options: Options,
        command: Command,
        deadline: Instant,
    ) -> Result<Came, Fault> {
        let wish = Wish { actor: operator.actor, key: options.key, why: options.why, command };
        if options.dry_run {
            self.control.read_latest(deadline).await?;
            return self.control.proposer.dry_run(&wish).map(Came::WouldBe);
        }
        self.control.proposer.propose(&wish, deadline).await.map(Came::Made)
    }
}

impl Came {
    /// The answer of the state machine, given or to be expected.
    pub(crate) fn answer(&self) -> cluster::Answer {
        match self {
            Self::Made(done) => done.answer,
            Self::WouldBe(answer) => *answer,
        }
    }
}

/// What the answer needs to arrive before the client gives up: who is told why is better off than who hears nothing.
const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(500);

/// When a call has to be over: a little before its client gives up, within bounds.
pub(crate) fn deadline<T>(request: &Request<T>) -> Instant {
    let asked = request
        .metadata()
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(convert::grpc_timeout);
    let time = asked.unwrap_or(DEADLINE_DEFAULT).min(DEADLINE_MAX);
    Instant::now() + time.saturating_sub((time / 5).min(ANSWER_MARGIN_MAX))
}
