//! Removing a data node. What goes for good with it is looked at before: afterwards nobody listens to it any more, and nobody can take what it
//! has.
//!
//! Invariant: without force none is removed that has, or may have, something that was published and that no other node is known to keep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use cluster::command::RemoveNode;
use cluster::record::{Node, NodeState};
use cluster::{Command, Refusal};
use proto::control::v1 as pb;
use proto::{ErrorCode, Fault};

use super::convert::{options, refused, subject};
use super::lost;
use super::nodes::Nodes;
use crate::authorize::Operator;
use crate::last_copies::LastCopies;

/// What can be done about what only a node has that is down.
const DOWN_NEXT: &str =
    "start it again, so that others copy what it has, or remove it with --force if its disk is lost";
/// And about what only a node has that is up, and should be elsewhere.
const STRAY_NEXT: &str =
    "leave it running, others copy what it has; say it again in a while, or with --force if that may be lost";

/// And about what one may have that does not say what that is.
const SILENT_NEXT: &str = "see why it does not answer, or remove it with --force if what it has may be lost";
/// And where there was no time to find out.
const LATE_NEXT: &str = "say it again with more of --timeout, or with --force if that may be lost";

impl Nodes {
    /// Removes a node, or begins to.
    pub(super) async fn remove(
        &self,
        operator: Operator,
        request: pb::RemoveNodeRequest,
        until: Instant,
    ) -> Result<pb::RemoveNodeResponse, Fault> {
        let force = request.force;
        let options = options(request.options)?;
        let node = self.find(&request.name, request.expected_generation, until).await?;
        let slots = self.0.control.shared.read(|state| state.tables().slots_held(&node.name));
        let last = if slots > 0 && !node.state.is_away() {
            let last = self.by_the_records(&node).await?;
            if !force {
                // As the state machine would. Were it asked, the last slot might be gone by then, and the node with what it has.
                let refusal = Refusal::WouldLoseData { name: node.name.clone(), slots };
                return Err(told(refused(&refusal), &last));
            }
            last
        } else {
            let lost = lost::with(&self.0.control, &node, until).await?;
            if !force {
                refuse_loss(&node, &lost)?;
            }
            lost
        };
        // Another removal may have counted on this node meanwhile, as this one does on others.
        let counts_on = if force { BTreeSet::new() } else { last.keepers.clone() };
        let command = Command::RemoveNode(RemoveNode { name: node.name.clone(), force, counts_on });
        let carried = self.0.carry_out(operator, options, command, until).await;
        carried.map_err(|fault| told(fault, &last))?;
        let node = self.shown(node.name.as_str()).await?;
        let expelled = node.state() == pb::NodeState::Removing;
        let job_id = if expelled { self.0.drain_of(&node) } else { String::new() };
        Ok(pb::RemoveNodeResponse {
            node: Some(node),
            job_id,
            last_copies: last.named,
            last_copy_count: last.count,
        })
    }

    /// What only a node is known to have that holds slots: it is not removed without force, whatever that is.
    async fn by_the_records(&self, node: &Node) -> Result<LastCopies, Fault> {
        let (control, name) = (Arc::clone(&self.0.control), node.name.clone());
        let looking = move || control.shared.read(|state| LastCopies::of(state.tables(), &name));
        let looked = tokio::task::spawn_blocking(looking).await;
        looked.map_err(|_| Fault::new(ErrorCode::Internal, "the look at what was published was broken off"))
    }
}

/// Refuses to lose what only this node may have. One that is being removed already is past saving it.
fn refuse_loss(node: &Node, lost: &LastCopies) -> Result<(), Fault> {
    if lost.count == 0 || node.state == NodeState::Removing {
        return Ok(());
    }
    let how = if node.state.is_away() { "is down, and" } else { "holds no slot, but" };
    let next = match lost {
        _ if node.state.is_away() => DOWN_NEXT,
        LastCopies { is_silent: true, .. } => SILENT_NEXT,
        LastCopies { out_of_time: true, .. } => LATE_NEXT,
        _ => STRAY_NEXT,
    };
    let text = format!("node {} {how} {}", node.name, lost.text());
    Err(Fault::new(ErrorCode::WouldLoseData, text).about(subject("node", &node.name)).hint(next))
}

/// A refusal that says what would be lost.
fn told(mut fault: Fault, last: &LastCopies) -> Fault {
    if fault.code == ErrorCode::WouldLoseData && last.count > 0 {
        fault.message = format!("{}; {}", fault.message, last.text());
    }
    fault
}

#[cfg(test)]
mod tests {
    use cluster::record::{Before, Marked};

    use super::*;
    use crate::reconcile::bed;

    #[test]
    fn what_only_one_node_may_have_keeps_it_whether_it_is_up_or_not() {
        let mut tables = bed::tables();
        let version = Marked::parse("a.example/m@v1.0.0").unwrap();
        let lost = LastCopies::new([&version]);
        let mut refused = |state: NodeState, lost: &LastCopies| {
            let name = bed::node(&mut tables, "a", state);
            refuse_loss(&tables.nodes[&name], lost).map_err(|fault| {
                assert_eq!(fault.code, ErrorCode::WouldLoseData);
                assert!(fault.message.contains("a.example/m@v1.0.0"), "{fault}");
                fault.hint
            })
        };
        for state in [NodeState::Cordoned, NodeState::Draining, NodeState::Joining] {
            assert_eq!(refused(state.clone(), &lost), Err(STRAY_NEXT.to_owned()));
            assert_eq!(refused(state, &LastCopies::default()), Ok(()));
        }
        let is_silent = LastCopies { is_silent: true, ..LastCopies::new([&version]) };
        assert_eq!(refused(NodeState::Cordoned, &is_silent), Err(SILENT_NEXT.to_owned()));
        let out_of_time = LastCopies { out_of_time: true, ..LastCopies::new([&version]) };
        assert_eq!(refused(NodeState::Cordoned, &out_of_time), Err(LATE_NEXT.to_owned()));
        let down = NodeState::Down { before: Before::Cordoned };
        assert_eq!(refused(down.clone(), &lost), Err(DOWN_NEXT.to_owned()));
        assert_eq!(refused(down, &LastCopies::default()), Ok(()));
        assert_eq!(refused(NodeState::Removing, &lost), Ok(()));
    }
}
