//! What always holds: looked for in every state that is loaded, and after every command in the tests.
//!
//! It does not trust the commands: a state may come from another release or be damaged.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::ids::{Epoch, Revision};
use crate::layout::NODES_MAX;
use crate::record::{
    ALARMS_MAX, AUDIT_MAX, AUTHORITIES_MAX, AuthorityState, BINDINGS_MAX, Counters, JOBS_ENDED_MAX,
    JOBS_RUNNING_MAX, JobState, Key, LABELS_MAX, LAYOUT_HISTORY_MAX, MARKS_MAX, MEMBERS_MAX,
    MEMBERS_REMOVED_MAX, MemberState, NODES_REMOVED_MAX, Node, NodeState, POLICIES_MAX, POLICY_HISTORY_MAX,
    REMEMBERED_MAX, TOKENS_MAX, TOKENS_REVOKED_MAX, TransitionRecord, VOTERS_MAX,
};
use crate::state::Violation;
use crate::tables::Tables;

/// Everything that is wrong with these tables as those of a state of this revision.
pub(crate) fn check(tables: &Tables, revision: Revision) -> Vec<Violation> {
    let mut found = Findings(Vec::new());
    match (&tables.cluster, &tables.counters, tables.transition) {
        (None, None, None) if tables.is_empty() => return found.0,
        (Some(cluster), Some(counters), Some(transition)) => {
            for problem in cluster.settings.problems() {
                found.add(Key::Cluster, problem);
            }
            found.members(tables, counters);
            found.nodes(tables);
            found.layouts(tables, transition);
            found.syncs(tables, transition);
            found.policies(tables);
            found.tokens(tables, counters);
            found.jobs(tables, counters);
            found.authorities(tables);
            found.bound("marks", tables.marks.len(), MARKS_MAX);
            found.bound("published versions", tables.bindings.len(), BINDINGS_MAX);
            if let Some(whole) = tables.bindings.keys().find(|version| version.version().is_none()) {
                found.add(Key::Binding(whole.clone()), "is of no version");
            }
            found.trails(tables, revision);
        }
        _ => found.whole("there are records without all of cluster, counters and transition"),
    }
    found.0
}

struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, key: Key, what: impl Display) {
        self.0.push(Violation { key: Some(key), what: what.to_string() });
    }

    fn whole(&mut self, what: impl Display) {
        self.0.push(Violation { key: None, what: what.to_string() });
    }

    fn bound(&mut self, what: &str, count: usize, max: usize) {
        if count > max {
            self.whole(format!("{count} {what} are over the limit of {max}"));
        }
    }

    fn members(&mut self, tables: &Tables, counters: &Counters) {
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for (&id, member) in &tables.members {
            let key = || Key::Member(id);
            if id >= counters.next_member {
                self.add(key(), "has a number that was not given out");
            }
            if member.state != MemberState::Removed && !names.insert(&member.name) {
                self.add(key(), "has the name of another");
            }
            if member.state.is_in_group() != (member.rpc.is_some() && member.certificate.is_some()) {
                self.add(key(), "has an address and a certificate, or lacks them, against its state");
            }
            if member.rpc.as_ref().is_some_and(|rpc| !addresses.insert(rpc)) {
                self.add(key(), "has the address of another");
            }
        }
        let count = |wanted: fn(&MemberState) -> bool| {
            tables.members.values().filter(|member| wanted(&member.state)).count()
        };
        let voters = count(|state| *state == MemberState::Voter);
        if voters == 0 {
            self.whole("nobody votes");
        }
        self.bound("voters", voters, VOTERS_MAX);
        self.bound("members", count(|state| *state != MemberState::Removed), MEMBERS_MAX);
        self.bound("removed members", count(|state| *state == MemberState::Removed), MEMBERS_REMOVED_MAX);
    }

    fn nodes(&mut self, tables: &Tables) {
        let mut addresses = BTreeSet::new();
        for (name, node) in &tables.nodes {
            let key = || Key::Node(name.clone());
            if node.state.is_admitted() != node.certificate.is_some() {
                self.add(key(), "has a certificate, or lacks one, against its state");
            }
            if node.state.is_placed() && node.addresses.is_none() {
                self.add(key(), "may hold slots and has no address");
            }
            if !node.state.is_admitted() && !node.state.is_placed() && node.addresses.is_some() {
                self.add(key(), "has addresses and has not joined");
            }
            self.bound("labels", node.labels.len(), LABELS_MAX);
            for there in node.addresses.iter().filter(|_| !node.state.is_away()) {
                if !addresses.insert(&there.http) || !addresses.insert(&there.rpc) {
                    self.add(key(), "has the address of another");
                }
            }
        }
        let removed = tables.nodes.values().filter(|node| node.state == NodeState::Removed).count();
        self.bound("nodes", tables.nodes.len() - removed, NODES_MAX);
        self.bound("removed nodes", removed, NODES_REMOVED_MAX);
    }

    fn layouts(&mut self, tables: &Tables, transition: TransitionRecord) {
        let TransitionRecord { current, previous, .. } = transition;
        if previous.is_some_and(|previous| previous >= current || previous == Epoch::default()) {
            self.add(Key::Transition, "moves from a layout that is not before the current one");
        }
        let in_force: BTreeSet<Epoch> =
            [current].into_iter().filter(|epoch| *epoch > Epoch::default()).chain(previous).collect();
        if !tables.layouts.keys().eq(&in_force) {
            self.add(Key::Transition, "names other layouts than there are");
        }
        let mut epochs: BTreeSet<Epoch> = tables.layout_history.keys().copied().collect();
        if let Some(twice) = in_force.iter().find(|epoch| epochs.contains(epoch)) {
            self.add(Key::LayoutHistory(*twice), "is in force");
        }
        self.bound("former layouts", epochs.len(), LAYOUT_HISTORY_MAX);
        epochs.extend(&in_force);
        // The one that slots move from may be older than what is kept beside it.
        if let Some(previous) = previous.filter(|previous| epochs.first() == Some(previous)) {
            epochs.remove(&previous);
        }
        for (one, next) in epochs.iter().zip(epochs.iter().skip(1)) {
            if one.next() != *next {
                self.whole(format!("layouts between {one} and {next} are missing"));
            }
        }
        if epochs.last().is_some_and(|last| *last != current) {
            self.add(Key::Transition, "is not at the latest layout");
        }
        for (&epoch, record) in &tables.layouts {
            let placed = |node: &Node| node.state.is_placed();
            for name in record.layout.nodes() {
                if !tables.nodes.get(name).is_some_and(placed) {
                    self.add(Key::Layout(epoch), format!("places slots on node {name}, which is not for it"));
                }
            }
        }
    }

    fn syncs(&mut self, tables: &Tables, transition: TransitionRecord) {
        for (name, sync) in &tables.syncs {
            let key = || Key::Sync(name.clone());
            if !tables.nodes.get(name).is_some_and(|node| node.state.is_admitted()) {
                self.add(key(), "is of a node that has not joined");
            }
            if sync.epoch > transition.current {
                self.add(key(), "is of a layout that is to come");
            }
        }
        let has_all = |name| tables.syncs.get(name).is_some_and(|sync| sync.epoch >= transition.current);
        let all = tables
            .layouts
            .get(&transition.current)
            .is_some_and(|record| record.layout.nodes().iter().all(has_all));
        if all && transition.previous.is_some() {
            self.add(Key::Transition, "keeps a layout from which nothing moves any more");
        }
    }

    fn policies(&mut self, tables: &Tables) {
        self.bound("policies", tables.policies.len(), POLICIES_MAX);
        for (name, record) in &tables.policies {
            let key = || Key::Policy(name.clone());
            for problem in record.document.iter().flat_map(crate::policy::Document::check) {
                self.add(key(), problem);
            }
            let former = tables.generations_of(name);
            self.bound("former generations of a policy", former.len(), POLICY_HISTORY_MAX);
            let last = former.last().copied().unwrap_or_default();
            if record.generation <= last {
                self.add(key(), "has a generation that was before");
            }
        }
        for (name, generation) in tables.policy_history.keys() {
            if !tables.policies.contains_key(name) {
                self.add(Key::PolicyHistory(name.clone(), *generation), "is of a policy that is not known");
            }
        }
    }

    fn tokens(&mut self, tables: &Tables, counters: &Counters) {
        let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        let mut admin = false;
        for (&id, token) in &tables.tokens {
            let key = || Key::Token(id);
            if id >= counters.next_token {
                self.add(key(), "has a number that was not given out");
            }
            if token.revoked.is_some() {
                continue;
            }
            admin |= token.role == crate::proposal::Role::Admin;
            if !names.insert(&token.name) {
                self.add(key(), "has the name of another");
            }
            let previous = token.previous.as_ref().map(|previous| &previous.hash);
            if !hashes.insert(&token.hash) || previous.is_some_and(|hash| !hashes.insert(hash)) {
                self.add(key(), "has the secret of another");
            }
        }
        if !admin {
            self.whole("no credential is an admin's");
        }
        self.bound("credentials", names.len(), TOKENS_MAX);
        self.bound("revoked credentials", tables.tokens.len() - names.len(), TOKENS_REVOKED_MAX);
    }

    fn jobs(&mut self, tables: &Tables, counters: &Counters) {
        if let Some((&id, _)) = tables.jobs.last_key_value().filter(|(id, _)| **id >= counters.next_job) {
            self.add(Key::Job(id), "has a number that was not given out");
        }
        let running = tables.jobs.values().filter(|job| job.state == JobState::Running).count();
        self.bound("running jobs", running, JOBS_RUNNING_MAX);
        self.bound("ended jobs", tables.jobs.len() - running, JOBS_ENDED_MAX);
        self.bound("alarms", tables.alarms.len(), ALARMS_MAX);
    }

    fn authorities(&mut self, tables: &Tables) {
        let count = |state| tables.authorities.values().filter(|authority| authority.state == state).count();
        if count(AuthorityState::Current) != 1 {
            self.whole(format!("{} authorities sign", count(AuthorityState::Current)));
        }
        self.bound("next authorities", count(AuthorityState::Next), 1);
        self.bound("authorities", tables.authorities.len(), AUTHORITIES_MAX);
        for (&generation, authority) in &tables.authorities {
            if authority.sealed_key.is_none() {
                self.add(Key::Authority(generation), "has no private key");
            }
        }
    }

    fn trails(&mut self, tables: &Tables, revision: Revision) {
        self.bound("audit entries", tables.audit.len(), AUDIT_MAX);
        self.bound("remembered requests", tables.remembered.len(), REMEMBERED_MAX);
        if let Some((&last, _)) = tables.audit.last_key_value().filter(|(last, _)| **last > revision) {
            self.add(Key::Audit(last), "is of a state that is to come");
        }
        let mut revisions = BTreeSet::new();
        for (key, remembered) in &tables.remembered {
            if remembered.revision > revision || !revisions.insert(remembered.revision) {
                self.add(Key::Remembered(key.clone()), "is of a state of another, or to come");
            }
        }
    }
}
