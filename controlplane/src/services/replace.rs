//! A node that comes in the place of one that holds nothing any more: it died, or was drained, and others have what it held.

use std::time::Instant;

use cluster::command::{ApplyLayout, DrainNode};
use cluster::record::{Before, Node, NodeState};
use cluster::{Command, NodeName, Note};
use proto::{ErrorCode, Fault};

use super::convert::{Options, subject};
use super::nodes::Nodes;
use crate::authorize::Operator;
use crate::placement::{self, Waiting};

impl Nodes {
    /// Has `new` take a share, and `old` none when it comes back. Gives the job of the move; empty if nothing moves.
    pub(super) async fn take_in(
        &self,
        operator: Operator,
        options: Options,
        old: &Node,
        new: &Node,
        until: Instant,
    ) -> Result<String, Fault> {
        let (dry_run, why) = (options.dry_run, options.why.clone());
        let job_id = if takes_by_itself(new)? {
            if dry_run { String::new() } else { self.move_from(old.name.as_str(), until).await }
        } else {
            // It was staged while there was something to take over.
            let command = self.layout_with(&new.name, why.clone()).await?;
            let came = self.0.carry_out(operator.clone(), options, command, until).await?;
            self.0.move_of(&came)
        };
        if may_come_back(&old.state) && !dry_run {
            let drain = Command::DrainNode(DrainNode { name: old.name.clone() });
            self.beside(operator, why, drain, until).await?;
        }
        Ok(job_id)
    }

    /// The next layout with a node in it that waits for one, and without the others that wait.
    async fn layout_with(&self, name: &NodeName, note: Option<Note>) -> Result<Command, Fault> {
        let mut tables = self.0.control.shared.read(|state| state.tables().clone());
        if let Some(node) = tables.nodes.get_mut(name) {
            node.apply_on_join = true;
        }
        let planned =
            tokio::task::spawn_blocking(move || placement::next(&tables, Waiting::ApplyOnJoin, None));
        let planned =
            planned.await.map_err(|_| Fault::new(ErrorCode::Internal, "planning was broken off"))?;
        let planned = planned.map_err(|error| {
            Fault::new(ErrorCode::WrongState, common::error_chain::ErrorChain::new(&error).to_string())
        })?;
        let (expect_epoch, layout) = (planned.base, planned.layout);
        Ok(Command::ApplyLayout(ApplyLayout { expect_epoch, layout, note, sets_replication: false }))
    }
}

/// Whether a node has its share or gets it from the leader; refused if it can have none.
fn takes_by_itself(new: &Node) -> Result<bool, Fault> {
    let refused = |what: &str, hint: &str| {
        let fault = Fault::new(ErrorCode::WrongState, format!("node {} {what}", new.name));
        Err(fault.about(subject("node", &new.name)).hint(hint))
    };
    let start = "run the command that came with its token, then this one again";
    match new.state {
        NodeState::Active => Ok(true),
        NodeState::Joining if new.addresses.is_some() => Ok(new.apply_on_join),
        NodeState::Staged(_) | NodeState::Joining => refused("has not joined yet", start),
        NodeState::Cordoned | NodeState::Draining => {
            refused("is to get nothing", "uncordon it with `goproxyctl node uncordon`")
        }
        NodeState::Down { .. } => refused("is taken for dead", "start it again"),
        NodeState::Removing | NodeState::Removed => refused("was removed", "name another one"),
    }
}

/// Whether a node would get a share again if nobody said otherwise.
fn may_come_back(state: &NodeState) -> bool {
    match state {
        NodeState::Active
        | NodeState::Cordoned
        | NodeState::Down { before: Before::Active | Before::Cordoned } => true,
        NodeState::Staged(_)
        | NodeState::Joining
        | NodeState::Draining
        | NodeState::Down { before: Before::Draining }
        | NodeState::Removing
        | NodeState::Removed => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::bed::{node, tables};

    #[test]
    fn who_is_there_takes_its_share_by_itself_unless_it_was_told_to_wait() {
        let mut tables = tables();
        let mut asked = |state: NodeState, apply_on_join: bool, announced: bool| {
            let name = node(&mut tables, "new", state);
            let node = tables.nodes.get_mut(&name).unwrap();
            node.apply_on_join = apply_on_join;
            node.addresses = node.addresses.take().filter(|_| announced);
            takes_by_itself(node).map_err(|fault| fault.code)
        };
        assert_eq!(asked(NodeState::Active, false, true), Ok(true));
        assert_eq!(asked(NodeState::Joining, true, true), Ok(true));
        assert_eq!(asked(NodeState::Joining, false, true), Ok(false));
        assert_eq!(asked(NodeState::Joining, true, false), Err(ErrorCode::WrongState));
        let down = NodeState::Down { before: Before::Active };
        for state in [down, NodeState::Cordoned, NodeState::Draining, NodeState::Removing] {
            assert_eq!(asked(state, true, true), Err(ErrorCode::WrongState));
        }
    }
}
