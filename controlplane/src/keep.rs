//! What a member does for itself: it makes the cluster that it was begun for, says where it is, follows where the others are, and
//! keeps its certificate and its authorities in force.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::command::MoveMember;
use cluster::record::AuthorityState;
use cluster::{Address, Command, Proposal};
use common::clock::Clock;
use identity::{Bundle, CredentialFiles, HotCredentials, KeyRequest, StoredCredentials, renew_at_us};
use proto::Fault;
use proto::raft::v1::{Envelope, RenewMemberCertificateRequest};
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::authorize::member_actor;
use crate::control::Control;
use crate::propose::Wish;
use crate::raft::Role;
use crate::transport::GrpcTransport;

/// Between two looks at certificate, authorities and address.
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest that something may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// See the head of this file.
pub(crate) struct Keeper {
    pub(crate) control: Arc<Control>,
    pub(crate) credentials: Arc<HotCredentials>,
    pub(crate) transport: GrpcTransport,
    pub(crate) folder: PathBuf,
    pub(crate) shown: PathBuf,
    pub(crate) rpc: Address,
    pub(crate) bootstrap: Option<(PathBuf, Proposal)>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Keeper {
    /// Keeps until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        if let Some(status) = self.control.raft.status().await
            && status.members.voters.iter().eq([&self.control.me.get()])
        {
            // Nobody else could be asked, so there is nothing to wait for.
            self.control.raft.campaign();
        }
        if let Some((path, proposal)) = self.bootstrap.take()
            && stop.run_until_cancelled(self.make_cluster(&path, &proposal)).await.is_none()
        {
            return;
        }
        let mut applied = self.control.shared.subscribe();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            applied.borrow_and_update();
            self.follow_addresses();
            tokio::select! {
                changed = applied.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                _ = ticks.tick() => {
                    if stop.run_until_cancelled(self.look_after_itself()).await.is_none() {
                        return;
                    }
                }
                () = stop.cancelled() => return,
            }
        }
    }

    /// Proposes what makes the cluster until it is there.
    async fn make_cluster(&self, path: &PathBuf, proposal: &Proposal) {
        let mut leadership = self.control.raft.leadership();
        while self.control.shared.read(|state| state.tables().cluster.is_none()) {
            if leadership.wait_for(|leadership| leadership.role == Role::Leader).await.is_err() {
                return;
            }
            if let Err(failure) = self.control.proposer.local(proposal, Instant::now() + TIMEOUT).await {
                tracing::warn!(fault = %failure.fault, "the cluster was not made yet");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "failed to remove what made the cluster");
        }
    }

    fn follow_addresses(&self) {
        let addresses: Vec<_> = self.control.shared.read(|state| {
            let members = state.tables().members.values().filter(|member| member.state.is_in_group());
            members.filter_map(|member| Some((member.id, member.rpc.clone()?))).collect()
        });
        // A member that has just joined knows nobody before its first snapshot: whoever calls it is answered on that connection.
        if addresses.is_empty() {
            return;
        }
        let ids: Vec<_> = addresses.iter().map(|(id, _)| *id).collect();
        self.control.peers.update(addresses);
        self.transport.retain(|member| ids.contains(&member));
    }

    async fn look_after_itself(&self) {
        if let Err(fault) = self.say_where().await {
            tracing::debug!(%fault, "failed to say where this member is");
        }
        if let Err(error) = self.follow_authorities() {
            tracing::warn!(error = %common::error_chain::ErrorChain::new(&error), "failed to take up the cluster's authorities");
        }
        if self.renewal_is_due()
            && let Err(fault) = self.renew().await
        {
            tracing::warn!(%fault, "failed to renew this member's certificate");
        }
    }

    /// Records where this member is reached, should that have changed.
    async fn say_where(&self) -> Result<(), Fault> {
        let id = self.control.me;
        let moved = self.control.shared.read(|state| {
            let member = state.tables().members.get(&id);
            member.is_some_and(|member| member.state.is_in_group() && member.rpc.as_ref() != Some(&self.rpc))
        });
        if !moved {
            return Ok(());
        }
        let command = Command::MoveMember(MoveMember { id, rpc: self.rpc.clone() });
        let wish = Wish::of(member_actor(&self.control.name), command);
        self.control.proposer.propose(&wish, Instant::now() + TIMEOUT).await.map(|_| ())
    }

    /// Trusts whom the cluster trusts, on disk as well.
    fn follow_authorities(&self) -> Result<(), KeepError> {
        let recorded: Vec<_> = self.control.shared.read(|state| {
            let authorities = state.tables().authorities.values();
            authorities
                .map(|authority| CertificateDer::from(authority.certificate.as_bytes().to_vec()))
                .collect()
        });
        let current = self.credentials.current();
        if recorded.is_empty() || current.bundle().certificates() == recorded.as_slice() {
            return Ok(());
        }
        let bundle = Bundle::new(recorded)?;
        let files = CredentialFiles::new(&self.folder);
        files.store_bundle(&bundle)?;
        CredentialFiles::new(&self.shown).store_bundle(&bundle)?;
        if let Some(credentials) = files.load()? {
            self.credentials.swap(credentials)?;
        }
        tracing::info!("the cluster's authorities have changed");
        Ok(())
    }

    /// Whether two thirds of the certificate's time are over, or another authority signs.
    fn renewal_is_due(&self) -> bool {
        let current = self.credentials.current();
        let signs_no_more = self.control.shared.read(|state| {
            let tables = state.tables();
            let held = tables.members.get(&self.control.me).and_then(|member| member.certificate.as_ref());
            let signer = held.and_then(|held| tables.authorities.get(&held.authority));
            signer.is_some_and(|signer| signer.state == AuthorityState::Retiring)
        });
        signs_no_more || self.clock.now_us() >= renew_at_us(current.facts())
    }

    async fn renew(&self) -> Result<(), Fault> {
        let internal = |error: &(dyn std::error::Error + 'static)| {
            Fault::new(proto::ErrorCode::Internal, common::error_chain::ErrorChain::new(error).to_string())
        };
        let key = KeyRequest::make().map_err(|error| internal(&error))?;
        let deadline = Instant::now() + TIMEOUT;
        let leader = self.control.raft.leadership().borrow().leader;
        let (chain, authorities) = match leader {
            Some(leader) if leader != self.control.me => {
                let unknown = || Fault::new(proto::ErrorCode::NoQuorum, "the leader's address is not known");
                let mut client = self.control.peers.raft(leader).ok_or_else(unknown)?;
                let envelope = Envelope {
                    cluster_id: Bytes::copy_from_slice(self.control.cluster.as_bytes()),
                    from_member_id: self.control.me.get(),
                    to_member_id: leader.get(),
                };
                let request = RenewMemberCertificateRequest {
                    envelope: Some(envelope),
                    certificate_request: Bytes::copy_from_slice(key.request()),
                };
                let mut request = tonic::Request::new(request);
                request.set_timeout(TIMEOUT);
                let answer = client.renew_member_certificate(request).await;
                let answer = answer.map_err(|status| Fault::of_status(&status))?.into_inner();
                (answer.certificate_chain, answer.authorities)
            }
            Some(_) | None => {
                let issued = self.control.renew_member(self.control.me, key.request(), deadline).await?;
                (issued.chain, issued.authorities)
            }
        };
        let certificates = |all: Vec<Bytes>| all.into_iter().map(|der| CertificateDer::from(der.to_vec()));
        let bundle = Bundle::new(certificates(authorities)).map_err(|error| internal(&error))?;
        let stored =
            StoredCredentials { chain: certificates(chain).collect(), key: key.private_key(), bundle };
        let credentials =
            CredentialFiles::new(&self.folder).store(&stored).map_err(|error| internal(&error))?;
        self.credentials.swap(credentials).map_err(|error| internal(&error))?;
        tracing::info!("this member's certificate was renewed");
        Ok(())
    }
}

/// Why authorities were not taken up.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    /// They make no bundle.
    #[error("use the cluster's authorities")]
    Bundle(#[from] identity::BundleError),
    /// They cannot be written.
    #[error("write the cluster's authorities")]
    Files(#[from] identity::FilesError),
    /// TLS refuses them.
    #[error("trust the cluster's authorities")]
    Tls(#[from] identity::TlsError),
}
