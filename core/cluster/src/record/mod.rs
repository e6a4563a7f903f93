//! Records: the replicated truth is a set of them, each under its key. What RocksDB keeps, what watchers get, what a snapshot is
//! made of and what the digest is taken over are the same bytes.
//!
//! Owns keys, values and their one encoding. What may follow what is the commands' business.
//!
//! Invariant: a record has one encoding, and what is not that encoding is refused. A value is a version byte and JSON.

mod alarm;
mod audit;
mod authority;
mod binding;
mod cluster;
mod encode;
mod job;
mod key;
mod layout;
mod mark;
mod member;
mod node;
mod policy;
mod remembered;
mod token;

pub use alarm::{ALARMS_MAX, Alarm, AlarmSeverity};
pub use audit::{AUDIT_MAX, AuditEntry};
pub use authority::{
    AUTHORITIES_MAX, Authority, AuthorityState, CERTIFICATE_BYTES_MAX, SEALED_KEY_BYTES_MAX,
};
pub use binding::{BINDINGS_MAX, Binding};
pub use cluster::{Cluster, Counters, REMOVALS_PER_ZONE_MAX, Settings};
pub(crate) use encode::encode;
pub use encode::{RECORD_BYTES_MAX, RecordError};
pub use job::{JOBS_ENDED_MAX, JOBS_RUNNING_MAX, Job, JobState, Progress};
pub use key::{KEY_BYTES_MAX, Key, KeyError};
pub(crate) use layout::in_base64;
pub use layout::{LAYOUT_HISTORY_MAX, LayoutRecord, TransitionRecord};
pub use mark::{MARKED_BYTES_MAX, MARKS_MAX, Mark, MarkKind, Marked, MarkedError};
pub use member::{
    Certificate, Invitation, MEMBERS_MAX, MEMBERS_REMOVED_MAX, Member, MemberState, Redeemed, VOTERS_MAX,
};
pub use node::{Addresses, Before, LABELS_MAX, NODES_REMOVED_MAX, Node, NodeState, Sync};
pub use policy::{POLICIES_MAX, POLICY_HISTORY_MAX, PolicyRecord};
pub use remembered::{REMEMBERED_FOR, REMEMBERED_MAX, Remembered};
pub use token::{PreviousSecret, TOKEN_GROUPS_MAX, TOKENS_MAX, TOKENS_REVOKED_MAX, Token};

/// One piece of the replicated truth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// What the cluster is.
    Cluster(Cluster),
    /// What it counts.
    Counters(Counters),
    /// A control node.
    Member(Member),
    /// A data node.
    Node(Node),
    /// How far a data node has come with the layout.
    Sync(Sync),
    /// Which layouts are in force.
    Transition(TransitionRecord),
    /// A layout in force.
    Layout(LayoutRecord),
    /// A layout that was in force.
    LayoutHistory(LayoutRecord),
    /// A policy document in force.
    Policy(PolicyRecord),
    /// A policy document that was in force.
    PolicyHistory(PolicyRecord),
    /// An operator's credential.
    Token(Token),
    /// Something that somebody did.
    Audit(AuditEntry),
    /// Something that an operator should know.
    Alarm(Alarm),
    /// Long work.
    Job(Job),
    /// A request that was carried out.
    Remembered(Remembered),
    /// A certificate authority.
    Authority(Authority),
    /// What is said of a module.
    Mark(Mark),
    /// What a published version is bound to.
    Binding(Binding),
}

/// What a command does to the replicated truth: a list of these, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The record is there, in place of the one with its key.
    Put(Record),
    /// No record has this key.
    Delete(Key),
}

impl Record {
    /// Where it lies.
    pub fn key(&self) -> Key {
        match self {
            Self::Cluster(_) => Key::Cluster,
            Self::Counters(_) => Key::Counters,
            Self::Member(member) => Key::Member(member.id),
            Self::Node(node) => Key::Node(node.name.clone()),
            Self::Sync(sync) => Key::Sync(sync.node.clone()),
            Self::Transition(_) => Key::Transition,
            Self::Layout(record) => Key::Layout(record.layout.epoch()),
            Self::LayoutHistory(record) => Key::LayoutHistory(record.layout.epoch()),
            Self::Policy(record) => Key::Policy(record.name.clone()),
            Self::PolicyHistory(record) => Key::PolicyHistory(record.name.clone(), record.generation),
            Self::Token(token) => Key::Token(token.id),
            Self::Audit(entry) => Key::Audit(entry.revision),
            Self::Alarm(alarm) => Key::Alarm(alarm.code.clone(), alarm.subject.clone()),
            Self::Job(job) => Key::Job(job.id),
            Self::Remembered(remembered) => Key::Remembered(remembered.key.clone()),
            Self::Authority(authority) => Key::Authority(authority.generation),
            Self::Mark(mark) => Key::Mark(mark.kind, mark.about.clone()),
            Self::Binding(binding) => Key::Binding(binding.version.clone()),
        }
    }
}

impl Change {
    /// Where it happens.
    pub fn key(&self) -> Key {
        match self {
            Self::Put(record) => record.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}
