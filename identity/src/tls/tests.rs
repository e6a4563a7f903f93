//! TLS over real sockets: who gets in, who does not, and what happens to those who are in.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use cluster::ClusterId;
use common::clock::ManualClock;
use futures_util::StreamExt as _;
use rustls::version::TLS12;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::authority::{Authority, CERTIFICATE_LIFETIME, Issued};
use crate::dial::{Connector, DialError};
use crate::grant::{Grant, KeyRequest, SigningRequest};
use crate::listen::{ListenLimits, accept};

const NOW_US: i64 = 1_893_456_000_000_000;

/// Longer than anything here takes; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn id(byte: u8) -> ClusterId {
    ClusterId::from_bytes([byte; 16])
}

pub(crate) fn member(number: u64) -> Who {
    Who::Member(MemberId::new(number).unwrap())
}

pub(crate) fn node(name: &str) -> Who {
    Who::Node(name.parse().unwrap())
}

pub(crate) fn bundle(authorities: &[&Authority]) -> Bundle {
    Bundle::new(authorities.iter().map(|authority| authority.certificate().clone())).unwrap()
}

fn issue(authority: &Authority, who: Who, now_us: i64) -> (Issued, PrivateKeyDer<'static>) {
    let made = KeyRequest::make().unwrap();
    let grant = Grant { who, hosts: ["127.0.0.1".parse().unwrap()].into() };
    let issued = authority.sign(&SigningRequest::check(made.request()).unwrap(), &grant, now_us).unwrap();
    (issued, made.private_key())
}

/// A cluster's authority and the clock that everybody goes by.
pub(crate) struct Bed {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) authority: Authority,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self {
            clock: Arc::new(ManualClock::new(NOW_US)),
            authority: Authority::create(id(1), NOW_US).unwrap(),
        }
    }

    pub(crate) fn credentials(&self, who: Who) -> Credentials {
        credentials(&self.authority, who, bundle(&[&self.authority]), self.clock.now_us())
    }

    pub(crate) fn hot(&self, who: Who) -> Arc<HotCredentials> {
        self.heat(self.credentials(who))
    }

    fn heat(&self, credentials: Credentials) -> Arc<HotCredentials> {
        HotCredentials::new(credentials, self.clock.clone()).unwrap()
    }

    pub(crate) fn connector(&self, tls: ClientTls) -> Connector {
        Connector::new(tls, self.clock.clone(), PATIENCE)
    }

    async fn dial(&self, tls: ClientTls, address: SocketAddr) -> Result<Talk, DialError> {
        self.connector(tls).connect(&address.to_string()).await.map(|stream| Talk(BufReader::new(stream)))
    }

    /// Whom the server takes the caller for; `None` where one side does not want the other.
    async fn seen_as(&self, tls: ClientTls, address: SocketAddr) -> Option<String> {
        // With TLS 1.3 the server's refusal is seen only on the first read.
        self.dial(tls, address).await.ok()?.ask().await.ok()
    }
}

pub(crate) fn credentials(authority: &Authority, who: Who, trusted: Bundle, now_us: i64) -> Credentials {
    let (issued, key) = issue(authority, who, now_us);
    Credentials::new(issued.chain, key, trusted).unwrap()
}

pub(crate) fn process(credentials: &Arc<HotCredentials>, expect: Expect) -> ClientTls {
    ClientTls::Process { credentials: Arc::clone(credentials), expect }
}

struct Talk(BufReader<TlsStream<TcpStream>>);

impl Talk {
    /// Asks the server for whom it takes the caller.
    async fn ask(&mut self) -> io::Result<String> {
        self.0.write_all(b"?").await?;
        self.0.flush().await?;
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        if line.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(line.trim_end().to_owned()) }
    }

    fn server_certificate(&self) -> Vec<u8> {
        let session = self.0.get_ref().get_ref().1;
        session.peer_certificates().unwrap()[0].to_vec()
    }
}

/// Answers each byte with the name of the caller.
async fn serve_with(credentials: Arc<HotCredentials>, limits: ListenLimits) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = accept(listener, credentials, limits, CancellationToken::new());
    tokio::spawn(async move {
        while let Some(Ok(mut connection)) = incoming.next().await {
            tokio::spawn(async move {
                use tonic::transport::server::Connected as _;
                let peer = connection.connect_info().peer;
                let line = peer.map_or("nobody\n".to_owned(), |peer| format!("{}\n", peer.who));
                let mut byte = [0];
                while connection.read(&mut byte).await? > 0 {
                    connection.write_all(line.as_bytes()).await?;
                    connection.flush().await?;
                }
                Ok::<_, io::Error>(())
            });
        }
    });
    address
}

async fn serve(credentials: Arc<HotCredentials>) -> SocketAddr {
    serve_with(credentials, ListenLimits { handshake_timeout: PATIENCE, ..ListenLimits::default() }).await
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let bed = Bed::new();
    let (control, data) = (bed.hot(member(1)), bed.hot(node("data-1")));
    let to_control = serve(control.clone()).await;
    let to_data = serve(data.clone()).await;
    let seen = bed.seen_as(process(&data, Expect::AnyMember), to_control).await;
    assert_eq!(seen.as_deref(), Some("node data-1"));
    let seen = bed.seen_as(process(&control, Expect::Node("data-1".parse().unwrap())), to_data).await;
    assert_eq!(seen.as_deref(), Some("member 1"));
}

#[tokio::test]
async fn a_process_in_anothers_place_is_refused() {
    let bed = Bed::new();
    let data = bed.hot(node("data-1"));
    let to_control = serve(bed.hot(member(1))).await;
    let to_data = serve(data.clone()).await;
    for (expect, address) in [
        (Expect::Member(MemberId::new(2).unwrap()), to_control),
        (Expect::Node("data-1".parse().unwrap()), to_control),
        (Expect::AnyMember, to_data),
        (Expect::Member(MemberId::new(1).unwrap()), to_data),
        (Expect::Node("data-2".parse().unwrap()), to_data),
    ] {
        let refused = bed.dial(process(&data, expect.clone()), address).await;
        assert!(matches!(refused, Err(DialError::Handshake { .. })), "{expect:?}");
    }
}

#[tokio::test]
async fn another_clusters_processes_are_refused_by_both_sides() {
    let bed = Bed::new();
    let to_control = serve(bed.hot(member(1))).await;
    // Another cluster with an authority of its own.
    let foreign = Authority::create(id(2), NOW_US).unwrap();
    let stranger = bed.heat(credentials(&foreign, member(1), bundle(&[&foreign]), NOW_US));
    let refused = bed.dial(process(&stranger, Expect::AnyMember), to_control).await;
    assert!(matches!(refused, Err(DialError::Handshake { .. })), "unknown authority");
    // It believes our authority as well: then our side does not want it.
    let both = bundle(&[&foreign, &bed.authority]);
    let stranger = bed.heat(credentials(&foreign, member(1), both.clone(), NOW_US));
    assert_eq!(bed.seen_as(process(&stranger, Expect::AnyMember), to_control).await, None);

    // A certificate of our authority that names another cluster, as after a mixed-up restore.
    let twin =
        Authority::from_parts(id(2), bed.authority.certificate().clone(), &bed.authority.private_key());
    let twin = twin.unwrap();
    let mixed = bed.heat(credentials(&twin, member(1), both, NOW_US));
    let to_mixed = serve(mixed.clone()).await;
    let ours = bed.hot(node("data-1"));
    let refused = bed.dial(process(&ours, Expect::AnyMember), to_mixed).await;
    let text = format!("{:?}", refused.err().unwrap());
    assert!(text.contains("Cluster { found: "), "{text}");
    let config = client::for_operator(&bundle(&[&bed.authority]), None, bed.clock.clone()).unwrap();
    let mut config = Arc::unwrap_or_clone(config);
    config.client_auth_cert_resolver =
        Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(&mixed.current().certified)));
    let socket = TcpStream::connect(to_control).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
    assert!(Talk(BufReader::new(stream)).ask().await.is_err(), "the server looks at the cluster too");
}

#[tokio::test]
async fn what_has_ended_is_refused_and_what_was_renewed_is_not() {
    let bed = Bed::new();
    let (control, data) = (bed.hot(member(1)), bed.hot(node("data-1")));
    let to_control = serve(control.clone()).await;
    let call = || bed.seen_as(process(&data, Expect::AnyMember), to_control);
    bed.clock.advance(CERTIFICATE_LIFETIME);
    assert!(call().await.is_some(), "their last second");
    bed.clock.advance(Duration::from_secs(1));
    assert_eq!(call().await, None, "both have ended");
    control.swap(bed.credentials(member(1))).unwrap();
    assert_eq!(call().await, None, "the node's has ended");
    data.swap(bed.credentials(node("data-1"))).unwrap();
    assert_eq!(call().await.as_deref(), Some("node data-1"));
    // Clocks that are apart by less than is allowed for do not matter.
    bed.clock.set_wall(bed.clock.now_us() - 3_500_000_000);
    assert!(call().await.is_some());
    bed.clock.set_wall(bed.clock.now_us() - 200_000_000);
    assert_eq!(call().await, None);
}

#[tokio::test]
async fn an_operator_talks_to_members_of_the_cluster_and_to_nobody_else() {
    let bed = Bed::new();
    let to_control = serve(bed.hot(member(1))).await;
    let to_data = serve(bed.hot(node("data-1"))).await;
    let operator =
        |authority: &Authority, cluster| ClientTls::Operator { bundle: bundle(&[authority]), cluster };
    let seen = bed.seen_as(operator(&bed.authority, None), to_control).await;
    assert_eq!(seen.as_deref(), Some("nobody"));
    assert!(bed.seen_as(operator(&bed.authority, Some(id(1))), to_control).await.is_some());
    let foreign = Authority::create(id(1), NOW_US).unwrap();
    for (tls, address) in [
        (operator(&bed.authority, None), to_data),
        (operator(&bed.authority, Some(id(2))), to_control),
        (operator(&foreign, None), to_control),
    ] {
        assert!(matches!(bed.dial(tls, address).await, Err(DialError::Handshake { .. })));
    }
}

#[tokio::test]
async fn a_joiner_believes_the_authority_that_its_token_names_alone() {
    let bed = Bed::new();
    let fingerprint = bed.authority.facts().fingerprint;
    let joiner = |cluster, fingerprint| ClientTls::Joiner { cluster, fingerprint };
    let to_control = serve(bed.hot(member(1))).await;
    assert_eq!(bed.seen_as(joiner(id(1), fingerprint), to_control).await.as_deref(), Some("nobody"));
    let foreign = Authority::create(id(1), NOW_US).unwrap();

    // Shows its own leaf with our authority's certificate behind it, which did not sign it.
    let (mut issued, key) = issue(&foreign, member(1), NOW_US);
    issued.chain[1] = bed.authority.certificate().clone();
    let impostor = Credentials::new(issued.chain, key, bundle(&[&foreign])).unwrap();
    let to_impostor = serve(bed.heat(impostor)).await;
    // Our authority signed it, and does not show itself.
    let (mut issued, key) = issue(&bed.authority, member(1), NOW_US);
    issued.chain.truncate(1);
    let silent = Credentials::new(issued.chain, key, bundle(&[&bed.authority])).unwrap();
    let to_silent = serve(bed.heat(silent)).await;
    let to_data = serve(bed.hot(node("data-1"))).await;
    for (tls, address, why) in [
        (joiner(id(1), foreign.facts().fingerprint), to_control, "the token names another key"),
        (joiner(id(2), fingerprint), to_control, "another cluster is meant"),
        (joiner(id(1), fingerprint), to_impostor, "the authority that it shows did not sign"),
        (joiner(id(1), fingerprint), to_silent, "the authority is not shown"),
        (joiner(id(1), fingerprint), to_data, "a data node lets nobody in"),
    ] {
        assert!(matches!(bed.dial(tls, address).await, Err(DialError::Handshake { .. })), "{why}");
    }
}

#[tokio::test]
async fn while_authorities_change_both_are_good() {
    let bed = Bed::new();
    let new = Authority::create(id(1), NOW_US).unwrap();
    let both = bundle(&[&bed.authority, &new]);
    let signed = |authority, who, trusted: &Bundle| credentials(authority, who, trusted.clone(), NOW_US);
    let control = bed.hot(member(1));
    let (early, late) = (bed.hot(node("early")), bed.hot(node("late")));
    let to_control = serve(control.clone()).await;
    let call = |data: &Arc<HotCredentials>| bed.seen_as(process(data, Expect::AnyMember), to_control);
    // Before the new authority is known to all, what it signed is refused.
    early.swap(signed(&new, node("early"), &both)).unwrap();
    assert_eq!(call(&early).await, None);
    control.swap(signed(&bed.authority, member(1), &both)).unwrap();
    assert!(call(&early).await.is_some() && call(&late).await.is_some());
    // The member renews; who has not heard of the new authority cannot follow, so all hear of it first.
    control.swap(signed(&new, member(1), &both)).unwrap();
    assert_eq!(call(&late).await, None);
    late.swap(signed(&bed.authority, node("late"), &both)).unwrap();
    assert!(call(&early).await.is_some() && call(&late).await.is_some());
    // The old one is dropped: what it signed is refused from then on.
    control.swap(signed(&new, member(1), &bundle(&[&new]))).unwrap();
    assert!(call(&early).await.is_some());
    assert_eq!(call(&late).await, None);
}

#[tokio::test]
async fn new_credentials_serve_new_connections_while_old_ones_go_on() {
    let bed = Bed::new();
    let (control, data) = (bed.hot(member(1)), bed.hot(node("data-1")));
    let to_control = serve(control.clone()).await;
    let mut old = bed.dial(process(&data, Expect::AnyMember), to_control).await.unwrap();
    old.ask().await.unwrap();
    control.swap(bed.credentials(member(1))).unwrap();
    let new = bed.dial(process(&data, Expect::AnyMember), to_control).await.unwrap();
    assert_ne!(old.server_certificate(), new.server_certificate());
    assert_eq!(old.ask().await.unwrap(), "node data-1");

    // A process does not become another one.
    let wrong = [member(2), node("data-1")].map(|who| control.swap(bed.credentials(who)));
    assert!(wrong.iter().all(|refused| matches!(refused, Err(TlsError::Peer(PeerError::Who { .. })))));
    let foreign = Authority::create(id(2), NOW_US).unwrap();
    let refused = control.swap(credentials(&foreign, member(1), bundle(&[&foreign]), NOW_US));
    assert!(matches!(refused, Err(TlsError::Peer(PeerError::Cluster { .. }))));
    assert!(bed.seen_as(process(&data, Expect::AnyMember), to_control).await.is_some());
}

/// What the server sends until it closes.
async fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await; // a reset is an answer too
    answer
}

#[tokio::test]
async fn what_is_not_tls_gets_nowhere() {
    let bed = Bed::new();
    let to_control = serve(bed.hot(member(1))).await;
    for plain in
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0; 64]]
    {
        let answer = answer_to(to_control, plain).await;
        // An alert at most: 0x15 is its kind of record.
        assert!(answer.is_empty() || answer.first() == Some(&0x15), "{answer:?}");
    }
    let data = bed.hot(node("data-1"));
    assert!(bed.seen_as(process(&data, Expect::AnyMember), to_control).await.is_some());
}

/// A hello as a client of TLS 1.1 sends it (RFC 4346 section 7.4.1.2), with one cipher suite of its time.
fn hello_of_tls_1_1(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x00, 0x2f, 1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let mut hello = vec![1, 0, 0, body.len() as u8];
    hello.extend(body);
    let mut record = vec![0x16, 3, 1, 0, hello.len() as u8];
    record.extend(hello);
    record
}

#[tokio::test]
async fn old_versions_of_tls_are_refused() {
    let bed = Bed::new();
    let to_control = serve(bed.hot(member(1))).await;
    // As it was written then, and with extensions that leave the version as all that is wrong: groups, signatures.
    let modern = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    for (hello, alert) in [(hello_of_tls_1_1(&[]), 40), (hello_of_tls_1_1(&modern), 70)] {
        let answer = answer_to(to_control, &hello).await;
        let [0x15, 3, _, 0, 2, 2, found] = answer.as_slice() else { panic!("no fatal alert: {answer:?}") };
        assert_eq!(*found, alert, "handshake_failure, protocol_version");
    }

    // TLS 1.2 is for operators alone.
    let connect = |own: Option<Arc<CertifiedKey>>| {
        let verifier = verify::ProcessServerVerifier::new(
            verify::Trust::Bundle(bundle(&[&bed.authority]).roots().unwrap()),
            None,
            Expect::AnyMember,
        );
        let builder = ClientConfig::builder_with_details(provider(), Arc::new(ClockTime(bed.clock.clone())))
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match own {
            Some(own) => {
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(own)))
            }
            None => builder.with_no_client_auth(),
        };
        async move {
            let socket = TcpStream::connect(to_control).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
            Talk(BufReader::new(stream)).ask().await
        }
    };
    assert_eq!(connect(None).await.unwrap(), "nobody");
    let own = Arc::clone(&bed.credentials(node("data-1")).certified);
    assert!(connect(Some(own)).await.is_err());
}

#[tokio::test]
async fn slow_handshakes_hold_up_nobody_and_end() {
    let bed = Bed::new();
    let limits = ListenLimits {
        handshake_timeout: Duration::from_millis(300),
        handshakes_max: 4,
        connections_max: 64,
    };
    let to_control = serve_with(bed.hot(member(1)), limits).await;
    let data = bed.hot(node("data-1"));
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut socket = TcpStream::connect(to_control).await.unwrap();
        socket.write_all(&[0x16, 3, 1]).await.unwrap();
        slow.push(socket);
    }
    let call = || bed.seen_as(process(&data, Expect::AnyMember), to_control);
    let quick = tokio::time::Instant::now();
    assert!(call().await.is_some(), "beside the slow ones");
    // When all turns are taken, whoever comes waits for one and gets it.
    slow.push(TcpStream::connect(to_control).await.unwrap());
    assert!(call().await.is_some());
    for socket in &mut slow {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await.expect("is closed");
    }
    assert!(quick.elapsed() < PATIENCE);
}

#[tokio::test]
async fn connections_are_bounded_and_those_behind_wait() {
    let bed = Bed::new();
    let limits = ListenLimits { handshake_timeout: PATIENCE, handshakes_max: 8, connections_max: 2 };
    let to_control = serve_with(bed.hot(member(1)), limits).await;
    let data = bed.hot(node("data-1"));
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut talk = bed.dial(process(&data, Expect::AnyMember), to_control).await.unwrap();
        talk.ask().await.unwrap();
        open.push(talk);
    }
    let mut third = std::pin::pin!(bed.seen_as(process(&data, Expect::AnyMember), to_control));
    let early = tokio::time::timeout(Duration::from_millis(50), third.as_mut()).await;
    assert!(early.is_err(), "there is no place yet");
    drop(open.pop());
    assert!(third.await.is_some());
}

#[tokio::test]
async fn when_told_to_stop_the_stream_ends() {
    let bed = Bed::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut incoming = accept(listener, bed.hot(member(1)), ListenLimits::default(), stop.clone());
    let _silent = TcpStream::connect(address).await.unwrap();
    stop.cancel();
    assert!(incoming.next().await.is_none());
}

#[test]
fn debug_shows_no_key() {
    let bed = Bed::new();
    let shown = format!("{:?}", bed.credentials(node("data-1")));
    assert!(shown.contains("data-1") && !shown.to_lowercase().contains("key"), "{shown}");
}

#[tokio::test]
async fn a_connection_that_nobody_looked_after_for_long_is_made_anew() {
    let bed = Bed::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = process(&bed.hot(node("a")), Expect::Node("b".parse().unwrap()));
    let timeout = Duration::from_secs(2);
    let connector = Connector::new(tls, bed.clock.clone(), timeout);
    let mut connecting = Box::pin(connector.connect(&address));
    assert!(futures_util::poll!(&mut connecting).is_pending());
    // Given up by whoever was called, while nobody looked.
    drop(listener.accept().await.unwrap());
    // waits for: nothing but time, which is what the fault is
    tokio::time::sleep(timeout + timeout / 2).await;
    let mut incoming =
        accept(listener, bed.hot(node("b")), ListenLimits::default(), CancellationToken::new());
    let (made, taken) = tokio::join!(connecting, incoming.next());
    made.unwrap();
    taken.unwrap().unwrap();
}
