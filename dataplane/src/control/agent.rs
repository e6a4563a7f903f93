//! The node's side of the control plane as a whole: built from a directory, run beside serving.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::Clock;
use common::error_chain::ErrorChain;
use identity::{
    Bundle, BundleError, CredentialFiles, FilesError, HotCredentials, KeyRequest, RequestError,
    StoredCredentials, TlsError, renew_at_us,
};
use proto::Fault;
use proto::node::v1::RenewCertificateRequest;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::Holdings;
use super::beat::Heart;
use super::follow::Follower;
use super::join::{JoinError, NodeBegin, NodeIdentity, prepare};
use super::link::Link;
use super::metrics::ControlFamilies;
use super::views::Views;

/// Between two looks at the certificate and the authorities.
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest that a renewal may take.
const RENEW_TIMEOUT: Duration = Duration::from_secs(10);

/// What decides how the agent works.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The folder of its credentials and of the view.
    pub folder: PathBuf,
    /// Who the node is.
    pub identity: NodeIdentity,
}

/// Follows the control plane and says that the node lives.
pub struct Agent {
    config: AgentConfig,
    link: Arc<Link>,
    views: Arc<Views>,
    families: Arc<ControlFamilies>,
    incarnation: u64,
}

/// Why credentials were not renewed or authorities not taken up.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("make a key")]
    Key(#[from] RequestError),
    #[error("the control node says")]
    Refused(#[from] Fault),
    #[error("no control node is known")]
    Nobody,
    #[error("use the cluster's authorities")]
    Bundle(#[from] BundleError),
    #[error("write credentials")]
    Files(#[from] FilesError),
    #[error("use the new credentials")]
    Tls(#[from] TlsError),
}

impl Agent {
    /// Takes up the node in the folder, or joins. A view that is damaged is given up: the next one comes as a whole.
    pub async fn build(
        config: AgentConfig,
        begin: NodeBegin,
        clock: Arc<dyn Clock>,
        families: Arc<ControlFamilies>,
    ) -> Result<Self, JoinError> {
        let (credentials, servers) = prepare(&config.folder, &config.identity, begin, &clock).await?;
        let credentials = HotCredentials::new(credentials, Arc::clone(&clock)).map_err(|source| {
            JoinError::Files(FilesError::Unusable { folder: config.folder.clone(), source })
        })?;
        let views = Views::open(&config.folder, families.view_age.clone()).unwrap_or_else(|error| {
            tracing::warn!(error = %ErrorChain::new(&error), "what was known of the cluster is given up");
            Views::empty(&config.folder, families.view_age.clone())
        });
        let views = Arc::new(views);
        if let Some(view) = views.current() {
            families.revision.set(i64::try_from(view.revision().get()).unwrap_or(i64::MAX));
            families.epoch.set(i64::try_from(view.transition().current.get()).unwrap_or(i64::MAX));
        }
        families.view_age.begin(None);
        let incarnation = u64::try_from(clock.now_us()).unwrap_or_default();
        let link = Arc::new(Link::new(credentials, clock, Arc::clone(&views), servers));
        Ok(Self { config, link, views, families, incarnation })
    }

    /// What the cluster agrees on, as it changes.
    pub fn views(&self) -> Arc<Views> {
        Arc::clone(&self.views)
    }

    /// What this node proves with who it is.
    pub fn credentials(&self) -> Arc<HotCredentials> {
        Arc::clone(&self.link.credentials)
    }

    /// Works until `stop`. `holdings` is what the node stores.
    pub async fn run(self, holdings: Arc<dyn Holdings>, stop: CancellationToken) {
        let follower = Follower {
            link: Arc::clone(&self.link),
            views: Arc::clone(&self.views),
            families: Arc::clone(&self.families),
        };
        let heart = Heart {
            link: Arc::clone(&self.link),
            views: Arc::clone(&self.views),
            identity: self.config.identity.clone(),
            families: Arc::clone(&self.families),
            holdings,
            incarnation: self.incarnation,
        };
        tokio::join!(follower.run(stop.clone()), heart.run(stop.clone()), self.keep(stop));
    }

    /// Keeps certificate and authorities in force.
    async fn keep(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.follow_authorities() {
                tracing::warn!(error = %ErrorChain::new(&error), "failed to take up the cluster's authorities");
            }
            if self.renewal_is_due() {
                match stop.run_until_cancelled(self.renew()).await {
                    None => return,
                    Some(Ok(())) => tracing::info!("this node's certificate was renewed"),
                    Some(Err(error)) => {
                        tracing::warn!(error = %ErrorChain::new(&error), "failed to renew this node's certificate");
                    }
                }
            }
        }
    }

    fn follow_authorities(&self) -> Result<(), KeepError> {
        let Some(view) = self.views.current() else { return Ok(()) };
        let recorded: Vec<_> = view
            .authorities()
            .map(|(_, authority)| CertificateDer::from(authority.certificate.as_bytes().to_vec()))
            .collect();
        if self.link.credentials.current().bundle().certificates() == recorded.as_slice() {
            return Ok(());
        }
        let files = CredentialFiles::new(&self.config.folder);
        files.store_bundle(&Bundle::new(recorded)?)?;
        if let Some(credentials) = files.load()? {
            self.link.credentials.swap(credentials)?;
        }
        Ok(())
    }

    /// Whether two thirds of the certificate's time are over, or another authority signs.
    fn renewal_is_due(&self) -> bool {
        let current = self.link.credentials.current();
        let signs_no_more = self.views.current().is_some_and(|view| {
            let held = view.node(&self.config.identity.name).and_then(|node| node.certificate.as_ref());
            let signer = held
                .and_then(|held| view.authorities().find(|(generation, _)| **generation == held.authority));
            signer.is_some_and(|(_, signer)| signer.state == cluster::record::AuthorityState::Retiring)
        });
        signs_no_more || self.link.clock.now_us() >= renew_at_us(current.facts())
    }

    async fn renew(&self) -> Result<(), KeepError> {
        let key = KeyRequest::make()?;
        let request = RenewCertificateRequest {
            certificate_request: Bytes::copy_from_slice(key.request()),
            rpc_address: self.config.identity.rpc.to_string(),
        };
        let mut last = KeepError::Nobody;
        for address in self.link.members(0) {
            let Some(mut client) = self.link.client(&address) else { continue };
            let mut request = tonic::Request::new(request.clone());
            request.set_timeout(RENEW_TIMEOUT);
            match client.renew_certificate(request).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let certificates =
                        |all: Vec<Bytes>| all.into_iter().map(|der| CertificateDer::from(der.to_vec()));
                    let stored = StoredCredentials {
                        chain: certificates(answer.certificate_chain).collect(),
                        key: key.private_key(),
                        bundle: Bundle::new(certificates(answer.authorities))?,
                    };
                    let credentials = CredentialFiles::new(&self.config.folder).store(&stored)?;
                    self.link.credentials.swap(credentials)?;
                    self.link.reconnect();
                    return Ok(());
                }
                Err(status) => last = Fault::of_status(&status).into(),
            }
        }
        Err(last)
    }
}
