//! The listener's side: clients may show a certificate, and one that is shown is verified or the handshake ends.

use std::sync::Arc;

use common::clock::Clock;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};

use super::verify::ProcessClientVerifier;
use super::{ALPN_H2, ClockTime, Credentials, TlsError, provider};

pub(super) fn config(
    credentials: &Credentials,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let roots = Arc::new(credentials.bundle.roots()?);
    let chain =
        WebPkiClientVerifier::builder_with_provider(roots, provider()).allow_unauthenticated().build()?;
    let verifier = ProcessClientVerifier { chain, cluster: credentials.identity.cluster };
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&credentials.certified))));
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    // A session that is resumed is not verified again, neither against the bundle nor against the clock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
