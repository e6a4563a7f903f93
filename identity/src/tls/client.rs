//! The caller's side, for each kind of caller.

use std::sync::Arc;

use cluster::ClusterId;
use common::clock::Clock;
use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use super::verify::{ProcessServerVerifier, Trust};
use super::{ALPN_H2, ClockTime, Credentials, Expect, TlsError, provider};
use crate::bundle::Bundle;
use crate::certificate::Fingerprint;

pub(super) fn for_process(
    credentials: &Credentials,
    expect: Expect,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = ProcessServerVerifier::new(
        Trust::Bundle(credentials.bundle.roots()?),
        Some(credentials.identity.cluster),
        expect,
    );
    let own = SingleCertAndKey::from(Arc::clone(&credentials.certified));
    build(&[&TLS13], verifier, Some(own), clock)
}

pub(super) fn for_operator(
    bundle: &Bundle,
    cluster: Option<ClusterId>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    // A data node has a certificate of the same authority; an operator's token is not for it.
    let verifier = ProcessServerVerifier::new(Trust::Bundle(bundle.roots()?), cluster, Expect::AnyMember);
    build(&[&TLS13, &TLS12], verifier, None, clock)
}

pub(super) fn for_joiner(
    cluster: ClusterId,
    fingerprint: Fingerprint,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier =
        ProcessServerVerifier::new(Trust::Fingerprint(fingerprint), Some(cluster), Expect::AnyMember);
    build(&[&TLS13], verifier, None, clock)
}

fn build(
    versions: &[&'static SupportedProtocolVersion],
    verifier: ProcessServerVerifier,
    own: Option<SingleCertAndKey>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(versions)?
        .dangerous() // said of every verifier but rustls's own
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(own)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = Resumption::disabled();
    // Which host is asked for says nothing to a server of ours and is nobody else's business.
    config.enable_sni = false;
    Ok(Arc::new(config))
}
