//! From the nodes that there are to the layout that they should have: what `layout plan` shows and the reconciler applies.

use std::sync::Arc;

use cluster::layout::{CandidatesError, Diff, PlanError};
use cluster::record::{Node, NodeState};
use cluster::{Candidate, Candidates, Epoch, Layout, Options, ReplicationFactor, Tables, diff, plan};

/// Which of the nodes that wait for a layout are taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waiting {
    /// All of them: an operator applies a layout.
    All,
    /// Those that were added to be taken in as soon as they have joined.
    ApplyOnJoin,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlacementError {
    /// The cluster was not bootstrapped.
    #[error("the cluster is not bootstrapped")]
    NoCluster,
    /// The nodes cannot be candidates together.
    #[error("choose the nodes to place slots on")]
    Candidates(#[from] CandidatesError),
    /// There is nobody to take the slots.
    #[error("place the slots")]
    Plan(#[from] PlanError),
}

/// A layout that could be applied.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The epoch that it was planned from; 0 if there was none.
    pub(crate) base: Epoch,
    /// The layout, with the next epoch.
    pub(crate) layout: Arc<Layout>,
    /// What it would change; none for the first layout.
    pub(crate) diff: Option<Diff>,
    /// The nodes that were considered.
    pub(crate) candidates: Candidates,
}

impl Plan {
    /// Whether applying it would change where anything is.
    pub(crate) fn changes_anything(&self) -> bool {
        self.diff.as_ref().is_none_or(|diff| !diff.is_empty())
    }
}

/// The layout in force.
pub(crate) fn current(tables: &Tables) -> Option<&Arc<Layout>> {
    let epoch = tables.transition.as_ref()?.current;
    tables.layouts.get(&epoch).map(|record| &record.layout)
}

/// Plans the next layout from the nodes as they are recorded.
pub(crate) fn next(
    tables: &Tables,
    waiting: Waiting,
    replication: Option<ReplicationFactor>,
) -> Result<Plan, PlacementError> {
    let cluster = tables.cluster.as_ref().ok_or(PlacementError::NoCluster)?;
    let candidates = Candidates::new(tables.nodes.values().filter_map(|node| candidate(node, waiting)))?;
    let options = Options { replication: replication.unwrap_or(cluster.settings.replication) };
    let current = current(tables);
    let layout = plan(current.map(Arc::as_ref), &candidates, options)?;
    let base = tables.transition.as_ref().map(|transition| transition.current).unwrap_or_default();
    let diff = current.map(|current| diff(current, &layout));
    Ok(Plan { base, layout: Arc::new(layout), diff, candidates })
}

fn candidate(node: &Node, waiting: Waiting) -> Option<Candidate> {
    let waits = matches!(node.state, NodeState::Joining);
    // Before its first start nobody knows where it is.
    node.addresses.as_ref()?;
    if waits && waiting == Waiting::ApplyOnJoin && !node.apply_on_join {
        return None;
    }
    let standing = node.state.standing()?;
    Some(Candidate { name: node.name.clone(), zone: node.zone.clone(), weight: node.weight, standing })
}
