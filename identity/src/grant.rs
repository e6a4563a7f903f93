//! What a joiner asks to have signed, and what it is granted. Of its request the key alone is taken; names come from us.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use cluster::ClusterId;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
};
use rustls_pki_types::{CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::peer::{PeerIdentity, Who};

/// Bytes of a request. Ours have about three hundred.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// A P-256 point as it stands in a key: a byte that says that it is not compressed, and two coordinates.
const P256_POINT_BYTES: usize = 65;

/// Bytes of a DNS name.
const DNS_NAME_BYTES_MAX: usize = 253;

/// Where a process can be reached: a DNS name or an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Host {
    /// A DNS name, lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a text is no host.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no host name and no address")]
pub struct HostError(String);

impl Host {
    /// The host of `HOST:PORT`, with brackets around an IPv6 address.
    pub fn of_authority(text: &str) -> Result<Self, HostError> {
        let wrong = || HostError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        port.parse::<u16>().map_err(|_| wrong())?;
        match host.strip_prefix('[') {
            Some(address) => {
                let address = address.strip_suffix(']').and_then(|address| address.parse().ok());
                address.map(|address| Self::Address(IpAddr::V6(address))).ok_or_else(wrong)
            }
            None => host.parse(),
        }
    }

    fn san(&self) -> Option<SanType> {
        match self {
            Self::Name(name) => name.as_str().try_into().ok().map(SanType::DnsName),
            // Where somebody listens on every address, nobody can call.
            Self::Address(address) if address.is_unspecified() => None,
            Self::Address(address) => Some(SanType::IpAddress(*address)),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let label = |label: &str| {
            let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
        };
        let numeric =
            text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if text.len() > DNS_NAME_BYTES_MAX || numeric || !text.split('.').all(label) {
            return Err(HostError(text.to_owned()));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => fmt::Display::fmt(address, f),
        }
    }
}

/// Whom a certificate is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The process that holds it.
    pub who: Who,
    /// Where it says that it can be reached. Programs that go by host names go by these; our own go by [`Grant::who`].
    pub hosts: BTreeSet<Host>,
}

impl Grant {
    /// The names in the certificate.
    pub(crate) fn names(&self, cluster: ClusterId) -> Option<Vec<SanType>> {
        let uri = PeerIdentity { cluster, who: self.who.clone() }.to_string();
        let uri = SanType::URI(uri.try_into().ok()?);
        Some(std::iter::once(uri).chain(self.hosts.iter().filter_map(Host::san)).collect())
    }
}

/// Why a request is not signed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Longer than any request of ours.
    #[error("certification request of {bytes} bytes is over the limit of {REQUEST_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// No certification request, or one that does not prove that its sender has the key.
    #[error("verify certification request")]
    Proof(#[source] rcgen::Error),
    /// Another kind of key than ECDSA P-256.
    #[error("certification request is not for an ECDSA P-256 key")]
    Key,
    /// It asks for something that nobody is given.
    #[error("certification request asks for {what}, which it cannot have")]
    TooMuch {
        /// What it asks for.
        what: &'static str,
    },
    /// A new key cannot be made, or its request cannot be written.
    #[error("make a key and its certification request")]
    Make(#[source] rcgen::Error),
}

/// A request that was looked through: its sender has the key, and asks for nothing else.
#[derive(Debug)]
pub struct SigningRequest(pub(crate) CertificateSigningRequestParams);

impl SigningRequest {
    /// Reads a request (PKCS #10, DER) and checks the proof of its key.
    pub fn check(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong { bytes: der.len() });
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
            .map_err(RequestError::Proof)?;
        // The algorithm read is that of the request's signature; what kind of key it is shows in its length.
        let point = request.public_key.der_bytes();
        let p256 = point.len() == P256_POINT_BYTES && point.first() == Some(&4);
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 || !p256 {
            return Err(RequestError::Key);
        }
        let asked = &request.params;
        let too_much = |what| Err(RequestError::TooMuch { what });
        if matches!(asked.is_ca, IsCa::Ca(_)) {
            return too_much("signing others");
        }
        if !asked.subject_alt_names.is_empty() {
            return too_much("names of its own choice");
        }
        if !asked.key_usages.iter().all(|usage| *usage == KeyUsagePurpose::DigitalSignature) {
            return too_much("another use of its key");
        }
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if !asked.extended_key_usages.iter().all(|usage| both.contains(usage)) {
            return too_much("another use of its certificate");
        }
        Ok(Self(request))
    }

    /// The public key that is to be certified.
    pub fn public_key(&self) -> &[u8] {
        self.0.public_key.der_bytes()
    }
}

/// A new key, and the request to have it certified.
pub struct KeyRequest {
    key: Zeroizing<Vec<u8>>,
    request: Vec<u8>,
}

impl KeyRequest {
    /// Makes an ECDSA P-256 key.
    pub fn make() -> Result<Self, RequestError> {
        Self::of(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(RequestError::Make)?)
    }

    /// Asks again for a key that was made before (PKCS #8, DER).
    pub fn again(key: &[u8]) -> Result<Self, RequestError> {
        let key = PrivatePkcs8KeyDer::from(key);
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256);
        Self::of(&pair.map_err(RequestError::Make)?)
    }

    fn of(key: &KeyPair) -> Result<Self, RequestError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(key).map_err(RequestError::Make)?;
        Ok(Self { key: Zeroizing::new(key.serialize_der()), request: request.der().to_vec() })
    }

    /// The request, DER, to be sent.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// The key, to be kept beside the certificate.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.to_vec()).into()
    }
}

impl fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRequest").field("request_bytes", &self.request.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm};

    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        for (text, host) in [
            ("node-1.example.com", Host::Name("node-1.example.com".to_owned())),
            ("LOCALHOST", Host::Name("localhost".to_owned())),
            ("10.0.0.1", Host::Address([10, 0, 0, 1].into())),
            ("::1", Host::Address("::1".parse().unwrap())),
        ] {
            assert_eq!(text.parse(), Ok(host));
        }
        for wrong in
            ["", ".", "a..b", "-a", "a-", "a b", "a:1", "10.0.0.256", "*.example.com", &"x".repeat(64)]
        {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
        assert_eq!(Host::of_authority("[::1]:8083").unwrap().to_string(), "::1");
        assert_eq!(Host::of_authority("data-1:8083").unwrap().to_string(), "data-1");
        for wrong in ["data-1", "data-1:", "data-1:65536", "::1:8083x", "[::1:8083", "[a]:1", ":1"] {
            assert!(Host::of_authority(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_node_that_listens_everywhere_has_no_address_in_its_certificate() {
        let grant = Grant {
            who: Who::Node("a".parse().unwrap()),
            hosts: ["0.0.0.0".parse().unwrap(), "::".parse().unwrap(), "a.example".parse().unwrap()].into(),
        };
        assert_eq!(grant.names(ClusterId::from_bytes([1; 16])).unwrap().len(), 2);
    }

    fn request(
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    fn refusal(der: &[u8]) -> RequestError {
        SigningRequest::check(der).unwrap_err()
    }

    #[test]
    fn our_own_requests_pass() {
        let made = KeyRequest::make().unwrap();
        SigningRequest::check(made.request()).unwrap();
        assert!(!format!("{made:?}").contains("key"));
    }

    #[test]
    fn a_request_may_not_ask_for_more() {
        let ask = |change: fn(&mut CertificateParams)| refusal(&request(&PKCS_ECDSA_P256_SHA256, change));
        let what = |error| {
            let RequestError::TooMuch { what } = error else { panic!("{error:?}") };
            what
        };
        assert_eq!(
            what(ask(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
            "signing others"
        );
        assert_eq!(
            what(ask(|params| {
                let name = SanType::URI("goproxy://x/member/1".try_into().unwrap());
                params.subject_alt_names.push(name);
            })),
            "names of its own choice"
        );
        assert_eq!(
            what(ask(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign])),
            "another use of its key"
        );
        assert_eq!(
            what(ask(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning])),
            "another use of its certificate"
        );
    }

    #[test]
    fn other_kinds_of_keys_are_refused() {
        for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            assert!(matches!(refusal(&request(algorithm, |_| ())), RequestError::Key), "{algorithm:?}");
        }
    }

    #[test]
    fn a_request_has_to_prove_its_key_bit_by_bit() {
        let made = KeyRequest::make().unwrap();
        // The outer header has three bytes, that of the signed part two. Then come twelve bytes of the signature's algorithm
        // and three of its header, which are not signed and may be misspelt without meaning anything else.
        let signed = 5 + usize::from(made.request()[4]);
        for at in (0..signed).chain(signed + 15..made.request().len()) {
            let mut changed = made.request().to_vec();
            changed[at] ^= 1;
            assert!(SigningRequest::check(&changed).is_err(), "byte {at} of {:x?}", made.request());
        }
        assert!(matches!(refusal(b""), RequestError::Proof(_)));
        assert!(matches!(refusal(&vec![0x30; 20_000]), RequestError::TooLong { bytes: 20_000 }));
    }
}
