//! Reading certificates. What is read here was verified elsewhere or is about to be; nothing follows from it alone.

use std::fmt;

use ring::digest::{SHA256, digest};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::peer::PeerIdentity;
use crate::secret::hex;

/// Bytes of a certificate that is looked at. Ours have less than a thousand.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 64 << 10;

/// Why bytes are no certificate that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertificateError {
    /// Longer than any certificate.
    #[error("certificate of {bytes} bytes is over the limit of {CERTIFICATE_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// No X.509 certificate in DER, or more than that.
    #[error("not a certificate")]
    Form,
}

/// SHA-256 of a certificate's public key with its algorithm (`SubjectPublicKeyInfo`, DER): stays with a key whatever is
/// certified of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate, DER.
    pub fn of_certificate(der: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self::of_key_info(parse(der)?.public_key().raw))
    }

    pub(crate) fn of_key_info(key_info: &[u8]) -> Self {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, key_info).as_ref());
        Self(fingerprint)
    }

    /// The fingerprint with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an operator wants to know of a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// When it begins, in seconds since the Unix epoch.
    pub begin_s: i64,
    /// When it ends, in seconds since the Unix epoch.
    pub end_s: i64,
    /// Its key's fingerprint.
    pub fingerprint: Fingerprint,
    /// Whose it is, where it is a process's.
    pub peer: Option<PeerIdentity>,
}

impl CertificateFacts {
    /// Reads a certificate, DER.
    pub fn of(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse(der)?;
        let validity = certificate.validity();
        Ok(Self {
            serial: hex(certificate.raw_serial()),
            begin_s: validity.not_before.timestamp(),
            end_s: validity.not_after.timestamp(),
            fingerprint: Fingerprint::of_key_info(certificate.public_key().raw),
            peer: PeerIdentity::of_certificate(der).ok(),
        })
    }
}

/// Whether a certificate may sign others.
pub(crate) fn is_authority(der: &[u8]) -> Result<bool, CertificateError> {
    Ok(parse(der)?.is_ca())
}

/// The URIs among a certificate's names.
pub(crate) fn uris(der: &[u8]) -> Result<Vec<String>, CertificateError> {
    let certificate = parse(der)?;
    let mut uris = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
            uris.extend(names.general_names.iter().filter_map(uri));
        }
    }
    Ok(uris)
}

fn uri(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(CertificateError::TooLong { bytes: der.len() });
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(CertificateError::Form),
    }
}
