//! Who a certificate says its holder is: a URI among its names, `goproxy://<cluster id>/member/<id>` or `/node/<name>`.
//!
//! Host names and addresses stand in certificates too, for other programs; nothing here goes by them.

use std::fmt;
use std::str::FromStr;

use cluster::{ClusterId, MemberId, NodeName};

use crate::certificate::CertificateError;

/// What our URIs begin with.
const SCHEME: &str = "goproxy://";

/// A process of a cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Who {
    /// A control node.
    Member(MemberId),
    /// A data node.
    Node(NodeName),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(id) => write!(f, "member {id}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// A process of a certain cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerIdentity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Which of its processes.
    pub who: Who,
}

/// Why a certificate does not say who its holder is, or somebody who is not wanted.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The certificate cannot be read.
    #[error("read certificate")]
    Certificate(#[from] CertificateError),
    /// There has to be one URI of ours, and no other.
    #[error("certificate has {found} URIs among its names instead of one")]
    Uris {
        /// How many there are.
        found: usize,
    },
    /// The URI is not of our form.
    #[error("certificate is for {0:?}, which names no process of a cluster")]
    Form(String),
    /// It is for a process of another cluster.
    #[error("certificate is of cluster {found}, not {expected}")]
    Cluster {
        /// Its cluster.
        found: ClusterId,
        /// Ours.
        expected: ClusterId,
    },
    /// It is for another process than the one that was called.
    #[error("certificate is for {found}, not {expected}")]
    Who {
        /// Whose it is.
        found: Who,
        /// Whose it should be.
        expected: String,
    },
}

impl PeerIdentity {
    /// Reads the URI of a certificate, DER. Who vouches for it is not asked here.
    pub fn of_certificate(der: &[u8]) -> Result<Self, PeerError> {
        let uris = crate::certificate::uris(der)?;
        match uris.as_slice() {
            [uri] => uri.parse(),
            _ => Err(PeerError::Uris { found: uris.len() }),
        }
    }

    /// Refuses what is of another cluster.
    pub fn expect_cluster(&self, expected: ClusterId) -> Result<(), PeerError> {
        if self.cluster == expected {
            return Ok(());
        }
        Err(PeerError::Cluster { found: self.cluster, expected })
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Member(id) => write!(f, "{SCHEME}{}/member/{id}", self.cluster),
            Who::Node(name) => write!(f, "{SCHEME}{}/node/{name}", self.cluster),
        }
    }
}

impl FromStr for PeerIdentity {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Self, PeerError> {
        let parse = || {
            let (cluster, process) = text.strip_prefix(SCHEME)?.split_once('/')?;
            let who = match process.split_once('/')? {
                ("member", id) => Who::Member(id.parse().ok()?),
                ("node", name) => Who::Node(name.parse().ok()?),
                _ => return None,
            };
            Some(Self { cluster: cluster.parse().ok()?, who })
        };
        parse().ok_or_else(|| PeerError::Form(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_our_form_is_read() {
        let id = "0123456789abcdef0123456789abcdef";
        for fine in [format!("goproxy://{id}/member/7"), format!("goproxy://{id}/node/data-1")] {
            assert_eq!(fine.parse::<PeerIdentity>().unwrap().to_string(), fine);
        }
        for wrong in [
            String::new(),
            format!("goproxy://{id}"),
            format!("goproxy://{id}/member/0"),
            format!("goproxy://{id}/member/07"),
            format!("goproxy://{id}/node/"),
            format!("goproxy://{id}/node/a/b"),
            format!("goproxy://{id}/node/A"),
            format!("goproxy://{id}/admin/x"),
            format!("Goproxy://{id}/node/a"),
            format!("goproxy://{}/node/a", id.to_uppercase()),
            "spiffe://x/node/a".to_owned(),
        ] {
            assert!(matches!(wrong.parse::<PeerIdentity>(), Err(PeerError::Form(_))), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_prints_back(text in "goproxy://[0-9a-f]{32}/(member|node)/[a-z0-9-]{0,8}|\\PC{0,60}") {
            if let Ok(peer) = text.parse::<PeerIdentity>() {
                prop_assert_eq!(peer.to_string(), text);
            }
        }
    }
}
