//! Certificates made for a test, and TLS configurations that trust only them.

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A certificate authority.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for `localhost` and 127.0.0.1, and its key, in PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new authority.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("generate a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        let certificate = params.self_signed(&key).expect("sign");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A new certificate of this authority.
    pub fn issue(&self) -> Identity {
        let key = KeyPair::generate().expect("generate a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("sign");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes the authority's certificate to a file.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join("ca.pem");
        std::fs::write(&path, self.certificate.pem()).expect("write the authority");
        path
    }

    /// A client that trusts this authority and offers these protocols by ALPN.
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        install_provider();
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("add the authority");
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// Writes `cert.pem` and `key.pem`, each at once, and returns their paths.
    pub fn write(&self, directory: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        for (path, text) in [(&key, &self.key), (&certificate, &self.certificate)] {
            let new = path.with_extension("new");
            std::fs::write(&new, text).expect("write PEM");
            // A key that others can read is refused.
            std::fs::set_permissions(&new, Permissions::from_mode(0o600)).expect("close PEM to others");
            std::fs::rename(&new, path).expect("put PEM in place");
        }
        (certificate, key)
    }

    /// A server that shows this certificate.
    pub fn server(&self) -> Arc<ServerConfig> {
        install_provider();
        let (certificate, key) = self.parsed();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        Arc::new(config.expect("server configuration"))
    }

    /// The certificate and its key, as rustls has them.
    pub fn parsed(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("certificate");
        (certificate, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("key"))
    }

    /// DER of the certificate.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("certificate").as_ref().to_vec()
    }
}

/// Sets the TLS provider of this process, unless it is set.
pub fn install_provider() {
    // A second call in the same process is refused; the first provider stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
