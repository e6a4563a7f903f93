//! Verifying the other side's certificate. Chains, times and signatures are rustls's work; what is added here is that the
//! certificate has to name a process of the right cluster, and the right one.

use std::fmt;
use std::sync::Arc;

use cluster::ClusterId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::{Expect, provider, refused};
use crate::certificate::Fingerprint;
use crate::peer::PeerIdentity;

/// Certificates that a server may send. A chain of ours has two.
const CHAIN_MAX: usize = 8;

/// Believes a client's certificate if it names a process of the cluster.
#[derive(Debug)]
pub(super) struct ProcessClientVerifier {
    /// Checks the chain.
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    /// Whose processes are believed.
    pub(super) cluster: ClusterId,
}

impl ClientCertVerifier for ProcessClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let peer = PeerIdentity::of_certificate(end_entity).map_err(refused)?;
        peer.expect_cluster(self.cluster).map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Whom a client trusts.
pub(super) enum Trust {
    /// These authorities.
    Bundle(RootCertStore),
    /// The authority with this key, whose certificate the server has to send along.
    Fingerprint(Fingerprint),
}

/// Believes a server's certificate if it names the process that was to be called. The host name that was called does not
/// matter: addresses change and have no owner, names in a cluster do not.
pub(super) struct ProcessServerVerifier {
    trust: Trust,
    cluster: Option<ClusterId>,
    expect: Expect,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ProcessServerVerifier {
    pub(super) fn new(trust: Trust, cluster: Option<ClusterId>, expect: Expect) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { trust, cluster, expect, algorithms }
    }

    fn verify_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let pinned;
        let roots = match &self.trust {
            Trust::Bundle(roots) => roots,
            Trust::Fingerprint(fingerprint) => {
                pinned = pinned_roots(*fingerprint, intermediates)?;
                &pinned
            }
        };
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)
    }
}

/// The authority with the pinned key among those that were sent.
fn pinned_roots(fingerprint: Fingerprint, sent: &[CertificateDer<'_>]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let found = sent
        .iter()
        .find(|certificate| Fingerprint::of_certificate(certificate).is_ok_and(|found| found == fingerprint));
    let found = found.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
    roots.add(found.clone().into_owned())?;
    Ok(roots)
}

impl ServerCertVerifier for ProcessServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.len() >= CHAIN_MAX {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        self.verify_chain(end_entity, intermediates, now)?;
        let peer = PeerIdentity::of_certificate(end_entity).map_err(refused)?;
        if let Some(cluster) = self.cluster {
            peer.expect_cluster(cluster).map_err(refused)?;
        }
        self.expect.check(&peer).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ProcessServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessServerVerifier")
            .field("cluster", &self.cluster)
            .field("expect", &self.expect)
            .finish_non_exhaustive()
    }
}
