//! `Bootstrap`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::{ClusterId, Datacenter, NodeName, TokenName};
use crate::outcome::Refusal;
use crate::record::{Certificate, Settings};
use crate::text::{Address, Blob, Hash};

/// Makes the cluster: its first member, authority and credential.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// What tells the cluster from every other.
    pub cluster: ClusterId,
    /// The region that it is in.
    pub datacenter: Datacenter,
    /// How it is set.
    pub settings: Settings,
    /// The name of the first member, which votes.
    pub member: NodeName,
    /// Where that member is reached.
    pub rpc: Address,
    /// Its certificate; of authority 1.
    pub certificate: Certificate,
    /// The certificate of the first authority (DER).
    pub authority: Blob,
    /// The private key of that authority, sealed.
    pub sealed_key: Blob,
    /// The name of the first credential, an admin's.
    pub token: TokenName,
    /// The hash of its secret.
    pub token_hash: Hash,
}

impl Bootstrap {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
