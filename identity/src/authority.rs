//! The cluster's authority: a self-signed certificate, its key, and what it signs.

use std::time::Duration;

use cluster::ClusterId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::certificate::{CertificateError, CertificateFacts, Fingerprint, is_authority};
use crate::grant::{Grant, SigningRequest};

/// How long an authority is good.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// How long a certificate of a node or member is good.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_hours(30 * 24);

/// How far clocks in a cluster may be apart: certificates begin that long before they are made.
pub const CLOCK_SKEW: Duration = Duration::from_hours(1);

/// Bytes of a serial number: random, so that none comes twice.
const SERIAL_BYTES: usize = 16;

/// Why there is no authority, or why it signed nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The time handed in is outside what a certificate can hold.
    #[error("time {now_us} µs cannot stand in a certificate")]
    Time {
        /// The time.
        now_us: i64,
    },
    /// The authority itself has ended, or not begun.
    #[error("the cluster's authority is not in force at {now_s} s")]
    NotInForce {
        /// The time, in seconds since the Unix epoch.
        now_s: i64,
    },
    /// A name cannot stand in a certificate.
    #[error("a name cannot stand in a certificate")]
    Name,
    /// The stored certificate cannot be read.
    #[error("read the authority's certificate")]
    Certificate(#[from] CertificateError),
    /// The stored certificate may not sign others.
    #[error("the certificate is not an authority's")]
    NoAuthority,
    /// The stored key is not that of the certificate.
    #[error("the authority's key does not belong to its certificate")]
    Mismatch,
    /// The stored key cannot be used, or signing fails.
    #[error("sign")]
    Sign(#[from] rcgen::Error),
    /// The system has no random source.
    #[error("draw a serial number")]
    Random,
}

/// An authority with its key.
pub struct Authority {
    cluster: ClusterId,
    certificate: CertificateDer<'static>,
    facts: CertificateFacts,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that was signed.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate and the authority's. The latter is sent along so that a joiner can compare it with what its token names.
    pub chain: Vec<CertificateDer<'static>>,
    /// What stands in it.
    pub facts: CertificateFacts,
}

impl Authority {
    /// Makes a new authority for `cluster`, in force from now on.
    pub fn create(cluster: ClusterId, now_us: i64) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let now = instant(now_us)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // A piece of the fingerprint keeps the old and the new authority of one cluster apart for people.
        let fingerprint: String =
            Fingerprint::of_key_info(&key.subject_public_key_info()).to_string().chars().take(8).collect();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("goproxy cluster {cluster} {fingerprint}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial_number()?);
        params.not_before = now - CLOCK_SKEW;
        params.not_after = now + AUTHORITY_LIFETIME;
        let certificate = params.self_signed(&key)?.der().clone();
        Self::from_parts(cluster, certificate, &key.serialize_der())
    }

    /// An authority that was made before: its certificate, DER, and its key, PKCS #8.
    pub fn from_parts(
        cluster: ClusterId,
        certificate: CertificateDer<'static>,
        key: &[u8],
    ) -> Result<Self, AuthorityError> {
        let facts = CertificateFacts::of(&certificate)?;
        if !is_authority(&certificate)? {
            return Err(AuthorityError::NoAuthority);
        }
        let key =
            KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &PKCS_ECDSA_P256_SHA256)?;
        if Fingerprint::of_key_info(&key.subject_public_key_info()) != facts.fingerprint {
            return Err(AuthorityError::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { cluster, certificate, facts, issuer })
    }

    /// Its certificate, to be recorded and trusted.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What stands in its certificate.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Its key, PKCS #8, to be sealed and recorded.
    pub fn private_key(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.issuer.key().serialize_der())
    }

    /// Certifies the key of `request` for whom `grant` names, from now on.
    pub fn sign(
        &self,
        request: &SigningRequest,
        grant: &Grant,
        now_us: i64,
    ) -> Result<Issued, AuthorityError> {
        let now = instant(now_us)?;
        let now_s = now.unix_timestamp();
        if !(self.facts.begin_s..self.facts.end_s).contains(&now_s) {
            return Err(AuthorityError::NotInForce { now_s });
        }
        // Nothing is good for longer than what vouches for it.
        let end = OffsetDateTime::from_unix_timestamp(self.facts.end_s)
            .map_or(now + CERTIFICATE_LIFETIME, |end| end.min(now + CERTIFICATE_LIFETIME));
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, grant.who.to_string());
        params.subject_alt_names = grant.names(self.cluster).ok_or(AuthorityError::Name)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Every process is called and calls.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial_number()?);
        params.not_before = now - CLOCK_SKEW;
        params.not_after = end;
        let certificate = params.signed_by(&request.0.public_key, &self.issuer)?.der().clone();
        let facts = CertificateFacts::of(&certificate)?;
        Ok(Issued { chain: vec![certificate, self.certificate.clone()], facts })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// When a certificate is to be renewed, in microseconds since the Unix epoch: when two thirds of its time are over, so that
/// the control plane may be gone for the last third.
pub fn renew_at_us(facts: &CertificateFacts) -> i64 {
    let lifetime_s = facts.end_s.saturating_sub(facts.begin_s);
    facts.begin_s.saturating_add(lifetime_s / 3 * 2).saturating_mul(1_000_000)
}

fn instant(now_us: i64) -> Result<OffsetDateTime, AuthorityError> {
    let now = OffsetDateTime::from_unix_timestamp(now_us.div_euclid(1_000_000)).ok();
    // A certificate's years have four digits, and there is to be room for the lifetime of an authority.
    now.filter(|now| (1951..9900).contains(&now.year())).ok_or(AuthorityError::Time { now_us })
}

fn serial_number() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    // Positive, and of this length in every spelling.
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::KeyRequest;
    use crate::peer::{PeerIdentity, Who};

    const NOW_US: i64 = 1_893_456_000_000_000;
    const DAY_S: i64 = 86_400;

    fn cluster() -> ClusterId {
        ClusterId::from_bytes([7; 16])
    }

    fn grant() -> Grant {
        Grant { who: Who::Node("data-1".parse().unwrap()), hosts: ["127.0.0.1".parse().unwrap()].into() }
    }

    fn sign(authority: &Authority, now_us: i64) -> Result<Issued, AuthorityError> {
        let made = KeyRequest::make().unwrap();
        authority.sign(&SigningRequest::check(made.request()).unwrap(), &grant(), now_us)
    }

    #[test]
    fn what_is_signed_names_whom_we_granted_it_to() {
        let authority = Authority::create(cluster(), NOW_US).unwrap();
        let issued = sign(&authority, NOW_US).unwrap();
        let peer = PeerIdentity { cluster: cluster(), who: Who::Node("data-1".parse().unwrap()) };
        assert_eq!(issued.facts.peer, Some(peer));
        assert_eq!(issued.chain[1], *authority.certificate());
        assert!(is_authority(&issued.chain[1]).unwrap() && !is_authority(&issued.chain[0]).unwrap());
        assert_ne!(issued.facts.serial, sign(&authority, NOW_US).unwrap().facts.serial);
        assert_eq!(issued.facts.serial.len(), 2 * SERIAL_BYTES);
    }

    #[test]
    fn certificates_begin_before_now_and_end_in_time() {
        let now_s = NOW_US / 1_000_000;
        let authority = Authority::create(cluster(), NOW_US).unwrap();
        assert_eq!(authority.facts().begin_s, now_s - 3_600);
        assert_eq!(authority.facts().end_s, now_s + 3_650 * DAY_S);
        let facts = sign(&authority, NOW_US).unwrap().facts;
        assert_eq!((facts.begin_s, facts.end_s), (now_s - 3_600, now_s + 30 * DAY_S));
        let renew_s = renew_at_us(&facts) / 1_000_000;
        assert!((19 * DAY_S..21 * DAY_S).contains(&(renew_s - now_s)), "{renew_s}");

        // Near its own end an authority signs for no longer than that, and then nothing.
        let end_s = authority.facts().end_s;
        assert_eq!(sign(&authority, (end_s - DAY_S) * 1_000_000).unwrap().facts.end_s, end_s);
        for outside_s in [end_s, now_s - 3_601] {
            let refused = sign(&authority, outside_s * 1_000_000).unwrap_err();
            assert!(matches!(refused, AuthorityError::NotInForce { .. }), "{refused:?}");
        }
        for nonsense in [i64::MIN, i64::MAX] {
            assert!(matches!(Authority::create(cluster(), nonsense), Err(AuthorityError::Time { .. })));
        }
    }

    #[test]
    fn an_authority_comes_back_from_its_parts_and_from_no_others() {
        let authority = Authority::create(cluster(), NOW_US).unwrap();
        let other = Authority::create(cluster(), NOW_US).unwrap();
        let parts = |certificate: &CertificateDer<'static>, key: &[u8]| {
            Authority::from_parts(cluster(), certificate.clone(), key)
        };
        let again = parts(authority.certificate(), &authority.private_key()).unwrap();
        assert_eq!(again.facts(), authority.facts());
        sign(&again, NOW_US).unwrap();
        assert!(matches!(
            parts(authority.certificate(), &other.private_key()),
            Err(AuthorityError::Mismatch)
        ));
        let issued = sign(&authority, NOW_US).unwrap();
        assert!(matches!(
            parts(&issued.chain[0], &authority.private_key()),
            Err(AuthorityError::NoAuthority)
        ));
        assert!(matches!(parts(authority.certificate(), b"x"), Err(AuthorityError::Sign(_))));
        assert!(!format!("{authority:?}").contains("key"));
    }
}
