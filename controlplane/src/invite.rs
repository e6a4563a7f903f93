//! Letting the data node of the same process in, as an operator would let in one of another machine.
//!
//! The process may end at any moment. Invariant: whatever it had come to, it lets its data node in when it is started again, unless an
//! operator has removed that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cluster::command::{RemoveNode, StageNode};
use cluster::record::{Node, NodeState};
use cluster::{Address, Command, Hash, NodeName, Note, Zone};
use fail::fail_point;
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
/// Why a node was removed that had joined and could not know it. Whoever meets it goes on from there.
const FORGOTTEN: &str = "its process ended before it had written down that it had joined";

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
        match self.control.shared.read(|state| Found::of(state.tables().nodes.get(name))) {
            Found::MayBeStaged => {}
            Found::HalfIn => self.forget(name, deadline).await?,
            Found::SentAway => {
                let text = format!("node {name} was removed from the cluster");
                return Err(Fault::new(ErrorCode::WrongState, text)
                    .hint("let it in again with `goproxyctl node add`, and start it as `goproxyd data`"));
            }
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

    /// Removes the node, so that it can be staged again.
    async fn forget(&self, name: &NodeName, deadline: Instant) -> Result<(), Fault> {
        let forget =
            Command::RemoveNode(RemoveNode { name: name.clone(), force: false, counts_on: BTreeSet::new() });
        let wish = Wish { why: Note::lossy(FORGOTTEN), ..Wish::of(system_actor("standalone"), forget) };
        self.control.proposer.propose(&wish, deadline).await?;
        fail_point!("invite::before_stage", |_| Err(Fault::new(
            ErrorCode::Unavailable,
            "as a test wants it"
        )));
        Ok(())
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

/// How the node is found that is to be let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// It is not there, or not yet, or was forgotten.
    MayBeStaged,
    /// It was let in, and the process ended before it had written down by what: it never said where it is, and nobody else can be this node.
    HalfIn,
    /// An operator has removed it.
    SentAway,
}

impl Found {
    fn of(node: Option<&Node>) -> Self {
        let Some(node) = node else { return Self::MayBeStaged };
        let is_forgotten = node.reason.as_ref().is_some_and(|reason| reason.as_str() == FORGOTTEN);
        if node.state == NodeState::Joining && node.addresses.is_none() {
            Self::HalfIn
        } else if node.state == NodeState::Removed && !is_forgotten {
            Self::SentAway
        } else {
            Self::MayBeStaged
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::bed;

    #[test]
    fn whoever_was_forgotten_is_let_in_and_whoever_was_removed_is_not() {
        let mut tables = bed::tables();
        let mut found = |state: NodeState, is_announced: bool, why: Option<&str>| {
            let name = bed::node(&mut tables, "alone", state);
            let node = tables.nodes.get_mut(&name).unwrap();
            node.addresses = node.addresses.take().filter(|_| is_announced);
            node.reason = why.and_then(Note::lossy);
            Found::of(tables.nodes.get(&name))
        };
        assert_eq!(Found::of(None), Found::MayBeStaged);
        assert_eq!(found(NodeState::Joining, false, None), Found::HalfIn);
        // It runs, or did: that it has no credentials any more is for an operator to look at, and staging it is refused.
        assert_eq!(found(NodeState::Joining, true, None), Found::MayBeStaged);
        assert_eq!(found(NodeState::Active, true, None), Found::MayBeStaged);
        assert_eq!(found(NodeState::Removed, false, None), Found::SentAway);
        assert_eq!(found(NodeState::Removed, false, Some("not trusted")), Found::SentAway);
        assert_eq!(found(NodeState::Removed, false, Some(FORGOTTEN)), Found::MayBeStaged);
    }
}
