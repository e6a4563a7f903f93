//! `RemoveNode`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::{JobKind, NodeName};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Change, JobState, Key, NODES_REMOVED_MAX, Node, NodeState, Record};

/// Removes a data node that holds nothing; its name may be staged again. By force also one that holds slots: it is not listened to
/// from now on, and gone when no layout has it any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveNode {
    /// Its name.
    pub name: NodeName,
    /// Whether it is removed although it holds slots.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Nodes that were found to keep what this one has of what was published. While one of them is on its way out itself this one stays:
    /// two removals that count on each other would lose what only these two have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub counts_on: BTreeSet<NodeName>,
}

impl RemoveNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        if node.state == NodeState::Removed {
            let name = self.name.to_string();
            return Err(Refusal::AlreadyThere { kind: Kind::Node, name, state: "removed" });
        }
        let stays =
            |name: &&NodeName| context.tables.nodes.get(*name).is_some_and(|node| node.state.is_admitted());
        if let Some(gone) = self.counts_on.iter().find(|name| !stays(name)) {
            return Err(Refusal::NoLongerThere { name: gone.clone() });
        }
        let slots = context.tables.slots_held(&self.name);
        if slots > 0 {
            return self.expel(context, node, slots);
        }
        let removed = Node {
            addresses: None,
            certificate: None,
            redeemed: None,
            ..context.moved(node, NodeState::Removed)
        };
        let nodes = context.tables.nodes.values();
        let mut former: Vec<&Node> = nodes.filter(|other| other.state == NodeState::Removed).collect();
        former.sort_by_key(|node| (node.since, &node.name));
        let over = (former.len() + 1).saturating_sub(NODES_REMOVED_MAX);
        let forgotten =
            former.into_iter().take(over).map(|node| Change::Delete(Key::Node(node.name.clone())));
        let mut work = Work::new(context);
        work.end_those(JobKind::DRAIN, |target| target == self.name.as_str(), JobState::Done, "");
        let effect = Effect::new(Answer::Done, &self.name).was(node.state.name()).is("removed");
        let effect = effect.put(Record::Node(removed)).delete(Key::Sync(self.name.clone())).with(forgotten);
        Ok(effect.working(&work))
    }

    /// Takes everything from a node that is not asked for it: what it held is copied from elsewhere, or fetched again.
    fn expel(&self, context: &Context<'_>, node: &Node, slots: u32) -> Result<Effect, Refusal> {
        if !self.force {
            return Err(Refusal::WouldLoseData { name: self.name.clone(), slots });
        }
        if node.state == NodeState::Removing {
            let name = self.name.to_string();
            return Err(Refusal::AlreadyThere { kind: Kind::Node, name, state: "removing" });
        }
        context.check_taker(&self.name)?;
        let mut work = Work::new(context);
        work.begin_once(JobKind::DRAIN, self.name.as_str());
        let expelled = Node { certificate: None, redeemed: None, ..context.moved(node, NodeState::Removing) };
        let effect = Effect::new(Answer::Done, &self.name).was(node.state.name());
        let effect = effect.is(format!("removing, {slots} slots left"));
        Ok(effect.put(Record::Node(expelled)).delete(Key::Sync(self.name.clone())).working(&work))
    }
}
