//! TLS between the processes of a cluster and for operators, from credentials that can be changed while connections are open.
//!
//! Invariants: a certificate is believed only if an authority of the bundle signed it, it is in force, and it names a
//! process of this cluster. Sessions are never resumed, since a resumed one would skip all of that. TLS 1.2 is the least, and
//! 1.3 between processes.

mod client;
mod server;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cluster::{ClusterId, MemberId, NodeName};
use common::clock::Clock;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::bundle::{Bundle, BundleError};
use crate::certificate::{CertificateError, CertificateFacts, Fingerprint};
use crate::peer::{PeerError, PeerIdentity, Who};

/// The one protocol spoken.
pub(crate) const ALPN_H2: &[u8] = b"h2";

/// Why there is no TLS with what is at hand.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authorities cannot be used.
    #[error("use the cluster's authorities")]
    Bundle(#[from] BundleError),
    /// The certificate cannot be read.
    #[error("read certificate")]
    Certificate(#[from] CertificateError),
    /// The certificate does not say whose it is, or is another cluster's.
    #[error("use certificate")]
    Peer(#[from] PeerError),
    /// The key does not belong to the certificate.
    #[error("the key does not belong to the certificate")]
    Mismatch,
    /// TLS cannot use them.
    #[error("use credentials for TLS")]
    Unusable(#[from] rustls::Error),
    /// The authorities cannot vouch for clients.
    #[error("use the cluster's authorities for clients")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What a process proves itself with, and by which it knows others. `Debug` shows no key.
pub struct Credentials {
    identity: PeerIdentity,
    facts: CertificateFacts,
    bundle: Bundle,
    certified: Arc<CertifiedKey>,
}

impl Credentials {
    /// Puts them together: the chain, its own certificate first and then the authority's; the key; whom to trust. That they
    /// belong together is checked, that they are in force is not: an outdated certificate is renewed, not refused at start.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        bundle: Bundle,
    ) -> Result<Self, TlsError> {
        let own = chain.first().ok_or(CertificateError::Form)?;
        let identity = PeerIdentity::of_certificate(own)?;
        let facts = CertificateFacts::of(own)?;
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                TlsError::Mismatch
            } else {
                error.into()
            }
        })?;
        Ok(Self { identity, facts, bundle, certified: Arc::new(certified) })
    }

    /// Who it is that has them.
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// What stands in its certificate.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Whom it trusts.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// Credentials in use, changed in one step: connections that are open keep what they began with, new ones use what is new.
#[derive(Debug)]
pub struct HotCredentials {
    clock: Arc<dyn Clock>,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    credentials: Arc<Credentials>,
    server: Arc<ServerConfig>,
}

impl HotCredentials {
    /// Begins with these.
    pub fn new(credentials: Credentials, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TlsError> {
        let current = Current::new(credentials, &clock)?;
        Ok(Arc::new(Self { clock, current: ArcSwap::from_pointee(current) }))
    }

    /// Goes on with these. What is refused leaves the old ones in use; so does what is of another process or cluster.
    pub fn swap(&self, credentials: Credentials) -> Result<(), TlsError> {
        let present = self.current.load().credentials.identity.clone();
        credentials.identity.expect_cluster(present.cluster)?;
        if credentials.identity.who != present.who {
            let expected = present.who.to_string();
            return Err(PeerError::Who { found: credentials.identity.who, expected }.into());
        }
        self.current.store(Arc::new(Current::new(credentials, &self.clock)?));
        Ok(())
    }

    /// Those in use.
    pub fn current(&self) -> Arc<Credentials> {
        Arc::clone(&self.current.load().credentials)
    }

    /// For the next connection that is accepted.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().server)
    }

    /// For the next connection to a process of the same cluster.
    pub fn client_config(&self, expect: &Expect) -> Result<Arc<ClientConfig>, TlsError> {
        let credentials = self.current();
        client::for_process(&credentials, expect.clone(), Arc::clone(&self.clock))
    }
}

impl Current {
    fn new(credentials: Credentials, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        let server = server::config(&credentials, Arc::clone(clock))?;
        Ok(Self { credentials: Arc::new(credentials), server })
    }
}

/// Which process a client means to talk to. Any other is refused, whatever its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    /// A control node, whichever.
    AnyMember,
    /// This control node.
    Member(MemberId),
    /// This data node.
    Node(NodeName),
}

impl Expect {
    fn check(&self, peer: &PeerIdentity) -> Result<(), PeerError> {
        let fine = match (self, &peer.who) {
            (Self::AnyMember, Who::Member(_)) => true,
            (Self::Member(wanted), Who::Member(found)) => wanted == found,
            (Self::Node(wanted), Who::Node(found)) => wanted == found,
            (Self::AnyMember | Self::Member(_), Who::Node(_)) | (Self::Node(_), Who::Member(_)) => false,
        };
        if fine {
            Ok(())
        } else {
            Err(PeerError::Who { found: peer.who.clone(), expected: self.to_string() })
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyMember => f.write_str("a member"),
            Self::Member(id) => write!(f, "member {id}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// How a client proves itself and knows the server.
#[derive(Clone, Debug)]
pub enum ClientTls {
    /// A process of the cluster: both sides show certificates.
    Process {
        /// Its credentials; what is in use when a connection begins.
        credentials: Arc<HotCredentials>,
        /// Whom it calls.
        expect: Expect,
    },
    /// An operator, who has the authorities' file and proves himself by a token with each call. Any member will do.
    Operator {
        /// Whom to trust.
        bundle: Bundle,
        /// The cluster, where the operator named one.
        cluster: Option<ClusterId>,
    },
    /// Somebody who has a join token and nothing else: the member has to show the authority that the token names.
    Joiner {
        /// The cluster that the token is for.
        cluster: ClusterId,
        /// The authority's key.
        fingerprint: Fingerprint,
    },
}

impl ClientTls {
    /// For the next connection.
    pub fn config(&self, clock: &Arc<dyn Clock>) -> Result<Arc<ClientConfig>, TlsError> {
        match self {
            Self::Process { credentials, expect } => credentials.client_config(expect),
            Self::Operator { bundle, cluster } => client::for_operator(bundle, *cluster, Arc::clone(clock)),
            Self::Joiner { cluster, fingerprint } => {
                client::for_joiner(*cluster, *fingerprint, Arc::clone(clock))
            }
        }
    }
}

/// The one source of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The clock that was handed in, as rustls asks for it.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = u64::try_from(self.0.now_us()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(since)))
    }
}

/// What rustls reports of a certificate that we refuse ourselves.
fn refused(error: PeerError) -> rustls::Error {
    rustls::Error::InvalidCertificate(rustls::CertificateError::Other(rustls::OtherError(Arc::new(error))))
}
