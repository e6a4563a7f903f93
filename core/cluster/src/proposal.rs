//! Proposals: what the entries of the log hold. Who wants what, when by the proposer's clock, and why.
//!
//! Invariant: what can be built can be read back. What does not read back stops the member that meets it, for skipping it would
//! make its state another than that of the rest.

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::ids::RequestId;
use crate::record::encode;
use crate::text::{Hash, IdempotencyKey, Name, Note};
use crate::time::Timestamp;

/// Bound of an encoded proposal in bytes.
pub const PROPOSAL_BYTES_MAX: usize = 1 << 20;

/// The encoding that is written.
const VERSION: u8 = 1;

/// A command with what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// By what its proposer recognises the outcome.
    pub request: RequestId,
    /// By what a client recognises its own request when it asks again.
    pub key: Option<IdempotencyKey>,
    /// Who wants it.
    pub actor: Actor,
    /// When, by the clock of the proposer. The cluster's time is never before what it was.
    pub at: Timestamp,
    /// Why, if it was said.
    pub why: Option<Note>,
    /// What is wanted.
    pub command: Command,
}

/// Who wants something.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The name of the credential, the node or the member; that of the task for the system.
    pub name: Name,
    /// As what.
    pub role: ActorRole,
}

/// As what somebody acts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorRole {
    /// An operator who may look.
    Viewer,
    /// An operator who may run the cluster.
    Operator,
    /// An operator who may do everything.
    Admin,
    /// A data node, about itself.
    Node,
    /// A control node, about itself.
    Member,
    /// A task of the leader.
    System,
}

/// What the bearer of an operator's credential may do. Each may what the one before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Run the cluster: nodes, layouts, jobs, alarms.
    Operator,
    /// Everything: members, credentials, policy, authorities, settings as well.
    Admin,
}

impl Role {
    /// The role in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl From<Role> for ActorRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

impl ActorRole {
    /// Whether it is an operator.
    pub const fn is_operator(self) -> bool {
        matches!(self, Self::Viewer | Self::Operator | Self::Admin)
    }
}

/// Why a proposal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ProposalError {
    /// Longer than [`PROPOSAL_BYTES_MAX`].
    #[error("proposal of {bytes} bytes is over the limit of {PROPOSAL_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// No byte at all.
    #[error("proposal is empty")]
    Empty,
    /// Written by a release that knows more.
    #[error("proposal has encoding {0}, which is not known")]
    Version(u8),
    /// Damaged, or with a command or a field that this release does not know.
    #[error("read a proposal")]
    Json(#[from] serde_json::Error),
}

impl Proposal {
    /// Its bytes, for the log.
    pub fn encode(&self) -> Result<Vec<u8>, ProposalError> {
        let bytes = encode(VERSION, self);
        if bytes.len() > PROPOSAL_BYTES_MAX {
            return Err(ProposalError::TooLong { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads bytes of any version that there has been.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProposalError> {
        if bytes.len() > PROPOSAL_BYTES_MAX {
            return Err(ProposalError::TooLong { bytes: bytes.len() });
        }
        let (&version, json) = bytes.split_first().ok_or(ProposalError::Empty)?;
        if version != VERSION {
            return Err(ProposalError::Version(version));
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// The hash of who wants what, by which a request that is asked again is told from another with its key. What a server adds to a
    /// request each time anew is no part of it: the layout that it plans or goes by, the generation or the copies that it finds, the secret that it makes
    /// (of the key, so that who asks again is shown the same), and when that ceases to be good.
    pub fn request_hash(&self) -> Hash {
        let (who, name) = (&self.actor.name, self.command.name());
        let asked = if let Command::ApplyLayout(asked) = &self.command {
            if asked.sets_replication {
                encode(VERSION, &(who, name, asked.expect_epoch, &asked.note, asked.layout.replication()))
            } else {
                encode(VERSION, &(who, name, asked.expect_epoch, &asked.note))
            }
        } else if let Command::PutPolicy(asked) = &self.command {
            encode(VERSION, &(who, name, &asked.name, &asked.document, &asked.note))
        } else if let Command::DeletePolicy(asked) = &self.command {
            encode(VERSION, &(who, name, &asked.name))
        } else if let Command::CreateToken(asked) = &self.command {
            encode(VERSION, &(who, name, &asked.name, asked.role))
        } else if let Command::StageNode(asked) = &self.command {
            let place = (&asked.name, &asked.zone, asked.weight, &asked.labels, asked.apply_on_join);
            encode(VERSION, &(who, name, place))
        } else if let Command::RemoveNode(asked) = &self.command {
            encode(VERSION, &(who, name, &asked.name, asked.force))
        } else if let Command::StageMember(asked) = &self.command {
            encode(VERSION, &(who, name, &asked.name))
        } else if let Command::RotateToken(asked) = &self.command {
            encode(VERSION, &(who, name, asked.id))
        } else if let Command::BindVersion(asked) = &self.command {
            encode(VERSION, &(who, name, &asked.version, &asked.zip_h1, &asked.go_mod_h1))
        } else if let Command::AddAuthority(_) = &self.command {
            encode(VERSION, &(who, name))
        } else {
            encode(VERSION, &(who, &self.command))
        };
        Hash::of(&asked)
    }
}
