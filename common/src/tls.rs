//! TLS for listeners: a rustls server configuration from PEM files that follows the files when they change.
//!
//! A listener asks [`ServerTls::config`] for each new connection, so a reload never touches an old one.
//! Invariant: [`ServerTls::config`] is always a configuration that was whole and valid; new files that are not
//! leave it as it is.

mod expiry;
mod pem;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error_chain::ErrorChain;

/// How often the files are looked at.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Protocols offered by ALPN, the preferred one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where certificate, key and, for mutual TLS, the clients' CA are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the certificate chain, the server's own certificate first.
    pub cert: PathBuf,
    /// PEM file with the private key; it must not be readable by everybody.
    pub key: PathBuf,
    /// PEM file with the authorities whose clients may connect. With it, a client must show a certificate.
    pub client_ca: Option<PathBuf>,
}

/// Why files make no TLS configuration.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is far larger than any PEM file.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        limit: u64,
    },
    /// The private key may be read by every user of the machine.
    #[error("private key {} is readable by everybody (mode {mode:04o}), run: chmod o= {}", path.display(), path.display())]
    KeyReadableByOthers {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file has no PEM section of the kind wanted, or a broken one.
    #[error("find a {what} in {}", path.display())]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The key is not the one of the certificate.
    #[error("private key {} does not belong to certificate {}", key.display(), cert.display())]
    Mismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        cert: PathBuf,
    },
    /// The key or the certificate is of a kind that cannot be used.
    #[error("use certificate {}", path.display())]
    Unusable {
        /// The certificate file.
        path: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The clients' authorities cannot be used.
    #[error("use client authorities {}: {reason}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A server configuration that follows its files.
#[derive(Debug)]
pub struct ServerTls {
    files: TlsFiles,
    current: ArcSwap<Current>,
    first: pem::Digest,
    reloads: AtomicU64,
    refusals: AtomicU64,
}

/// What is in use.
#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// When the first certificate of the chain ends, in seconds since the Unix epoch.
    not_after: Option<i64>,
}

impl ServerTls {
    /// Reads the files, which must be valid at start.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let contents = pem::Contents::read(&files)?;
        let current = build(&files, &contents)?;
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(current),
            first: contents.digest(),
            files,
            reloads: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        }))
    }

    /// The configuration for the next connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// When the certificate in use ends, or one of those that vouch for it, in seconds since the Unix epoch.
    pub fn not_after(&self) -> Option<i64> {
        self.current.load().not_after
    }

    /// How often new files were taken up.
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// How often new files were refused; each change counts once.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Looks at the files every `interval` until `stop`; run it as a task of its own.
    pub async fn watch(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        let mut follow = Follow { taken: self.first, unusable: None, reported: None };
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let tls = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                tls.look(&mut follow);
                follow
            });
            match looked.await {
                Ok(next) => follow = next,
                Err(_) => return, // the runtime is shutting down
            }
        }
    }

    fn look(&self, follow: &mut Follow) {
        let read = pem::Contents::read(&self.files);
        let seen = read.as_ref().map_or_else(pem::Digest::of_error, pem::Contents::digest);
        if seen == follow.taken {
            (follow.unusable, follow.reported) = (None, None);
            return;
        }
        match read.and_then(|contents| build(&self.files, &contents)) {
            Ok(current) => {
                self.current.store(Arc::new(current));
                self.reloads.fetch_add(1, Ordering::Relaxed);
                *follow = Follow { taken: seen, unusable: None, reported: None };
                info!(cert = %self.files.cert.display(), "TLS certificate reloaded");
            }
            // Certificate and key are two files, so between the two writes they do not match. Only what is still
            // unusable when looked at again is worth a warning, and only one.
            Err(_) if follow.unusable != Some(seen) => follow.unusable = Some(seen),
            Err(_) if follow.reported == Some(seen) => {}
            Err(error) => {
                follow.reported = Some(seen);
                self.refusals.fetch_add(1, Ordering::Relaxed);
                warn!(error = %ErrorChain::new(&error), "new TLS files refused, the old certificate stays in use");
            }
        }
    }
}

/// What the watcher remembers from one look to the next.
#[derive(Clone, Copy)]
struct Follow {
    /// The files that the configuration in use was made from.
    taken: pem::Digest,
    /// The last contents that could not be used.
    unusable: Option<pem::Digest>,
    /// Those that were already warned of.
    reported: Option<pem::Digest>,
}

fn build(files: &TlsFiles, contents: &pem::Contents) -> Result<Current, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |source| TlsError::Unusable { path: files.cert.clone(), source };
    let certified = certified_key(files, contents, &provider)?;
    let not_after = certified.cert.iter().filter_map(|certificate| expiry::not_after(certificate)).min();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match client_verifier(files, contents, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(Current { config: Arc::new(config), not_after })
}

fn certified_key(
    files: &TlsFiles,
    contents: &pem::Contents,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = contents.chain(&files.cert)?;
    let key = contents.key(&files.key)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| {
        if matches!(source, rustls::Error::InconsistentKeys(_)) {
            TlsError::Mismatch { key: files.key.clone(), cert: files.cert.clone() }
        } else {
            TlsError::Unusable { path: files.cert.clone(), source }
        }
    })
}

fn client_verifier(
    files: &TlsFiles,
    contents: &pem::Contents,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = &files.client_ca else { return Ok(None) };
    let refuse = |reason: String| TlsError::ClientCa { path: path.clone(), reason };
    let mut roots = rustls::RootCertStore::empty();
    for authority in contents.authorities(path)? {
        roots.add(authority).map_err(|error| refuse(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = builder.build().map_err(|error| refuse(error.to_string()))?;
    Ok(Some(verifier))
}
