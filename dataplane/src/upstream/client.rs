//! Owns how connections to origins are made: trust roots, HTTP/2 by ALPN, proxies from the environment, redirects.
//!
//! Does not know what is asked. Invariants: TLS is never less than verified; a redirect never leaves https; nothing is
//! decompressed behind our back, so that lengths and hashes mean what they say.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use url::Url;

use super::inward::{Resolver, is_inward};

/// Redirects followed for one request, as the go command does.
pub const REDIRECTS_MAX: usize = 10;

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

/// Makes the client for all origins. Trusts the certificates in `roots_file`, else those in the file named by
/// `SSL_CERT_FILE`, else the system's. Reads files, so it is to be called before serving begins.
pub fn client(roots_file: Option<&Path>) -> Result<reqwest::Client, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(roots(roots_file)?)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::ACCEPT_ENCODING, http::HeaderValue::from_static("identity"));
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("goproxyd/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(Policy::custom(follow))
        .dns_resolver(Arc::new(Resolver))
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .pool_idle_timeout(IDLE_CONNECTION_LIFETIME)
        .tcp_keepalive(KEEPALIVE_INTERVAL)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .http2_keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .build()
        .map_err(ClientError::Http)
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

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectRefused {
    /// A loop, or close enough.
    #[error("more than {REDIRECTS_MAX} redirects")]
    TooMany,
    /// The answer would no longer be protected.
    #[error("from https to http")]
    Downgrade,
    /// An origin elsewhere must not have us read what only this machine can reach.
    #[error("to this machine or its cloud's metadata service")]
    Inward,
    /// A redirect must not make us authenticate as somebody.
    #[error("to an address with credentials in it")]
    Credentials,
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    match judge(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(refused) => attempt.error(refused),
    }
}

/// Whether to go on to `next` after `previous` (the first of them is the request itself). The HTTP client drops
/// credentials itself when host, port or scheme change.
fn judge(previous: &[Url], next: &Url) -> Result<(), RedirectRefused> {
    if previous.len() > REDIRECTS_MAX {
        return Err(RedirectRefused::TooMany);
    }
    if previous.last().is_some_and(|last| last.scheme() == "https") && next.scheme() != "https" {
        return Err(RedirectRefused::Downgrade);
    }
    if is_inward(next) && !previous.first().is_some_and(is_inward) {
        return Err(RedirectRefused::Inward);
    }
    if !next.username().is_empty() || next.password().is_some() {
        return Err(RedirectRefused::Credentials);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn redirects_never_leave_https_nor_go_on_for_ever() {
        let https = url("https://a.example/x");
        let http = url("http://a.example/x");
        assert_eq!(judge(std::slice::from_ref(&http), &https), Ok(()));
        assert_eq!(judge(std::slice::from_ref(&http), &http), Ok(()));
        assert_eq!(judge(std::slice::from_ref(&https), &http), Err(RedirectRefused::Downgrade));
        assert_eq!(
            judge(std::slice::from_ref(&https), &url("https://me:pw@b.example/")),
            Err(RedirectRefused::Credentials)
        );
        assert_eq!(judge(&vec![https.clone(); REDIRECTS_MAX], &https), Ok(()));
        assert_eq!(judge(&vec![https.clone(); REDIRECTS_MAX + 1], &https), Err(RedirectRefused::TooMany));
    }

    #[test]
    fn redirects_do_not_lead_inward() {
        let (outside, inside) = (url("http://a.example/x"), url("http://localhost:3000/x"));
        for next in [
            "http://127.0.0.1:8082/metrics",
            "http://2130706433/",
            "http://0.0.0.0/",
            "http://LOCALHOST/",
            "http://db.localhost./",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fe80::1]/",
        ] {
            let next = url(next);
            assert_eq!(judge(std::slice::from_ref(&outside), &next), Err(RedirectRefused::Inward), "{next}");
            assert_eq!(judge(std::slice::from_ref(&inside), &next), Ok(()), "{next}");
        }
        // A mirror in a private network keeps its zips on a host in that network.
        assert_eq!(judge(std::slice::from_ref(&outside), &url("http://10.1.2.3/")), Ok(()));
        // Going out first does not help.
        let way = [outside, inside.clone()];
        assert_eq!(judge(&way, &inside), Err(RedirectRefused::Inward));
    }

    #[test]
    fn a_bad_roots_file_says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing.pem");
        assert!(matches!(client(Some(&missing)), Err(ClientError::Roots { .. })));
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "no certificate here\n").unwrap();
        assert!(matches!(client(Some(&empty)), Err(ClientError::NoRoots { .. })));
        let wrong = dir.path().join("wrong.pem");
        std::fs::write(&wrong, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(matches!(client(Some(&wrong)), Err(ClientError::Root { number: 1, .. })));
    }
}
