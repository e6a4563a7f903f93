//! `MarkNode`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::{NodeName, Zone};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Before, Counters, Node, NodeState, Record};

/// The failure detector, or an operator, says that a data node is dead, or back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkNode {
    /// Its name.
    pub name: NodeName,
    /// How it is.
    pub health: NodeHealth,
}

/// How a data node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeHealth {
    /// It answers.
    Up,
    /// It is taken for dead.
    Down,
}

impl MarkNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        match self.health {
            NodeHealth::Up => self.up(context),
            NodeHealth::Down => self.down(context),
        }
    }

    fn up(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        let NodeState::Down { before } = node.state else { return Err(self.refuse(node)) };
        // Another node may have been given its addresses while it was away.
        if let Some(addresses) = &node.addresses {
            context.check_node_address(&self.name, &addresses.http)?;
            context.check_node_address(&self.name, &addresses.rpc)?;
        }
        let back = NodeState::from(before);
        let effect = Effect::new(Answer::Done, &self.name).was("down").is(back.name());
        Ok(effect.put(Record::Node(context.moved(node, back))))
    }

    fn down(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        let before = match node.state {
            NodeState::Active => Before::Active,
            NodeState::Cordoned => Before::Cordoned,
            NodeState::Draining => Before::Draining,
            NodeState::Staged(_)
            | NodeState::Joining
            | NodeState::Down { .. }
            | NodeState::Removing
            | NodeState::Removed => {
                return Err(self.refuse(node));
            }
        };
        let effect = Effect::new(Answer::Done, &self.name)
            .was(node.state.name())
            .is("down")
            .put(Record::Node(context.moved(node, NodeState::Down { before })));
        if context.proposal.actor.role.is_operator() {
            return Ok(effect);
        }
        Ok(effect.counting(brake(context, &node.zone)?))
    }

    fn refuse(&self, node: &Node) -> Refusal {
        let (kind, name) = (Kind::Node, self.name.to_string());
        match (&node.state, self.health) {
            (NodeState::Down { .. }, NodeHealth::Down) => Refusal::AlreadyThere { kind, name, state: "down" },
            (NodeState::Active | NodeState::Cordoned | NodeState::Draining, NodeHealth::Up) => {
                Refusal::AlreadyThere { kind, name, state: "up" }
            }
            (state, _) => {
                let wanted = "only a node that a layout may have is marked";
                Refusal::WrongState { kind, name, state: state.name(), wanted }
            }
        }
    }
}

/// The counters with one more removal in a zone, unless there were enough of late: when many nodes of a zone fall silent at once, it
/// is more likely the network, and moving their slots would make it worse.
fn brake(context: &Context<'_>, zone: &Zone) -> Result<Counters, Refusal> {
    let settings = &context.cluster.settings;
    let window = settings.removal_window();
    let mut counters = context.counters.clone();
    for times in counters.removals.values_mut() {
        times.retain(|at| at.after(window) > context.now);
    }
    counters.removals.retain(|_, times| !times.is_empty());
    let braked = |until| Err(Refusal::Braked { zone: zone.clone(), until });
    if settings.storm_brake || settings.removals_per_zone == 0 {
        return braked(None);
    }
    let times = counters.removals.entry(zone.clone()).or_default();
    let most = settings.removals_per_zone as usize;
    if times.len() >= most {
        let until = times.iter().rev().nth(most - 1).map(|at| at.after(window));
        return braked(until);
    }
    times.push(context.now);
    Ok(counters)
}
