//! Issuing certificates: the cluster's authority, opened with this member's sealing key, signs for who was let in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cluster::command::{AddAuthority, AdmitMember, AdmitNode, Holder, RecordCertificate};
use cluster::record::{AuthorityState, Certificate};
use cluster::{
    Address, Blob, ClusterId, Command, Generation, Hash, IdempotencyKey, LogId, MemberId, NodeName, Serial,
    Timestamp,
};
use identity::{
    Authority, Bundle, CertificateFacts, Grant, Host, Issued, JoinKind, JoinToken, SealingKey, Secret,
    SigningRequest, Who,
};
use proto::{ErrorCode, Fault};
use rustls_pki_types::CertificateDer;

use crate::authorize::{member_actor, node_actor};
use crate::control::Control;
use crate::propose::Wish;
use crate::truth::Shared;

/// What an authority's key is sealed for.
pub(crate) const KEY_PURPOSE: &[u8] = b"goproxy authority key";

/// When a certificate (DER) ends; `None` for what is none.
pub(crate) fn not_after(der: &[u8]) -> Option<Timestamp> {
    let facts = CertificateFacts::of(der).ok()?;
    Some(Timestamp::from_millis(u64::try_from(facts.end_s).ok()?.saturating_mul(1000)))
}

/// A certificate (DER) as PEM; nothing for what is none.
pub(crate) fn pem(der: &[u8]) -> String {
    Bundle::new([CertificateDer::from(der.to_vec())]).map(|bundle| bundle.to_pem()).unwrap_or_default()
}

/// Who wants to be let in.
pub(crate) enum Joiner {
    /// A data node.
    Node {
        /// Under which name.
        name: NodeName,
        /// The hash of the secret that it showed.
        secret: Hash,
        /// Where it is reached.
        rpc: Address,
    },
    /// A control node.
    Member {
        /// Under which number.
        id: MemberId,
        /// The hash of the secret that it showed.
        secret: Hash,
        /// Where it is reached.
        rpc: Address,
        /// The log that it made.
        log: LogId,
    },
}

/// What somebody who was let in gets.
pub(crate) struct Credentials {
    /// His certificate and the one that vouches for it (DER).
    pub(crate) chain: Vec<Bytes>,
    /// Authorities to trust (DER).
    pub(crate) authorities: Vec<Bytes>,
}

/// Signs in the name of the cluster.
pub(crate) struct Issuer {
    cluster: ClusterId,
    shared: Shared,
    sealing: SealingKey,
}

impl Issuer {
    pub(crate) fn new(cluster: ClusterId, shared: Shared, sealing: SealingKey) -> Self {
        Self { cluster, shared, sealing }
    }

    /// The key that opens the authority's, for a member that was let in.
    pub(crate) fn sealing_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.sealing.expose())
    }

    /// A new secret of `parts`. Under an idempotency key it is the same again, whichever member is asked, so that a client that did
    /// not hear the answer hears it when it asks again.
    pub(crate) fn secret(&self, key: Option<&IdempotencyKey>, parts: &[&str]) -> Result<Secret, Fault> {
        let Some(key) = key else {
            return Secret::random().map_err(|_| internal("this system has no random source"));
        };
        let all: Vec<&[u8]> = parts.iter().chain([&key.as_str()]).map(|part| part.as_bytes()).collect();
        self.sealing.derive(&all).map_err(|error| internal(chain(&error)))
    }

    /// A token for a name, as [`Self::secret`].
    pub(crate) fn invite(
        &self,
        kind: JoinKind,
        name: NodeName,
        key: Option<&IdempotencyKey>,
    ) -> Result<JoinToken, Fault> {
        let (authority, _) = self.authority()?;
        let what = match kind {
            JoinKind::Node => "join node",
            JoinKind::Member => "join member",
        };
        let secret = self.secret(key, &[what, name.as_str()])?;
        Ok(JoinToken {
            cluster: self.cluster,
            kind,
            name,
            secret,
            fingerprint: authority.facts().fingerprint,
        })
    }

    /// A new authority, to be added.
    pub(crate) fn next_authority(&self) -> Result<Command, Fault> {
        let authority = Authority::create(self.cluster, now_us()).map_err(|error| internal(chain(&error)))?;
        let sealed = self
            .sealing
            .seal(&authority.private_key(), KEY_PURPOSE)
            .map_err(|error| internal(chain(&error)))?;
        Ok(Command::AddAuthority(AddAuthority {
            certificate: Blob::new(authority.certificate()),
            sealed_key: Blob::new(&sealed),
        }))
    }

    /// Certifies the key of a request.
    fn sign(&self, request: &[u8], who: Who, rpc: &Address) -> Result<(Issued, Certificate), Fault> {
        let invalid = |text: String| Fault::new(ErrorCode::InvalidArgument, text);
        let request = SigningRequest::check(request).map_err(|error| invalid(chain(&error)))?;
        let host = Host::of_authority(rpc.as_str()).map_err(|error| invalid(error.to_string()))?;
        let (authority, generation) = self.authority()?;
        let grant = Grant { who, hosts: BTreeSet::from([host]) };
        let issued = authority.sign(&request, &grant, now_us()).map_err(|error| internal(chain(&error)))?;
        let serial = Serial::parse(issued.facts.serial.trim_start_matches('0'))
            .map_err(|error| internal(error.to_string()))?;
        let expires = Timestamp::from_millis(
            u64::try_from(issued.facts.end_s).unwrap_or_default().saturating_mul(1000),
        );
        Ok((issued, Certificate { serial, expires, authority: generation }))
    }

    /// The authority that signs.
    fn authority(&self) -> Result<(Authority, Generation), Fault> {
        let record = self.shared.read(|state| {
            let mut authorities = state.tables().authorities.values();
            authorities.find(|authority| authority.state == AuthorityState::Current).cloned()
        });
        let record = record.ok_or_else(|| internal("the cluster has no authority that signs"))?;
        let sealed =
            record.sealed_key.as_ref().ok_or_else(|| internal("the authority's key is not there"))?;
        let key =
            self.sealing.open(sealed.as_bytes(), KEY_PURPOSE).map_err(|error| internal(chain(&error)))?;
        let certificate = CertificateDer::from(record.certificate.as_bytes().to_vec());
        let authority = Authority::from_parts(self.cluster, certificate, &key)
            .map_err(|error| internal(chain(&error)))?;
        Ok((authority, record.generation))
    }

    /// All authorities to trust (DER).
    fn authorities(&self) -> Vec<Bytes> {
        self.shared.read(|state| {
            let authorities = state.tables().authorities.values();
            authorities.map(|authority| Bytes::copy_from_slice(authority.certificate.as_bytes())).collect()
        })
    }

    fn credentials(&self, issued: Issued) -> Credentials {
        let chain = issued.chain.into_iter().map(|certificate| Bytes::from(certificate.to_vec())).collect();
        Credentials { chain, authorities: self.authorities() }
    }
}

impl Control {
    /// Lets somebody in who shows the secret that was handed out; again, if the same one asks with the same key.
    pub(crate) async fn admit(
        &self,
        joiner: Joiner,
        request: &[u8],
        until: Instant,
    ) -> Result<Credentials, Fault> {
        let key = Some(key_hash(request)?);
        let (issued, wish) = match joiner {
            Joiner::Node { name, secret, rpc } => {
                let (issued, certificate) = self.issuer.sign(request, Who::Node(name.clone()), &rpc)?;
                let actor = node_actor(&name);
                (issued, Wish::of(actor, Command::AdmitNode(AdmitNode { name, secret, certificate, key })))
            }
            Joiner::Member { id, secret, rpc, log } => {
                let (issued, certificate) = self.issuer.sign(request, Who::Member(id), &rpc)?;
                let actor = member_actor(&self.member_name(id));
                (
                    issued,
                    Wish::of(
                        actor,
                        Command::AdmitMember(AdmitMember { id, secret, rpc, log, certificate, key }),
                    ),
                )
            }
        };
        self.proposer.propose(&wish, until).await?;
        Ok(self.issuer.credentials(issued))
    }

    /// A new certificate for a data node.
    pub(crate) async fn renew_node(
        &self,
        name: &NodeName,
        rpc: &Address,
        request: &[u8],
        until: Instant,
    ) -> Result<Credentials, Fault> {
        let (issued, certificate) = self.issuer.sign(request, Who::Node(name.clone()), rpc)?;
        let command = RecordCertificate { holder: Holder::Node(name.clone()), certificate };
        self.proposer
            .propose(&Wish::of(node_actor(name), Command::RecordCertificate(command)), until)
            .await?;
        Ok(self.issuer.credentials(issued))
    }

    /// A new certificate for a control node.
    pub(crate) async fn renew_member(
        &self,
        id: MemberId,
        request: &[u8],
        until: Instant,
    ) -> Result<Credentials, Fault> {
        let rpc =
            self.shared.read(|state| state.tables().members.get(&id).and_then(|member| member.rpc.clone()));
        let rpc = rpc.ok_or_else(|| Fault::new(ErrorCode::NotFound, format!("there is no member {id}")))?;
        let (issued, certificate) = self.issuer.sign(request, Who::Member(id), &rpc)?;
        let command = RecordCertificate { holder: Holder::Member(id), certificate };
        let actor = member_actor(&self.member_name(id));
        self.proposer.propose(&Wish::of(actor, Command::RecordCertificate(command)), until).await?;
        Ok(self.issuer.credentials(issued))
    }
}

/// The hash of the key that a request wants certified.
fn key_hash(request: &[u8]) -> Result<Hash, Fault> {
    let request = SigningRequest::check(request)
        .map_err(|error| Fault::new(ErrorCode::InvalidArgument, chain(&error)))?;
    Ok(Hash::of(request.public_key()))
}

/// The wall clock, in microseconds since the Unix epoch.
pub(crate) fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

fn internal(text: impl Into<String>) -> Fault {
    Fault::new(ErrorCode::Internal, text)
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    common::error_chain::ErrorChain::new(error).to_string()
}
