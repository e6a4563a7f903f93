//! What services and reconcilers share: the truth, the way into the log, the others, what was seen, who may what.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{ClusterId, MemberId};
use parking_lot::Mutex;
use proto::raft::v1::GetObservationsRequest;
use proto::{ErrorCode, Fault};

use crate::assurance::Assurance;
use crate::authorize::Gate;
use crate::data_nodes::DataNodes;
use crate::issue::Issuer;
use crate::observed::Observed;
use crate::peers::Peers;
use crate::propose::Proposer;
use crate::raft::{DiskPace, RaftHandle, ReadError, Role};
use crate::sights::Sights;
use crate::truth::Shared;
use crate::watch::Hub;

/// The longest that the leader may take to tell what it has seen.
const SIGHTS_TIMEOUT: Duration = Duration::from_secs(2);

/// What is recent.
const RECENT: Duration = Duration::from_secs(2);

/// See the head of this file.
pub(crate) struct Control {
    pub(crate) cluster: ClusterId,
    pub(crate) me: MemberId,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) shared: Shared,
    pub(crate) hub: Arc<Hub>,
    pub(crate) raft: RaftHandle<cluster::Outcome>,
    pub(crate) proposer: Proposer,
    pub(crate) peers: Arc<Peers>,
    pub(crate) data_nodes: Arc<DataNodes>,
    pub(crate) gate: Gate,
    pub(crate) issuer: Issuer,
    pub(crate) observed: Arc<Mutex<Observed>>,
    pub(crate) assurance: Assurance,
    pub(crate) disk: Arc<DiskPace>,
}

impl Control {
    /// Returns when readers here see everything that was true anywhere when this was called.
    pub(crate) async fn read_latest(&self, deadline: Instant) -> Result<(), Fault> {
        let index = self.raft.read_index(deadline).await.map_err(|error| match error {
            ReadError::Busy => Fault::new(ErrorCode::Overloaded, error.to_string()),
            ReadError::Deadline => Fault::new(
                ErrorCode::NoQuorum,
                "too few control nodes reach one another to be sure of the state",
            )
            .hint("start the control nodes that are down; see `goproxyctl cluster health`"),
            ReadError::Stopped => Fault::new(ErrorCode::Unavailable, error.to_string()),
        })?;
        tokio::time::timeout_at(deadline.into(), self.shared.reached(index))
            .await
            .map_err(|_| Fault::new(ErrorCode::Deadline, "this member lags behind the others"))
    }

    /// The same for who can do with what was true some seconds ago, as many can who ask often.
    pub(crate) async fn read_recent(&self, deadline: Instant) -> Result<(), Fault> {
        self.assurance.get(RECENT, self.read_latest(deadline)).await
    }

    /// Whether this member leads.
    pub(crate) fn leads(&self) -> bool {
        self.raft.leadership().borrow().role == Role::Leader
    }

    /// What was seen of everybody: by this member if it leads, else as the leader tells. Nothing, if there is none.
    pub(crate) async fn sights(&self) -> Sights {
        if self.leads() {
            return Sights::of(&self.observed.lock(), Instant::now());
        }
        let Some(leader) = self.raft.leadership().borrow().leader else { return Sights::default() };
        let Some(mut client) = self.peers.peer(leader) else { return Sights::default() };
        let mut request = tonic::Request::new(GetObservationsRequest {});
        request.set_timeout(SIGHTS_TIMEOUT);
        match client.get_observations(request).await {
            Ok(told) => Sights::told(told.into_inner()),
            Err(status) => {
                tracing::debug!(%leader, %status, "the leader did not tell what it has seen");
                Sights::default()
            }
        }
    }

    /// The name of a member, for people.
    pub(crate) fn member_name(&self, id: MemberId) -> String {
        self.shared.read(|state| {
            state.tables().members.get(&id).map_or_else(|| id.to_string(), |member| member.name.to_string())
        })
    }
}
