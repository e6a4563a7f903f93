//! Owns how connections to origins are made: trust roots, HTTP/2 by ALPN, proxies from the environment, redirects.
//!
//! Does not know what is asked. Invariants: TLS is never less than verified; a redirect never leaves https; nothing is
//! decompressed behind our back, so that lengths and hashes mean what they say.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use url::Url;

use super::inward::{Reach, Resolver, System, proxies_of};
use super::redirect;

/// Longest time for name resolution, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections kept for each origin; as many as requests may be out at one.
const IDLE_CONNECTIONS_MAX: usize = super::limits::PLACES;
/// How long an idle connection is kept.
const IDLE_CONNECTION_LIFETIME: Duration = Duration::from_secs(90);
/// How often a silent connection is probed, so that a half-open one is noticed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long an HTTP/2 probe may stay unanswered.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What may come of one answer over HTTP/2 before it is read, in bytes.
const UNREAD_BYTES_MAX: u32 = 2 << 20;
/// What all answers but zips may have unread together over one connection, in bytes.
const SMALL_UNREAD_BYTES: u32 = 16 << 20;

/// The largest window that there is (RFC 9113, 6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of trusted roots cannot be read or holds something else.
    #[error("read trusted roots from {}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate in the file of trusted roots is not usable.
    #[error("use trusted root number {number} in {}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Which certificate, counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// The file of trusted roots holds none.
    #[error("no certificate in {}", path.display())]
    NoRoots {
        /// The file.
        path: PathBuf,
    },
    /// The TLS library refuses its own defaults.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// The HTTP client refuses its settings.
    #[error("set up the HTTP client")]
    Http(#[source] reqwest::Error),
}

/// Makes a client for each origin. None is shared, since a connection that one origin may have made another must not use.
/// Cheap to clone.
#[derive(Clone)]
pub struct Clients {
    tls: ClientConfig,
    proxies: Arc<[String]>,
    lookup: Arc<dyn Resolve>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

impl Clients {
    /// Clients that trust the certificates in `roots_file`, else those in the file named by `SSL_CERT_FILE`, else the
    /// system's. Reads files, so it is to be called before serving begins.
    pub fn new(roots_file: Option<&Path>) -> Result<Self, ClientError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ClientError::Tls)?
            .with_root_certificates(roots(roots_file)?)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let proxies = proxies_of(|name| std::env::var(name).ok());
        Ok(Self { tls, proxies, lookup: Arc::new(System) })
    }

    /// The client for the origin at `url`, from which at most so many zips come at a time.
    ///
    /// All answers of an HTTP/2 connection share its window. A zip that waits for room here is not read meanwhile, and must not keep anything
    /// else from coming.
    pub(super) fn of(&self, url: &Url, zips_max: usize) -> Result<reqwest::Client, ClientError> {
        let zips_max = u32::try_from(zips_max).unwrap_or(u32::MAX);
        let unread_max = zips_max.saturating_mul(UNREAD_BYTES_MAX).saturating_add(SMALL_UNREAD_BYTES);
        let reach = Arc::new(Reach::new(url, Arc::clone(&self.proxies)));
        let resolver = Resolver { reach: Arc::clone(&reach), lookup: Arc::clone(&self.lookup) };
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::ACCEPT_ENCODING, http::HeaderValue::from_static("identity"));
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .user_agent(concat!("goproxyd/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(redirect::policy(reach))
            .dns_resolver(Arc::new(resolver))
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_CONNECTION_LIFETIME)
            .tcp_keepalive(KEEPALIVE_INTERVAL)
            .http2_initial_stream_window_size(UNREAD_BYTES_MAX)
            .http2_initial_connection_window_size(unread_max.min(WINDOW_MAX))
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .http2_keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .build()
            .map_err(ClientError::Http)
    }
}

fn roots(roots_file: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = roots_file {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|source| ClientError::Roots { path: path.to_owned(), source })?;
        for (index, certificate) in certificates.into_iter().enumerate() {
            roots.add(certificate).map_err(|source| ClientError::Root {
                path: path.to_owned(),
                number: index + 1,
                source,
            })?;
        }
        return if roots.is_empty() {
            Err(ClientError::NoRoots { path: path.to_owned() })
        } else {
            Ok(roots)
        };
    }
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "skipped a source of trusted roots");
    }
    // A system's own list may hold certificates that are too odd to parse: the others still serve.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        // Not fatal: an http or file upstream needs none, and an https one will say so itself.
        tracing::warn!("no trusted root certificates found, so no https upstream can be reached");
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::super::exchange::cause_in;
    use super::super::redirect::RedirectRefused;
    use super::*;
    use reqwest::dns::{Addrs, Name, Resolving};
    use std::net::SocketAddr;

    /// A resolver under whoever's control: names beginning with `inner` lead to this machine, others to a private network.
    struct Names;

    impl Resolve for Names {
        fn resolve(&self, name: Name) -> Resolving {
            let ip = if name.as_str().starts_with("inner") { [127, 0, 0, 1] } else { [10, 0, 0, 1] };
            let found = std::iter::once(SocketAddr::from((ip, 0)));
            Box::pin(std::future::ready(Ok(Box::new(found) as Addrs)))
        }
    }

    #[tokio::test]
    async fn what_a_name_resolves_to_is_judged_before_it_is_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let clients = Clients { lookup: Arc::new(Names), ..Clients::new(None).unwrap() };
        let inner: Url = format!("http://inner.example:{port}/").parse().unwrap();
        let get = async |origin: &str| {
            let client = clients.of(&origin.parse().unwrap(), 1).unwrap();
            client.get(inner.clone()).timeout(Duration::from_secs(1)).send().await.unwrap_err()
        };
        let error = get("http://mirror.example/").await;
        let refused = cause_in::<RedirectRefused>(&error);
        assert_eq!(refused, Some(&RedirectRefused::Inward), "{error:?}");
        let nobody = std::future::poll_fn(|cx| std::task::Poll::Ready(listener.poll_accept(cx).is_pending()));
        assert!(nobody.await, "somebody connected");
        // The same for an origin that is there itself; nobody answers it.
        assert!(cause_in::<RedirectRefused>(&get("http://127.0.0.1:1/").await).is_none());
        assert!(listener.accept().await.is_ok());
    }

    #[test]
    fn a_bad_roots_file_says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing.pem");
        assert!(matches!(Clients::new(Some(&missing)), Err(ClientError::Roots { .. })));
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "no certificate here\n").unwrap();
        assert!(matches!(Clients::new(Some(&empty)), Err(ClientError::NoRoots { .. })));
        let wrong = dir.path().join("wrong.pem");
        std::fs::write(&wrong, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(matches!(Clients::new(Some(&wrong)), Err(ClientError::Root { number: 1, .. })));
    }
}
