//! What a data node keeps of the replicated truth: enough to serve, to find every other node and to judge who asks, and no
//! secret of anybody.
//!
//! Invariant: a view is whole. What does not fit together is refused, and the view before it stays in use. A staged or removed
//! node, a revoked credential and a deleted document are the same as none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Epoch, Generation, NodeName, Revision, TokenId};
use crate::layout::{Layout, Slot, Transition};
use crate::marks::Marks;
use crate::policy::{Policies, Problem};
use crate::record::{
    Authority, AuthorityState, Change, Cluster, Key, Member, MemberState, Node, NodeState, Record, Token,
    TransitionRecord,
};
use crate::tables::Tables;
use crate::text::Hash;
use crate::time::Timestamp;

/// What a data node may know of a record; none if it may not know that there is one.
pub fn for_nodes(record: &Record) -> Option<Record> {
    match record {
        Record::Cluster(_) | Record::Transition(_) | Record::Layout(_) | Record::Mark(_) => {
            Some(record.clone())
        }
        Record::Member(member) => match member.state {
            MemberState::Learner | MemberState::Voter => {
                Some(Record::Member(Member { redeemed: None, ..member.clone() }))
            }
            MemberState::Staged(_) | MemberState::Removed => None,
        },
        Record::Node(node) => match node.state {
            NodeState::Joining
            | NodeState::Active
            | NodeState::Cordoned
            | NodeState::Draining
            | NodeState::Down { .. }
            | NodeState::Removing => Some(Record::Node(Node { redeemed: None, ..node.clone() })),
            NodeState::Staged(_) | NodeState::Removed => None,
        },
        Record::Policy(policy) => policy.document.is_some().then(|| record.clone()),
        Record::Token(token) => token.revoked.is_none().then(|| record.clone()),
        Record::Authority(authority) => {
            Some(Record::Authority(Authority { sealed_key: None, ..authority.clone() }))
        }
        Record::Counters(_)
        | Record::Sync(_)
        | Record::LayoutHistory(_)
        | Record::PolicyHistory(_)
        | Record::Audit(_)
        | Record::Alarm(_)
        | Record::Job(_)
        | Record::Remembered(_)
        | Record::Binding(_) => None,
    }
}

/// What a data node is told of a change; none if it is not concerned.
pub fn change_for_nodes(change: &Change) -> Option<Change> {
    match change {
        Change::Put(record) => match for_nodes(record) {
            Some(record) => Some(Change::Put(record)),
            None => concerns_nodes(&record.key()).then(|| Change::Delete(record.key())),
        },
        Change::Delete(key) => concerns_nodes(key).then(|| change.clone()),
    }
}

/// Whether data nodes know of records under this key.
pub const fn concerns_nodes(key: &Key) -> bool {
    match key {
        Key::Cluster
        | Key::Member(_)
        | Key::Node(_)
        | Key::Transition
        | Key::Layout(_)
        | Key::Policy(_)
        | Key::Token(_)
        | Key::Authority(_)
        | Key::Mark(..) => true,
        Key::Counters
        | Key::Sync(_)
        | Key::LayoutHistory(_)
        | Key::PolicyHistory(..)
        | Key::Audit(_)
        | Key::Alarm(..)
        | Key::Job(_)
        | Key::Remembered(_)
        | Key::Binding(_) => false,
    }
}

/// Why records are no view.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ViewError {
    /// Two with one key.
    #[error("record {0} is there twice")]
    Twice(Key),
    /// One without which there is nothing to go by.
    #[error("record {0} is missing")]
    Missing(Key),
    /// The layouts do not follow each other.
    #[error("layouts {previous} and {current} do not follow each other")]
    Order {
        /// The one to move from.
        previous: Epoch,
        /// The one to move to.
        current: Epoch,
    },
    /// A layout that is neither the current one nor the one before it.
    #[error("layout {0} is not in force")]
    Stray(Epoch),
    /// A layout places slots on a node that there is not, or whose addresses are not known.
    #[error("layout {epoch} has node {node}, which is not known")]
    UnknownNode {
        /// The layout.
        epoch: Epoch,
        /// The node.
        node: NodeName,
    },
    /// A policy document makes no sense.
    #[error("policy {name}: {problem}")]
    Policy {
        /// The document.
        name: String,
        /// The first thing that is wrong with it.
        problem: Problem,
    },
    /// Not exactly one authority signs.
    #[error("{0} authorities sign, instead of one")]
    Authorities(usize),
    /// It belongs to another cluster.
    #[error("the records are those of another cluster")]
    OtherCluster,
    /// It is of members that were left behind when the cluster was recovered.
    #[error("the records are of recovery {offered} of the cluster, which is at {current}")]
    LeftBehind {
        /// The recovery offered.
        offered: Generation,
        /// The recovery that there is.
        current: Generation,
    },
    /// It is older than what is there.
    #[error("revision {offered} is older than {current}")]
    Older {
        /// The revision offered.
        offered: Revision,
        /// The revision that there is.
        current: Revision,
    },
}

/// What a data node serves by: one immutable state of what it may know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    revision: Revision,
    tables: Tables,
    cluster: Cluster,
    transition: TransitionRecord,
    placement: Option<Transition>,
    policies: Policies,
    stale_after: Option<Duration>,
    tokens: BTreeMap<Hash, TokenId>,
    marks: Marks,
}

/// Where a module is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whereabouts {
    /// The module's slot.
    pub slot: Slot,
    /// Where to look for it, in this order; the first fetches.
    pub owners: Vec<NodeName>,
    /// The layout in force.
    pub epoch: Epoch,
    /// The layout that slots still move from.
    pub previous: Option<Epoch>,
}

impl View {
    /// The view that these records make; what a data node may not know of them is left out. `revision` is that of the state
    /// that they are of.
    pub fn load(revision: Revision, records: impl IntoIterator<Item = Record>) -> Result<Self, ViewError> {
        let mut tables = Tables::default();
        for record in records.into_iter().filter_map(|record| for_nodes(&record)) {
            let key = record.key();
            if tables.has(&key) {
                return Err(ViewError::Twice(key));
            }
            tables.put(record);
        }
        Self::of(revision, tables)
    }

    /// The view after these changes; this one stays as it is. `revision` is that of the state after them.
    pub fn with_changes(
        &self,
        revision: Revision,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<Self, ViewError> {
        if revision < self.revision {
            return Err(ViewError::Older { offered: revision, current: self.revision });
        }
        let mut tables = self.tables.clone();
        for change in changes {
            if let Some(change) = change_for_nodes(&change) {
                tables.change(change);
            }
        }
        let view = Self::of(revision, tables)?;
        self.check_successor(&view)?;
        Ok(view)
    }

    /// Refuses what must not take the place of this view, however new it says it is.
    pub fn check_successor(&self, next: &Self) -> Result<(), ViewError> {
        if next.cluster.id != self.cluster.id {
            return Err(ViewError::OtherCluster);
        }
        let (offered, current) = (next.cluster.recovery, self.cluster.recovery);
        if offered < current { Err(ViewError::LeftBehind { offered, current }) } else { Ok(()) }
    }

    fn of(revision: Revision, tables: Tables) -> Result<Self, ViewError> {
        let cluster = tables.cluster.clone().ok_or(ViewError::Missing(Key::Cluster))?;
        let transition = tables.transition.ok_or(ViewError::Missing(Key::Transition))?;
        let placement = placement(&tables, transition)?;
        let policies = policies(&tables)?;
        let signing =
            tables.authorities.values().filter(|authority| authority.state == AuthorityState::Current);
        let signing = signing.count();
        if signing != 1 {
            return Err(ViewError::Authorities(signing));
        }
        let mut tokens = BTreeMap::new();
        for token in tables.tokens.values() {
            tokens.insert(token.hash, token.id);
            if let Some(previous) = &token.previous {
                tokens.insert(previous.hash, token.id);
            }
        }
        let marks = Marks::of(tables.marks.values());
        let stale_after = policies.stale_after();
        Ok(Self { revision, tables, cluster, transition, placement, policies, stale_after, tokens, marks })
    }

    /// The number of the state that it shows. It grows, and an older view never replaces a newer one.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The records that it is made of, in the order of their keys' bytes: what a data node keeps on disk.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.tables.records()
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The layouts in force; none before the first.
    pub fn placement(&self) -> Option<&Transition> {
        self.placement.as_ref()
    }

    /// Which layouts are in force, and whether moving is halted.
    pub fn transition(&self) -> TransitionRecord {
        self.transition
    }

    /// Where a module is; none before the first layout.
    pub fn locate(&self, module_path: &str) -> Option<Whereabouts> {
        let placement = self.placement.as_ref()?;
        let slot = Slot::of(module_path);
        Some(Whereabouts {
            slot,
            owners: placement.reads(slot).cloned().collect(),
            epoch: placement.new_layout().epoch(),
            previous: placement.old_layout().map(|layout| layout.epoch()),
        })
    }

    /// A data node that has joined.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.tables.nodes.get(name)
    }

    /// The data nodes that have joined.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.tables.nodes.values()
    }

    /// The control nodes that have joined.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.tables.members.values()
    }

    /// After how long some module is refused by who has not heard that this is the latest; none if none ever is.
    pub fn stale_after(&self) -> Option<Duration> {
        self.stale_after
    }

    /// The policy documents in force.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// What is said of modules.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The certificate authorities that are trusted.
    pub fn authorities(&self) -> impl Iterator<Item = (&Generation, &Authority)> {
        self.tables.authorities.iter()
    }

    /// The credential whose secret has this hash, if it is good.
    pub fn token(&self, hash: &Hash, now: Timestamp) -> Option<&Token> {
        let token = self.tables.tokens.get(self.tokens.get(hash)?)?;
        token.accepts(hash, now).then_some(token)
    }
}

fn placement(tables: &Tables, record: TransitionRecord) -> Result<Option<Transition>, ViewError> {
    let layout = |epoch: Epoch| -> Result<Arc<Layout>, ViewError> {
        let record = tables.layouts.get(&epoch).ok_or(ViewError::Missing(Key::Layout(epoch)))?;
        Ok(record.layout.clone())
    };
    let in_force = |epoch: &Epoch| *epoch == record.current || Some(*epoch) == record.previous;
    if let Some(stray) = tables.layouts.keys().find(|epoch| !in_force(epoch)) {
        return Err(ViewError::Stray(*stray));
    }
    for (&epoch, record) in &tables.layouts {
        let known = |name: &&NodeName| tables.nodes.get(*name).is_some_and(|node| node.addresses.is_some());
        if let Some(node) = record.layout.nodes().iter().find(|name| !known(name)) {
            return Err(ViewError::UnknownNode { epoch, node: node.clone() });
        }
    }
    if record.current == Epoch::default() {
        return Ok(None);
    }
    let current = layout(record.current)?;
    let Some(previous) = record.previous else { return Ok(Some(Transition::settled(current))) };
    let order = |_| ViewError::Order { previous, current: record.current };
    Transition::between(layout(previous)?, current).map(Some).map_err(order)
}

fn policies(tables: &Tables) -> Result<Policies, ViewError> {
    let mut documents = Vec::new();
    for (name, record) in &tables.policies {
        let Some(document) = &record.document else { continue };
        if let Some(problem) = document.check().into_iter().next() {
            return Err(ViewError::Policy { name: name.to_string(), problem });
        }
        documents.push((name.clone(), document.clone()));
    }
    Ok(Policies::new(documents))
}
