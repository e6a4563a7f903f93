//! Tables: all records by kind and id. What a control node has of them is a [`crate::State`], what a data node has a
//! [`crate::View`].
//!
//! Invariant: a record lies under its own key.

use std::collections::BTreeMap;

use crate::ids::{AlarmCode, Epoch, Generation, JobId, MemberId, NodeName, PolicyName, Revision, TokenId};
use crate::layout::{Candidate, Candidates, Slot};
use crate::marks::key_of;
use crate::record::{
    Alarm, AuditEntry, Authority, Binding, Change, Cluster, Counters, Job, Key, LayoutRecord, Mark, MarkKind,
    Marked, Member, Node, PolicyRecord, Record, Remembered, Sync, Token, TransitionRecord,
};
use crate::text::{IdempotencyKey, Name};

/// All records, by kind and id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    /// What the cluster is; none before the bootstrap.
    pub cluster: Option<Cluster>,
    /// What it counts.
    pub counters: Option<Counters>,
    /// Control nodes.
    pub members: BTreeMap<MemberId, Member>,
    /// Data nodes.
    pub nodes: BTreeMap<NodeName, Node>,
    /// How far each data node has come with the layout.
    pub syncs: BTreeMap<NodeName, Sync>,
    /// Which layouts are in force.
    pub transition: Option<TransitionRecord>,
    /// Layouts in force.
    pub layouts: BTreeMap<Epoch, LayoutRecord>,
    /// Layouts that were.
    pub layout_history: BTreeMap<Epoch, LayoutRecord>,
    /// Policy documents in force, and the last generation of those deleted.
    pub policies: BTreeMap<PolicyName, PolicyRecord>,
    /// Policy documents that were.
    pub policy_history: BTreeMap<(PolicyName, Generation), PolicyRecord>,
    /// Operators' credentials.
    pub tokens: BTreeMap<TokenId, Token>,
    /// What was done.
    pub audit: BTreeMap<Revision, AuditEntry>,
    /// What an operator should know.
    pub alarms: BTreeMap<(AlarmCode, Name), Alarm>,
    /// Long work.
    pub jobs: BTreeMap<JobId, Job>,
    /// Requests that were carried out.
    pub remembered: BTreeMap<IdempotencyKey, Remembered>,
    /// Certificate authorities.
    pub authorities: BTreeMap<Generation, Authority>,
    /// What is said of modules.
    pub marks: BTreeMap<(MarkKind, Marked), Mark>,
    /// What was published, and as what.
    pub bindings: BTreeMap<Marked, Binding>,
}

impl Tables {
    /// The record under a key.
    pub fn get(&self, key: &Key) -> Option<Record> {
        match key {
            Key::Cluster => self.cluster.clone().map(Record::Cluster),
            Key::Counters => self.counters.clone().map(Record::Counters),
            Key::Member(id) => self.members.get(id).cloned().map(Record::Member),
            Key::Node(name) => self.nodes.get(name).cloned().map(Record::Node),
            Key::Sync(name) => self.syncs.get(name).cloned().map(Record::Sync),
            Key::Transition => self.transition.map(Record::Transition),
            Key::Layout(epoch) => self.layouts.get(epoch).cloned().map(Record::Layout),
            Key::LayoutHistory(epoch) => self.layout_history.get(epoch).cloned().map(Record::LayoutHistory),
            Key::Policy(name) => self.policies.get(name).cloned().map(Record::Policy),
            Key::PolicyHistory(name, generation) => {
                let former = self.policy_history.get(&(name.clone(), *generation));
                former.cloned().map(Record::PolicyHistory)
            }
            Key::Token(id) => self.tokens.get(id).cloned().map(Record::Token),
            Key::Audit(revision) => self.audit.get(revision).cloned().map(Record::Audit),
            Key::Alarm(code, subject) => {
                self.alarms.get(&(code.clone(), subject.clone())).cloned().map(Record::Alarm)
            }
            Key::Job(id) => self.jobs.get(id).cloned().map(Record::Job),
            Key::Remembered(key) => self.remembered.get(key).cloned().map(Record::Remembered),
            Key::Authority(generation) => self.authorities.get(generation).cloned().map(Record::Authority),
            Key::Mark(kind, about) => self.marks.get(&(*kind, about.clone())).cloned().map(Record::Mark),
            Key::Binding(version) => self.bindings.get(version).cloned().map(Record::Binding),
        }
    }

    /// Whether there is a record under a key.
    pub fn has(&self, key: &Key) -> bool {
        match key {
            Key::Cluster => self.cluster.is_some(),
            Key::Counters => self.counters.is_some(),
            Key::Member(id) => self.members.contains_key(id),
            Key::Node(name) => self.nodes.contains_key(name),
            Key::Sync(name) => self.syncs.contains_key(name),
            Key::Transition => self.transition.is_some(),
            Key::Layout(epoch) => self.layouts.contains_key(epoch),
            Key::LayoutHistory(epoch) => self.layout_history.contains_key(epoch),
            Key::Policy(name) => self.policies.contains_key(name),
            Key::PolicyHistory(name, generation) => {
                self.policy_history.contains_key(&(name.clone(), *generation))
            }
            Key::Token(id) => self.tokens.contains_key(id),
            Key::Audit(revision) => self.audit.contains_key(revision),
            Key::Alarm(code, subject) => self.alarms.contains_key(&(code.clone(), subject.clone())),
            Key::Job(id) => self.jobs.contains_key(id),
            Key::Remembered(key) => self.remembered.contains_key(key),
            Key::Authority(generation) => self.authorities.contains_key(generation),
            Key::Mark(kind, about) => self.marks.contains_key(&(*kind, about.clone())),
            Key::Binding(version) => self.bindings.contains_key(version),
        }
    }

    /// All records in the order of their keys' bytes.
    pub fn records(&self) -> impl Iterator<Item = Record> + Send + '_ {
        let cluster = self.cluster.iter().cloned().map(Record::Cluster);
        let counters = self.counters.iter().cloned().map(Record::Counters);
        let transition = self.transition.iter().copied().map(Record::Transition);
        cluster
            .chain(counters)
            .chain(self.members.values().cloned().map(Record::Member))
            .chain(self.nodes.values().cloned().map(Record::Node))
            .chain(self.syncs.values().cloned().map(Record::Sync))
            .chain(transition)
            .chain(self.layouts.values().cloned().map(Record::Layout))
            .chain(self.layout_history.values().cloned().map(Record::LayoutHistory))
            .chain(self.policies.values().cloned().map(Record::Policy))
            .chain(self.policy_history.values().cloned().map(Record::PolicyHistory))
            .chain(self.tokens.values().cloned().map(Record::Token))
            .chain(self.audit.values().cloned().map(Record::Audit))
            .chain(self.alarms.values().cloned().map(Record::Alarm))
            .chain(self.jobs.values().cloned().map(Record::Job))
            .chain(self.remembered.values().cloned().map(Record::Remembered))
            .chain(self.authorities.values().cloned().map(Record::Authority))
            .chain(self.marks.values().cloned().map(Record::Mark))
            .chain(self.bindings.values().cloned().map(Record::Binding))
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        usize::from(self.cluster.is_some())
            + usize::from(self.counters.is_some())
            + usize::from(self.transition.is_some())
            + self.members.len()
            + self.nodes.len()
            + self.syncs.len()
            + self.layouts.len()
            + self.layout_history.len()
            + self.policies.len()
            + self.policy_history.len()
            + self.tokens.len()
            + self.audit.len()
            + self.alarms.len()
            + self.jobs.len()
            + self.remembered.len()
            + self.authorities.len()
            + self.marks.len()
            + self.bindings.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The generations of a policy document that were in force, oldest first.
    pub fn generations_of(&self, name: &PolicyName) -> Vec<Generation> {
        let first = (name.clone(), Generation::default());
        let from = self.policy_history.range(first..);
        from.map(|((of, generation), _)| (of, *generation))
            .take_while(|(of, _)| *of == name)
            .map(|(_, generation)| generation)
            .collect()
    }

    /// The data nodes as a plan sees them: those that have joined, once they have said where they listen.
    pub fn candidates(&self) -> Candidates {
        let candidate = |node: &Node| {
            node.addresses.as_ref()?;
            let standing = node.state.standing()?;
            Some(Candidate {
                name: node.name.clone(),
                zone: node.zone.clone(),
                weight: node.weight,
                standing,
            })
        };
        // There are no more nodes than a plan takes, and each has its name once.
        Candidates::new(self.nodes.values().filter_map(candidate)).unwrap_or_default()
    }

    /// Slots that a node holds by a layout in force: what is still to move away from it counts.
    pub fn slots_held(&self, node: &NodeName) -> u32 {
        let layouts = || self.layouts.values().map(|record| &record.layout);
        if !layouts().any(|layout| layout.nodes().binary_search(node).is_ok()) {
            return 0;
        }
        let held = Slot::all().filter(|&slot| layouts().any(|layout| layout.replicas(slot).contains(node)));
        held.count() as u32
    }

    /// Carries out a change.
    pub(crate) fn change(&mut self, change: Change) {
        match change {
            Change::Put(record) => self.put(record),
            Change::Delete(key) => self.delete(&key),
        }
    }

    pub(crate) fn put(&mut self, record: Record) {
        match record {
            Record::Cluster(value) => self.cluster = Some(value),
            Record::Counters(value) => self.counters = Some(value),
            Record::Member(value) => drop(self.members.insert(value.id, value)),
            Record::Node(value) => drop(self.nodes.insert(value.name.clone(), value)),
            Record::Sync(value) => drop(self.syncs.insert(value.node.clone(), value)),
            Record::Transition(value) => self.transition = Some(value),
            Record::Layout(value) => drop(self.layouts.insert(value.layout.epoch(), value)),
            Record::LayoutHistory(value) => drop(self.layout_history.insert(value.layout.epoch(), value)),
            Record::Policy(value) => drop(self.policies.insert(value.name.clone(), value)),
            Record::PolicyHistory(value) => {
                drop(self.policy_history.insert((value.name.clone(), value.generation), value));
            }
            Record::Token(value) => drop(self.tokens.insert(value.id, value)),
            Record::Audit(value) => drop(self.audit.insert(value.revision, value)),
            Record::Alarm(value) => {
                drop(self.alarms.insert((value.code.clone(), value.subject.clone()), value));
            }
            Record::Job(value) => drop(self.jobs.insert(value.id, value)),
            Record::Remembered(value) => drop(self.remembered.insert(value.key.clone(), value)),
            Record::Authority(value) => drop(self.authorities.insert(value.generation, value)),
            Record::Mark(value) => drop(self.marks.insert(key_of(&value), value)),
            Record::Binding(value) => drop(self.bindings.insert(value.version.clone(), value)),
        }
    }

    fn delete(&mut self, key: &Key) {
        match key {
            Key::Cluster => self.cluster = None,
            Key::Counters => self.counters = None,
            Key::Member(id) => drop(self.members.remove(id)),
            Key::Node(name) => drop(self.nodes.remove(name)),
            Key::Sync(name) => drop(self.syncs.remove(name)),
            Key::Transition => self.transition = None,
            Key::Layout(epoch) => drop(self.layouts.remove(epoch)),
            Key::LayoutHistory(epoch) => drop(self.layout_history.remove(epoch)),
            Key::Policy(name) => drop(self.policies.remove(name)),
            Key::PolicyHistory(name, generation) => {
                drop(self.policy_history.remove(&(name.clone(), *generation)));
            }
            Key::Token(id) => drop(self.tokens.remove(id)),
            Key::Audit(revision) => drop(self.audit.remove(revision)),
            Key::Alarm(code, subject) => drop(self.alarms.remove(&(code.clone(), subject.clone()))),
            Key::Job(id) => drop(self.jobs.remove(id)),
            Key::Remembered(key) => drop(self.remembered.remove(key)),
            Key::Authority(generation) => drop(self.authorities.remove(generation)),
            Key::Mark(kind, about) => drop(self.marks.remove(&(*kind, about.clone()))),
            Key::Binding(version) => drop(self.bindings.remove(version)),
        }
    }
}
