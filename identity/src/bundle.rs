//! The authorities that a cluster trusts: one, or two and more while they change.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::certificate::{CertificateError, CertificateFacts, is_authority};

/// Authorities of a bundle. While they change there are two; whoever has many forgot to drop the old ones.
const AUTHORITIES_MAX: usize = 16;

/// Why certificates make no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Nobody is trusted.
    #[error("no authority at all")]
    Empty,
    /// More than anybody has.
    #[error("more than {AUTHORITIES_MAX} authorities")]
    TooMany,
    /// No PEM.
    #[error("read PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// One of them is no certificate.
    #[error("read authority")]
    Certificate(#[from] CertificateError),
    /// One of them may not sign.
    #[error("a certificate that is no authority's")]
    NoAuthority,
    /// One of them cannot be used.
    #[error("use authority")]
    Unusable(#[source] rustls::Error),
}

/// Authorities to trust. There is one at least.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle(Vec<CertificateDer<'static>>);

impl Bundle {
    /// A bundle of these certificates, DER. Whoever comes twice stands in it once.
    pub fn new(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<Self, BundleError> {
        let mut bundle: Vec<CertificateDer<'static>> = Vec::new();
        for certificate in certificates {
            if !is_authority(&certificate)? {
                return Err(BundleError::NoAuthority);
            }
            if !bundle.contains(&certificate) {
                bundle.push(certificate);
            }
            if bundle.len() > AUTHORITIES_MAX {
                return Err(BundleError::TooMany);
            }
        }
        if bundle.is_empty() {
            return Err(BundleError::Empty);
        }
        Ok(Self(bundle))
    }

    /// A bundle of the certificates in a PEM file's text.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(pem).take(AUTHORITIES_MAX + 1).collect();
        Self::new(certificates.map_err(BundleError::Pem)?)
    }

    /// The same as PEM.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// The certificates, DER.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// What stands in each.
    pub fn facts(&self) -> Result<Vec<CertificateFacts>, CertificateError> {
        self.0.iter().map(|certificate| CertificateFacts::of(certificate)).collect()
    }

    pub(crate) fn roots(&self) -> Result<RootCertStore, BundleError> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.0 {
            roots.add(certificate.clone()).map_err(BundleError::Unusable)?;
        }
        Ok(roots)
    }
}

/// PEM of one thing (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + "-----END " + label + "-----\n"
}

#[cfg(test)]
mod tests {
    use cluster::ClusterId;

    use super::*;
    use crate::authority::Authority;

    fn authority() -> Authority {
        Authority::create(ClusterId::from_bytes([7; 16]), 1_893_456_000_000_000).unwrap()
    }

    #[test]
    fn bundles_survive_pem_and_hold_each_authority_once() {
        let (one, two) = (authority(), authority());
        let both = [&one, &two, &one].map(|authority| authority.certificate().clone());
        let bundle = Bundle::new(both).unwrap();
        assert_eq!(bundle.certificates().len(), 2);
        assert_eq!(Bundle::from_pem(bundle.to_pem().as_bytes()).unwrap(), bundle);
        assert_eq!(bundle.facts().unwrap()[1], *two.facts());
        assert_eq!(bundle.roots().unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_authority_is_trusted_by_nobody() {
        assert!(matches!(Bundle::from_pem(b""), Err(BundleError::Empty)));
        assert!(matches!(Bundle::from_pem(b"-----BEGIN CERTIFICATE-----\nAA"), Err(BundleError::Pem(_))));
        let wrong = Bundle::new([CertificateDer::from(b"x".to_vec())]);
        assert!(matches!(wrong, Err(BundleError::Certificate(_))));
    }
}
