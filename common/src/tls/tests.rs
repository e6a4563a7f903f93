//! Reloading, refusing and mutual TLS, over real sockets.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// Looking at the files often makes the tests quick; they wait for effects, not for time.
const LOOK_OFTEN: Duration = Duration::from_millis(5);

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key of a new `localhost`, both as PEM.
    fn issue(&self) -> (String, String) {
        self.issue_until(2040)
    }

    /// As [`Self::issue`], good until the year begins.
    fn issue_until(&self, year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

struct Bed {
    dir: TempDir,
    authority: Authority,
}

impl Bed {
    fn new() -> Self {
        let bed = Self { dir: tempfile::tempdir().unwrap(), authority: Authority::new("first") };
        let (cert, key) = bed.authority.issue();
        bed.write(&cert, &key);
        bed
    }

    fn files(&self) -> TlsFiles {
        TlsFiles {
            cert: self.dir.path().join("cert.pem"),
            key: self.dir.path().join("key.pem"),
            client_ca: None,
        }
    }

    fn write(&self, cert: &str, key: &str) {
        write_mode(&self.files().cert, cert, 0o644);
        write_mode(&self.files().key, key, 0o600);
    }
}

fn write_mode(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Echoes bytes over TLS, one configuration look-up per connection as a listener does.
async fn serve(tls: Arc<ServerTls>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(tls.config());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(socket).await?;
                let mut byte = [0];
                while stream.read(&mut byte).await? > 0 {
                    stream.write_all(&byte).await?;
                    stream.flush().await?;
                }
                Ok::<_, io::Error>(())
            });
        }
    });
    address
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

async fn connect(
    address: SocketAddr,
    root: CertificateDer<'static>,
    identity: Option<Identity>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), socket)
        .await?;
    ping(&mut stream).await?; // with TLS 1.3 the server's refusal is seen only on the first read
    Ok(stream)
}

async fn ping(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream.write_all(b"x").await?;
    stream.flush().await?;
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    assert_eq!(&byte, b"x");
    Ok(())
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn new_files_serve_new_connections_while_old_ones_go_on() {
    let bed = Bed::new();
    let tls = ServerTls::load(bed.files()).unwrap();
    let stop = CancellationToken::new();
    let watcher = tokio::spawn(Arc::clone(&tls).watch(LOOK_OFTEN, stop.clone()));
    let address = serve(Arc::clone(&tls)).await;
    let mut old = connect(address, bed.authority.root(), None).await.unwrap();
    assert_eq!(old.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));

    let second = Authority::new("second");
    let (cert, key) = second.issue();
    bed.write(&cert, &key);
    until(|| tls.reloads() == 1).await;

    connect(address, second.root(), None).await.unwrap();
    assert!(
        connect(address, bed.authority.root(), None).await.is_err(),
        "the first authority no longer fits"
    );
    ping(&mut old).await.unwrap();

    stop.cancel();
    watcher.await.unwrap();
}

#[test]
fn the_end_is_that_of_the_certificate_in_use_or_of_one_that_vouches_for_it() {
    let bed = Bed::new();
    let (cert, key) = bed.authority.issue_until(2030);
    bed.write(&cert, &key);
    let tls = ServerTls::load(bed.files()).unwrap();
    let year = |year| Some(date_time_ymd(year, 1, 1).unix_timestamp());
    assert_eq!(tls.not_after(), year(2030));

    let mut follow = Follow { taken: tls.first, unusable: None, reported: None };
    let mut renew = |cert: &str, key: &str| {
        bed.write(cert, key);
        tls.look(&mut follow);
        tls.not_after()
    };
    let (cert, key) = bed.authority.issue_until(2035);
    assert_eq!(renew(&cert, &key), year(2035));
    let (intermediate, _) = bed.authority.issue_until(2031);
    assert_eq!(renew(&format!("{cert}{intermediate}"), &key), year(2031));
}

#[tokio::test]
async fn bad_new_files_leave_the_old_certificate_in_use_and_are_counted_once() {
    let bed = Bed::new();
    let tls = ServerTls::load(bed.files()).unwrap();
    let address = serve(Arc::clone(&tls)).await;
    let mut follow = Follow { taken: tls.first, unusable: None, reported: None };
    let mut look_often = || {
        for _ in 0..4 {
            tls.look(&mut follow);
        }
        (tls.reloads(), tls.refusals())
    };

    fs::write(bed.files().cert, "not a certificate").unwrap();
    assert_eq!(look_often(), (0, 1));
    connect(address, bed.authority.root(), None).await.unwrap();

    let (_, other_key) = bed.authority.issue();
    let (cert, key) = bed.authority.issue();
    bed.write(&cert, &other_key);
    assert_eq!(look_often(), (0, 2));
    connect(address, bed.authority.root(), None).await.unwrap();

    fs::remove_file(bed.files().key).unwrap();
    assert_eq!(look_often(), (0, 3));
    connect(address, bed.authority.root(), None).await.unwrap();

    bed.write(&cert, &key);
    assert_eq!(look_often(), (1, 3));
    connect(address, bed.authority.root(), None).await.unwrap();
}

#[test]
fn a_renewal_seen_half_way_is_not_a_bad_file() {
    let bed = Bed::new();
    let tls = ServerTls::load(bed.files()).unwrap();
    let mut follow = Follow { taken: tls.first, unusable: None, reported: None };
    let (cert, key) = bed.authority.issue();

    fs::write(bed.files().cert, &cert).unwrap();
    tls.look(&mut follow); // half way through a renewal
    bed.write(&cert, &key);
    tls.look(&mut follow);
    assert_eq!((tls.reloads(), tls.refusals()), (1, 0));
}

#[tokio::test]
async fn with_client_authorities_a_client_must_show_a_certificate_of_theirs() {
    let bed = Bed::new();
    let clients = Authority::new("clients");
    let path = bed.dir.path().join("clients.pem");
    write_mode(&path, &clients.pem(), 0o644);
    let tls = ServerTls::load(TlsFiles { client_ca: Some(path), ..bed.files() }).unwrap();
    let address = serve(tls).await;

    let identity = |authority: &Authority| {
        use rustls_pki_types::pem::PemObject;
        let (cert, key) = authority.issue();
        let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
        (chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
    };
    connect(address, bed.authority.root(), Some(identity(&clients))).await.unwrap();
    assert!(connect(address, bed.authority.root(), None).await.is_err());
    let stranger = identity(&Authority::new("stranger"));
    assert!(connect(address, bed.authority.root(), Some(stranger)).await.is_err());
}

#[test]
fn each_kind_of_bad_file_is_named() {
    let bed = Bed::new();
    let files = bed.files();
    let (cert, key) = bed.authority.issue();
    let (_, other_key) = bed.authority.issue();
    let load = || ServerTls::load(files.clone()).unwrap_err();

    write_mode(&files.key, &key, 0o644);
    assert!(matches!(load(), TlsError::KeyReadableByOthers { mode: 0o644, .. }));
    write_mode(&files.key, &key, 0o640);
    assert!(matches!(load(), TlsError::Mismatch { .. }), "a group may read the key");

    bed.write(&cert, &other_key);
    assert!(matches!(load(), TlsError::Mismatch { .. }));
    bed.write("", &key);
    assert!(matches!(load(), TlsError::Pem { what: "certificate", .. }));
    bed.write(&cert, &cert);
    assert!(matches!(load(), TlsError::Pem { what: "private key", .. }));
    bed.write(&"x".repeat(5 << 20), &key);
    assert!(matches!(load(), TlsError::TooLarge { .. }));
    fs::remove_file(&files.cert).unwrap();
    assert!(matches!(load(), TlsError::Read { .. }));

    bed.write(&cert, &key);
    let empty = bed.dir.path().join("none.pem");
    write_mode(&empty, "", 0o644);
    let error = ServerTls::load(TlsFiles { client_ca: Some(empty), ..files }).unwrap_err();
    assert!(matches!(error, TlsError::Pem { .. }));
}
