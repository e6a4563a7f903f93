//! Data nodes, and how far each has come with the current layout.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::member::{Certificate, Invitation, Redeemed};
use crate::ids::{Epoch, Incarnation, LabelKey, NodeName, Zone};
use crate::layout::Standing;
use crate::text::{Address, Name, Note};
use crate::time::Timestamp;

/// Labels that a node may have.
pub const LABELS_MAX: usize = 32;

/// Removed data nodes that are remembered.
pub const NODES_REMOVED_MAX: usize = 200;

/// A data node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// What it fails together with.
    pub zone: Zone,
    /// Its share in proportion to the weights of the others.
    pub weight: u32,
    /// Whatever an operator wants to find it by.
    pub labels: BTreeMap<LabelKey, Name>,
    /// How far it has come.
    pub state: NodeState,
    /// Whether it is taken into the layout as soon as it has joined.
    pub apply_on_join: bool,
    /// Where it listens; none before its first start.
    pub addresses: Option<Addresses>,
    /// How often it was started.
    pub incarnation: Incarnation,
    /// Its certificate; none while it is staged.
    pub certificate: Option<Box<Certificate>>,
    /// When it was staged.
    pub created: Timestamp,
    /// Since when it is in its state.
    pub since: Timestamp,
    /// Why it is in its state, if somebody said.
    pub reason: Option<Note>,
    /// When it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Timestamp>,
    /// The node whose place it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<NodeName>,
    /// With what it joined, so that an answer that was lost can be given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeemed: Option<Box<Redeemed>>,
}

/// Where a data node listens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// For the go command.
    pub http: Address,
    /// For other nodes.
    pub rpc: Address,
}

/// How far a data node has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NodeState {
    /// It may join, once, with its secret.
    Staged(Invitation),
    /// It has joined and waits for a layout that has it.
    Joining,
    /// It takes its share.
    Active,
    /// It keeps what it has and gets nothing new.
    Cordoned,
    /// It gives away what it has.
    Draining,
    /// It is taken for dead; `before` is what it was and will be again when it returns.
    Down {
        /// What it was.
        before: Before,
    },
    /// It was removed while it held slots: nobody listens to it any more, and it is gone as soon as no layout has it.
    Removing,
    /// It is gone; the name may be staged again.
    Removed,
}

/// What a node that is down was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// [`NodeState::Active`]
    Active,
    /// [`NodeState::Cordoned`]
    Cordoned,
    /// [`NodeState::Draining`]
    Draining,
}

impl NodeState {
    /// The state in a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Staged(_) => "staged",
            Self::Joining => "joining",
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Down { .. } => "down",
            Self::Removing => "removing",
            Self::Removed => "removed",
        }
    }

    /// What a plan may do with a node in this state; `None` if it is no candidate.
    pub const fn standing(&self) -> Option<Standing> {
        match self {
            Self::Joining | Self::Active => Some(Standing::Taking),
            Self::Cordoned => Some(Standing::Keeping),
            Self::Draining | Self::Down { .. } | Self::Removing => Some(Standing::Leaving),
            Self::Staged(_) | Self::Removed => None,
        }
    }

    /// Whether a node in this state may hold slots.
    pub const fn is_placed(&self) -> bool {
        matches!(self, Self::Active | Self::Cordoned | Self::Draining | Self::Down { .. } | Self::Removing)
    }

    /// Whether a node in this state has a certificate and may speak for itself.
    pub const fn is_admitted(&self) -> bool {
        !matches!(self, Self::Staged(_) | Self::Removing | Self::Removed)
    }

    /// Whether a node in this state is taken for unreachable, so that another one may be where it was.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Down { .. } | Self::Removing)
    }
}

impl From<Before> for NodeState {
    fn from(before: Before) -> Self {
        match before {
            Before::Active => Self::Active,
            Before::Cordoned => Self::Cordoned,
            Before::Draining => Self::Draining,
        }
    }
}

/// How far a node has come with moving slots. It is apart from [`Node`] because only the control plane needs it: told to all
/// nodes, a change of layout would cost as many messages as there are pairs of nodes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// The node.
    pub node: NodeName,
    /// The latest layout of which it has everything that the layout gives it.
    pub epoch: Epoch,
    /// When it said so.
    pub at: Timestamp,
}
