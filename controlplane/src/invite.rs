//! Letting the data node of the same process in, as an operator would let in one of another machine.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cluster::command::{RemoveNode, StageNode};
use cluster::record::NodeState;
use cluster::{Address, Command, Hash, NodeName, Zone};
use identity::{JoinKind, JoinToken};
use prometheus_client::registry::Registry;
use proto::{ErrorCode, Fault};

use crate::authorize::system_actor;
use crate::control::Control;
use crate::metrics;
use crate::propose::Wish;
use crate::services::convert::timestamp;

/// How long the token is good: it is used at once.
const LIFETIME: Duration = Duration::from_mins(5);
/// The share of the node: that of any other.
const WEIGHT: u32 = 100;

/// Makes join tokens for the data node of this process.
#[derive(Clone)]
pub struct Inviter {
    pub(crate) control: Arc<Control>,
    pub(crate) rpc: Address,
}

impl Inviter {
    /// Where the control plane is reached.
    pub fn server(&self) -> Address {
        self.rpc.clone()
    }

    /// Registers the control plane's metrics.
    pub fn register(&self, registry: &mut Registry) {
        metrics::register(registry.sub_registry_with_prefix("goproxy_control"), &self.control);
    }

    /// A token for a node, once this member's cluster is there. Refused for a node that an operator has removed.
    pub async fn invite(&self, name: &NodeName, zone: &Zone, deadline: Instant) -> Result<JoinToken, Fault> {
        self.wait_for_cluster(deadline).await?;
        let (state, said_where) = self.control.shared.read(|state| {
            let node = state.tables().nodes.get(name);
            (node.map(|node| node.state.clone()), node.is_some_and(|node| node.addresses.is_some()))
        });
        if matches!(state, Some(NodeState::Joining)) && !said_where {
            // The process ended after it was let in, and before it had written down by what: nobody else can be this node.
            let forget = Command::RemoveNode(RemoveNode { name: name.clone(), force: false });
            self.control.proposer.propose(&Wish::of(system_actor("standalone"), forget), deadline).await?;
        }
        if matches!(state, Some(NodeState::Removed)) {
            let text = format!("node {name} was removed from the cluster");
            return Err(Fault::new(ErrorCode::WrongState, text)
                .hint("let it in again with `goproxyctl node add`, and start it as `goproxyd data`"));
        }
        let token = self.control.issuer.invite(JoinKind::Node, name.clone(), None)?;
        let command = Command::StageNode(StageNode {
            name: name.clone(),
            zone: zone.clone(),
            weight: WEIGHT,
            labels: std::collections::BTreeMap::new(),
            apply_on_join: true,
            secret: Hash::from_bytes(*token.secret.hash().as_bytes()),
            expires: timestamp(SystemTime::now()).after(LIFETIME),
        });
        self.control.proposer.propose(&Wish::of(system_actor("standalone"), command), deadline).await?;
        Ok(token)
    }

    async fn wait_for_cluster(&self, deadline: Instant) -> Result<(), Fault> {
        let mut applied = self.control.shared.subscribe();
        let made = async {
            while self.control.shared.read(|state| state.tables().cluster.is_none()) {
                if applied.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout_at(deadline.into(), made)
            .await
            .map_err(|_| Fault::new(ErrorCode::NoQuorum, "the cluster was not made in time"))
    }
}
