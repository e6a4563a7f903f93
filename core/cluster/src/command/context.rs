//! What a command looks at, and what it makes of it.

use crate::ids::{Epoch, MemberId, NodeName};
use crate::layout::Standing;
use crate::outcome::{Answer, Kind, Refusal};
use crate::proposal::Proposal;
use crate::record::{
    AuthorityState, Certificate, Change, Cluster, Counters, Invitation, Key, LayoutRecord, Member, Node,
    NodeState, Record, TransitionRecord,
};
use crate::tables::Tables;
use crate::text::{Address, Hash, Name};
use crate::time::Timestamp;

/// What a command looks at: a state with a cluster in it, and what stands beside the command.
pub(crate) struct Context<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) cluster: &'a Cluster,
    pub(crate) counters: &'a Counters,
    pub(crate) transition: TransitionRecord,
    /// The cluster's time.
    pub(crate) now: Timestamp,
    /// What the command stands in.
    pub(crate) proposal: &'a Proposal,
}

/// What a command does.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) answer: Answer,
    pub(crate) changes: Vec<Change>,
    /// The counters, if it moved any.
    pub(crate) counters: Option<Counters>,
    /// What it was about, for the audit trail.
    pub(crate) subject: String,
    /// How it was, in short.
    pub(crate) before: String,
    /// How it is, in short.
    pub(crate) after: String,
}

#[expect(clippy::needless_pass_by_value, reason = "its uses give names and made texts alike")]
impl Effect {
    pub(crate) fn new(answer: Answer, subject: impl ToString) -> Self {
        Self {
            answer,
            changes: Vec::new(),
            counters: None,
            subject: subject.to_string(),
            before: String::new(),
            after: String::new(),
        }
    }

    pub(crate) fn put(mut self, record: Record) -> Self {
        self.changes.push(Change::Put(record));
        self
    }

    pub(crate) fn delete(mut self, key: Key) -> Self {
        self.changes.push(Change::Delete(key));
        self
    }

    pub(crate) fn with(mut self, changes: impl IntoIterator<Item = Change>) -> Self {
        self.changes.extend(changes);
        self
    }

    pub(crate) fn counting(mut self, counters: Counters) -> Self {
        self.counters = Some(counters);
        self
    }

    pub(crate) fn was(mut self, before: impl ToString) -> Self {
        self.before = before.to_string();
        self
    }

    pub(crate) fn is(mut self, after: impl ToString) -> Self {
        self.after = after.to_string();
        self
    }
}

/// A refusal of what makes no sense.
pub(super) fn invalid(problem: impl Into<String>) -> Refusal {
    Refusal::Invalid { problems: vec![problem.into()] }
}

/// Whether a secret that was shown is the one that was handed out, and in time.
pub(super) fn check_secret(
    invitation: &Invitation,
    shown: &Hash,
    now: Timestamp,
    kind: Kind,
    name: &NodeName,
) -> Result<(), Refusal> {
    if !invitation.secret.matches(shown) {
        return Err(Refusal::WrongSecret { kind, name: name.to_string() });
    }
    if now >= invitation.expires {
        return Err(Refusal::SecretExpired { kind, name: name.to_string() });
    }
    Ok(())
}

impl Context<'_> {
    /// Who wants it.
    pub(super) fn by(&self) -> Name {
        self.proposal.actor.name.clone()
    }

    pub(super) fn member(&self, id: MemberId) -> Result<&Member, Refusal> {
        let missing = || Refusal::NotFound { kind: Kind::Member, name: id.to_string() };
        self.tables.members.get(&id).ok_or_else(missing)
    }

    pub(super) fn node(&self, name: &NodeName) -> Result<&Node, Refusal> {
        let missing = || Refusal::NotFound { kind: Kind::Node, name: name.to_string() };
        self.tables.nodes.get(name).ok_or_else(missing)
    }

    /// The node in another state, from now on and for the reason that was given.
    pub(super) fn moved(&self, node: &Node, state: NodeState) -> Node {
        Node { state, since: self.now, reason: self.proposal.why.clone(), ..node.clone() }
    }

    /// Refuses a time that has passed.
    pub(super) fn check_future(&self, what: &str, at: Timestamp) -> Result<(), Refusal> {
        if at > self.now { Ok(()) } else { Err(invalid(format!("{what} has passed"))) }
    }

    /// Refuses a certificate that has expired or that nobody trusted has signed.
    pub(super) fn check_certificate(&self, certificate: &Certificate) -> Result<(), Refusal> {
        self.check_future("the end of the certificate", certificate.expires)?;
        let authority = self.tables.authorities.get(&certificate.authority);
        match authority.map(|authority| authority.state) {
            Some(AuthorityState::Current | AuthorityState::Retiring) => Ok(()),
            Some(AuthorityState::Next) => {
                Err(invalid("the certificate is of an authority that does not sign yet"))
            }
            None => Err(Refusal::NotFound { kind: Kind::Authority, name: certificate.authority.to_string() }),
        }
    }

    /// Refuses an address at which another member is reached.
    pub(super) fn check_member_address(&self, id: MemberId, address: &Address) -> Result<(), Refusal> {
        let other = self.tables.members.values().find(|member| {
            member.id != id && member.state.is_in_group() && member.rpc.as_ref() == Some(address)
        });
        other.map_or(Ok(()), |other| {
            let address = address.clone();
            Err(Refusal::AddressTaken { kind: Kind::Member, name: other.name.to_string(), address })
        })
    }

    /// Refuses an address at which another node is reached that is not away.
    pub(super) fn check_node_address(&self, node: &NodeName, address: &Address) -> Result<(), Refusal> {
        let other = self.tables.nodes.values().find(|other| {
            let addresses = other.addresses.as_ref();
            let same = addresses.is_some_and(|there| there.http == *address || there.rpc == *address);
            other.name != *node && !other.state.is_away() && same
        });
        other.map_or(Ok(()), |other| {
            let address = address.clone();
            Err(Refusal::AddressTaken { kind: Kind::Node, name: other.name.to_string(), address })
        })
    }

    /// Refuses what was decided for another layout than the current one.
    pub(super) fn check_epoch(&self, expected: Epoch) -> Result<(), Refusal> {
        let current = self.transition.current;
        if expected == current { Ok(()) } else { Err(Refusal::WrongEpoch { expected, current }) }
    }

    /// The current layout; none before the first.
    pub(super) fn current_layout(&self) -> Option<&LayoutRecord> {
        self.tables.layouts.get(&self.transition.current)
    }

    /// Refuses to take everything from a node when no other one could take it. One that waits until an operator applies a layout takes
    /// nothing by itself.
    pub(super) fn check_taker(&self, node: &NodeName) -> Result<(), Refusal> {
        let takes = |other: &Node| {
            let waits = other.state == NodeState::Joining && !other.apply_on_join;
            let may_take = other.state.standing() == Some(Standing::Taking) && other.addresses.is_some();
            other.name != *node && other.weight > 0 && may_take && !waits
        };
        let taken = self.tables.nodes.values().any(takes);
        if taken { Ok(()) } else { Err(Refusal::NobodyElse { name: node.clone() }) }
    }
}
