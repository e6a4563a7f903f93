//! Connections: trust roots from a file, HTTP/2 by ALPN, redirects and credentials between hosts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod upstream_fake;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use common::clock::SystemClock;
use dataplane::upstream::{
    Chain, Clients, FetchError, Fetched, Unavailability, Upstream, UpstreamMetrics, UpstreamOptions,
};
use gomod::Request;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use upstream_fake::{Fake, Reply, short_limits};

struct Authority {
    _dir: tempfile::TempDir,
    roots: PathBuf,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().join("roots.pem");
        std::fs::write(&roots, made.cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Self { _dir: dir, roots, certificate: made.cert.der().clone(), key }
    }

    fn server(&self, protocols: &[&str]) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(self.key.clone_key()))
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn upstream(&self, chain: &str) -> Upstream {
        let chain: Chain = chain.parse().unwrap();
        let options = UpstreamOptions { limits: short_limits(), ..UpstreamOptions::default() };
        let clients = Clients::new(Some(&self.roots)).unwrap();
        Upstream::new(chain, options, clients, Arc::new(SystemClock), UpstreamMetrics::default()).unwrap()
    }
}

async fn list(upstream: &Upstream) -> Result<Fetched, FetchError> {
    upstream.fetch_small(&Request::parse("m.example/a/@v/list").unwrap()).await
}

#[tokio::test]
async fn trusts_the_roots_in_the_file_and_no_others() {
    let (ours, others) = (Authority::new(), Authority::new());
    let origin = Fake::start_tls(ours.server(&[]), "localhost", |_, _| Reply::ok("v1.0.0\n")).await;
    assert!(list(&ours.upstream(&origin.url())).await.is_ok());
    let error = list(&others.upstream(&origin.url())).await.unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { why: Unavailability::Connect, .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_redirect_never_leaves_https() {
    let authority = Authority::new();
    let plain = Fake::start(|_, _| Reply::ok("v1.0.0\n")).await;
    let to = format!("{}/x", plain.url());
    let origin = Fake::start_tls(authority.server(&[]), "localhost", move |_, _| {
        Reply::new(302, "").header("Location", &to)
    })
    .await;
    let error = list(&authority.upstream(&origin.url())).await.unwrap_err();
    assert!(matches!(error, FetchError::BadRedirect { .. }), "{error}");
    assert!(error.to_string().contains("https to http"), "{error}");
    assert!(plain.seen().is_empty());
}

#[tokio::test]
async fn credentials_go_to_their_host_alone_and_into_no_text() {
    let authority = Authority::new();
    let other = Fake::start_tls(authority.server(&[]), "localhost", |_, _| Reply::ok("v1.0.0\n")).await;
    let to = format!("{}/x", other.url());
    let origin = Fake::start_tls(authority.server(&[]), "localhost", move |seen, _| {
        if seen.path.starts_with("/refuse") {
            return Reply::text(403, "who are you");
        }
        Reply::new(302, "").header("Location", &to)
    })
    .await;
    let with = origin.url().replace("https://", "https://user:s3cret@");
    assert!(list(&authority.upstream(&with)).await.is_ok());
    assert_eq!(origin.seen()[0].header("authorization"), Some("Basic dXNlcjpzM2NyZXQ="));
    assert_eq!(other.seen()[0].header("authorization"), None);
    let upstream = authority.upstream(&format!("{with}/refuse"));
    let error = list(&upstream).await.unwrap_err();
    for text in [error.to_string(), format!("{error:?}"), format!("{upstream:?}")] {
        assert!(!text.contains("s3cret") && !text.contains("dXNlcjpz"), "{text}");
    }
}

#[tokio::test]
async fn speaks_http_2_where_the_origin_does() {
    let authority = Authority::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server(&["h2", "http/1.1"]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let service =
            hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
                let body =
                    if request.version() == http::Version::HTTP_2 { "v2.0.0\nv1.0.0\n" } else { "v1.0.0\n" };
                Ok::<_, Infallible>(hyper::Response::new(http_body_util::Full::new(bytes::Bytes::from(body))))
            });
        let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
    });
    let fetched = list(&authority.upstream(&format!("https://localhost:{port}"))).await.unwrap();
    assert!(fetched.body.starts_with(b"v2.0.0"), "the answer tells the version it was asked in");
    server.abort();
}

/// All that comes over one connection shares its window.
#[tokio::test]
async fn zips_that_are_not_read_keep_nothing_else_from_coming() {
    const ZIP_BYTES: usize = 8 << 20;
    let authority = Authority::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server(&["h2"]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let zip = bytes::Bytes::from([b"PK\x03\x04".to_vec(), vec![0; ZIP_BYTES]].concat());
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            let is_zip = !request.uri().path().ends_with("/@v/list");
            let body = if is_zip { zip.clone() } else { bytes::Bytes::from_static(b"v1.0.0\n") };
            async move { Ok::<_, Infallible>(hyper::Response::new(http_body_util::Full::new(body))) }
        });
        let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
    });
    let upstream = authority.upstream(&format!("https://localhost:{port}"));
    let mut unread = Vec::new();
    for number in 0..6 {
        let module = gomod::ModulePath::parse("m.example/a").unwrap();
        let version = gomod::Version::parse(&format!("v1.0.{number}")).unwrap();
        let version = gomod::ModuleVersion::new(module, version).unwrap();
        unread.push(upstream.fetch_zip(&version, &[]).await.unwrap());
        list(&upstream).await.unwrap();
    }
    server.abort();
}
