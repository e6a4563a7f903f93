//! Who is who in a cluster: its authority, the certificates that it signs, the tokens of joiners and operators, and TLS between
//! all of them. What each may do is decided by those who ask; nothing here knows of calls, roles or policy.
//!
//! Invariant: a name that is handed out as a peer's ([`PeerIdentity`], [`Caller`]) was signed by an authority of this cluster
//! and stands in a certificate that is in force, or comes with a token's secret that is still to be checked.

#![forbid(unsafe_code)]

mod authority;
mod bundle;
mod caller;
mod certificate;
mod dial;
mod files;
mod grant;
mod join_token;
mod listen;
mod operator_token;
mod peer;
mod seal;
mod secret;
mod tls;

pub use authority::{
    AUTHORITY_LIFETIME, Authority, AuthorityError, CERTIFICATE_LIFETIME, CLOCK_SKEW, Issued, renew_at_us,
};
pub use bundle::{Bundle, BundleError};
pub use caller::{Caller, CallerLayer, CallerService};
pub use certificate::{CertificateError, CertificateFacts, Fingerprint};
pub use dial::{Connector, DialError, KeepAlive};
pub use files::{CredentialFiles, FilesError, StoredCredentials};
pub use grant::{Grant, Host, HostError, KeyRequest, RequestError, SigningRequest};
pub use join_token::{JoinKind, JoinToken, JoinTokenError};
pub use listen::{Connection, ConnectionInfo, Incoming, ListenLimits, accept};
pub use operator_token::{OperatorToken, OperatorTokenError, TokenId};
pub use peer::{PeerError, PeerIdentity, Who};
pub use seal::{SealError, SealingKey};
pub use secret::{Secret, SecretHash, random_cluster_id};
pub use tls::{ClientTls, Credentials, Expect, HotCredentials, TlsError};
