//! Who calls, and whether he may: operators by their tokens, nodes and members by their certificates.
//!
//! Each call names what it needs; there is no call that forgets to, since the caller's name for the audit trail comes from here.

use std::time::SystemTime;

use cluster::record::Token;
use cluster::{Actor, ActorRole, Hash, MemberId, Name, NodeName, Role, TokenId};
use identity::Caller;
use proto::{ErrorCode, Fault};
use tonic::Request;

use crate::services::convert::timestamp;
use crate::truth::Shared;

/// An operator who may do what he asked for.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    /// His name, for the audit trail.
    pub(crate) actor: Actor,
    /// What he may do.
    pub(crate) role: Role,
    /// His credential.
    pub(crate) token: TokenId,
}

/// Reads who calls. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    shared: Shared,
}

impl Gate {
    /// Judges by what `shared` says of tokens, nodes and members.
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// An operator with at least this role.
    pub(crate) fn operator<T>(&self, request: &Request<T>, least: Role) -> Result<Operator, Fault> {
        self.still_followed()?;
        let shown = match request.extensions().get::<Caller>() {
            Some(Caller::Operator(token)) => token,
            Some(Caller::Node(_) | Caller::Member(_)) => {
                return Err(Fault::new(
                    ErrorCode::PermissionDenied,
                    "this call is for operators, by their tokens",
                ));
            }
            Some(Caller::Anonymous) | None => {
                return Err(Fault::new(ErrorCode::Unauthenticated, "no token")
                    .hint("name the file of your token with --token-file, or set GOPROXYCTL_TOKEN"));
            }
        };
        let refused = || {
            Fault::new(ErrorCode::Unauthenticated, "the token is not known, or was revoked")
                .hint("ask an admin for `goproxyctl token create`")
        };
        let hash = Hash::from_bytes(*shown.secret.hash().as_bytes());
        let now = timestamp(SystemTime::now());
        // Secrets have 256 random bits, so that nothing can be learnt from which of their hashes is compared first.
        let known = |token: &&Token| token.accepts(&hash, now) || expired(token, &hash).is_some();
        let token = self.shared.read(|state| state.tables().tokens.values().find(known).cloned());
        let token = token.ok_or_else(refused)?;
        if !token.accepts(&hash, now) {
            return Err(expired(&token, &hash).unwrap_or_else(refused));
        }
        if token.role < least {
            let text = format!(
                "token {} has the role {}, this needs {}",
                token.name,
                token.role.name(),
                least.name()
            );
            return Err(Fault::new(ErrorCode::PermissionDenied, text));
        }
        let name = Name::parse(token.name.as_str())
            .map_err(|error| Fault::new(ErrorCode::Internal, error.to_string()))?;
        Ok(Operator { actor: Actor { name, role: token.role.into() }, role: token.role, token: token.id })
    }

    /// A data node that belongs to the cluster, and knows of no recovery that this member does not know of.
    pub(crate) fn node<T>(&self, request: &Request<T>) -> Result<NodeName, Fault> {
        let Some(Caller::Node(name)) = request.extensions().get::<Caller>().cloned() else {
            return Err(Fault::new(ErrorCode::Unauthenticated, "this call needs a data node's certificate"));
        };
        let admitted = self
            .shared
            .read(|state| state.tables().nodes.get(&name).is_some_and(|node| node.state.is_admitted()));
        if admitted {
            self.still_followed()?;
            // One that knows of fewer begins anew with the whole state, see the watch. That it knows of more is its word alone: it is
            // sent away, and members hear of it from members.
            let ours = self.shared.recovery().unwrap_or_default().get();
            let theirs = proto::recovery::told(request.metadata()).unwrap_or_default();
            if theirs > ours {
                let text =
                    format!("this control node knows of {ours} recoveries of the cluster, not of {theirs}");
                return Err(Fault::new(ErrorCode::LeftBehind, text));
            }
            return Ok(name);
        }
        Err(Fault::new(ErrorCode::PermissionDenied, format!("node {name} does not belong to the cluster"))
            .hint("a node that was removed comes back with a new token from `goproxyctl node add`"))
    }

    /// Refuses a member that was left behind by a recovery; one that comes from a later recovery says that this one was.
    fn check_recovery(&self, theirs: u64, ours: u64) -> Result<(), Fault> {
        if theirs > ours {
            self.shared.leave_behind();
            let text =
                format!("this control node knows of {ours} recoveries of the cluster, not of {theirs}");
            return Err(Fault::new(ErrorCode::WrongCluster, text));
        }
        if theirs < ours {
            let text = format!(
                "the cluster was recovered {ours} times, and who calls knows of {theirs}: it was left behind"
            );
            return Err(Fault::new(ErrorCode::LeftBehind, text));
        }
        Ok(())
    }

    /// Refuses everybody once the cluster goes on without this member.
    pub(crate) fn still_followed(&self) -> Result<(), Fault> {
        if self.shared.is_left_behind() {
            let text = "the cluster was recovered without this control node: it was left behind";
            return Err(Fault::new(ErrorCode::LeftBehind, text).hint(
                "ask the control nodes that the cluster goes on with, and remove this one's data directory",
            ));
        }
        Ok(())
    }

    /// A control node that belongs to the cluster.
    pub(crate) fn member<T>(&self, request: &Request<T>) -> Result<MemberId, Fault> {
        let Some(Caller::Member(id)) = request.extensions().get::<Caller>().cloned() else {
            return Err(Fault::new(
                ErrorCode::Unauthenticated,
                "this call needs a control node's certificate",
            ));
        };
        // Where one of both has no state yet, the other gives it one.
        if let (Some(theirs), Some(ours)) =
            (proto::recovery::told(request.metadata()), self.shared.recovery())
        {
            self.check_recovery(theirs, ours.get())?;
        }
        self.still_member(id)?;
        Ok(id)
    }

    /// Refuses a control node that was removed.
    pub(crate) fn still_member(&self, id: MemberId) -> Result<(), Fault> {
        // Who follows one that was left behind hears of it from that one.
        self.still_followed()?;
        let gone = self.shared.read(|state| {
            // One that is not known here may be known to others: this member may be far behind.
            let member = state.tables().members.get(&id);
            member.is_some_and(|member| !member.state.is_in_group())
        });
        if gone {
            return Err(Fault::new(
                ErrorCode::PermissionDenied,
                format!("member {id} was removed from the cluster"),
            ));
        }
        Ok(())
    }
}

/// Says that a token was the right one once; only to who shows its secret.
fn expired(token: &Token, hash: &Hash) -> Option<Fault> {
    let known = token.hash.matches(hash);
    (known && token.revoked.is_none()).then(|| {
        Fault::new(ErrorCode::CredentialsExpired, format!("token {} has expired", token.name))
            .hint("ask an admin for `goproxyctl token rotate`")
    })
}

/// A node that acts for itself.
pub(crate) fn node_actor(name: &NodeName) -> Actor {
    actor(name.as_str(), ActorRole::Node)
}

/// A task of the leader.
pub(crate) fn system_actor(task: &'static str) -> Actor {
    actor(task, ActorRole::System)
}

/// A member that acts for itself.
pub(crate) fn member_actor(name: &str) -> Actor {
    actor(name, ActorRole::Member)
}

#[expect(clippy::expect_used, reason = "names of nodes and of our own tasks are within the grammar of names")]
fn actor(name: &str, role: ActorRole) -> Actor {
    Actor { name: Name::parse(name).expect("a name of a node or a task"), role }
}
