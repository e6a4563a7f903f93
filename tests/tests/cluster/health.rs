//! Health and reflection as programs that are not ours ask for them: gRPC by hand, over TLS that knows `ca.pem` and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tests::process::eventually;
use tests::{Call, Cluster};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;
const INVALID_ARGUMENT: i32 = 3;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;
const PERMISSION_DENIED: i32 = 7;
const NOT_FOUND: i32 = 5;

/// Messages in their frames, and the status of the call.
struct Answer {
    messages: Vec<u8>,
    status: i32,
}

/// What is sent with a call: one message or none, and its end, which may have to be waited for.
struct Sent {
    frame: Option<Bytes>,
    end: Option<oneshot::Receiver<()>>,
}

impl Sent {
    fn message(message: &[u8]) -> Self {
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        Self { frame: Some(frame.into()), end: None }
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(frame) = self.frame.take() {
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        match &mut self.end {
            Some(end) => Pin::new(end).poll(context).map(|_| None),
            None => Poll::Ready(None),
        }
    }
}

async fn connect(ca: &Path, address: SocketAddr) -> std::io::Result<SendRequest<Sent>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Begins a call; returns when the head of the answer is there.
async fn send(
    mut sender: SendRequest<Sent>,
    address: SocketAddr,
    method: &str,
    token: Option<&str>,
    sent: Sent,
) -> std::io::Result<hyper::Response<Incoming>> {
    let mut request = Request::post(format!("https://{address}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(sent).unwrap();
    sender.send_request(request).await.map_err(std::io::Error::other)
}

/// The rest of an answer.
async fn read(response: hyper::Response<Incoming>) -> std::io::Result<Answer> {
    let status = |headers: &http::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    let early = status(response.headers());
    let body = response.into_body().collect().await.map_err(std::io::Error::other)?;
    let late = body.trailers().and_then(status);
    Ok(Answer { messages: body.to_bytes().to_vec(), status: early.or(late).unwrap_or(-1) })
}

fn ask(ca: &Path, address: SocketAddr, method: &str, token: Option<&str>, message: &[u8]) -> Option<Answer> {
    tests::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let call = async {
        let sender = connect(ca, address).await?;
        read(send(sender, address, method, token, Sent::message(message)).await?).await
    };
    runtime.block_on(call).ok()
}

/// A message with one text.
fn text_field(number: u8, text: &str) -> Vec<u8> {
    let mut message = vec![number << 3 | 2, u8::try_from(text.len()).unwrap()];
    message.extend(text.as_bytes());
    message
}

/// The status of a service, or gRPC's if there is none.
fn health(ca: &Path, address: SocketAddr, service: &str) -> Option<Result<u8, i32>> {
    let message = if service.is_empty() { Vec::new() } else { text_field(1, service) };
    let answer = ask(ca, address, "grpc.health.v1.Health/Check", None, &message)?;
    // One frame of five bytes, one field.
    Some(if answer.status == 0 { Ok(answer.messages[6]) } else { Err(answer.status) })
}

const OPERATORS: &str = "goproxy.control.v1.ClusterService";
const NODES: &str = "goproxy.node.v1.NodeAgentService";

#[test]
fn probes_hear_how_each_service_is() {
    let mut cluster = Cluster::of(2);
    let ca = cluster.control[0].data_dir().join("ca.pem");
    let address = cluster.control[0].rpc();
    for service in ["", OPERATORS, NODES, "goproxy.raft.v1.RaftService", "goproxy.join.v1.JoinService"] {
        assert_eq!(health(&ca, address, service), Some(Ok(SERVING)), "{service:?}");
    }
    assert_eq!(health(&ca, address, "no.such.Service"), Some(Err(NOT_FOUND)));
    // Without a majority it still answers, but nothing of what needs a leader.
    cluster.control[1].kill9();
    eventually("the operators' services are not served", || {
        (health(&ca, address, OPERATORS)? == Ok(NOT_SERVING)).then_some(())
    });
    for service in ["", NODES] {
        assert_eq!(health(&ca, address, service), Some(Ok(SERVING)), "{service:?}");
    }
    cluster.control[1].start(&[]);
    eventually("they are served again", || (health(&ca, address, OPERATORS)? == Ok(SERVING)).then_some(()));
}

#[test]
fn a_drain_is_told_at_once_ends_watches_and_lets_a_call_come_to_its_end() {
    let mut cluster = Cluster::bootstrap();
    let node = &mut cluster.control[0];
    let (ca, address, admin) = (node.data_dir().join("ca.pem"), node.rpc(), node.admin());
    let token = std::fs::read_to_string(node.data_dir().join("admin.token")).unwrap();
    tests::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let sender = connect(&ca, address).await.unwrap();
        let (end, open) = oneshot::channel();
        let held = Sent { frame: None, end: Some(open) };
        let method = "goproxy.control.v1.ModuleService/PublishVersion";
        let mut publishing = pin!(send(sender.clone(), address, method, Some(token.trim()), held));
        let method = "grpc.health.v1.Health/Watch";
        let watching = send(sender, address, method, None, Sent::message(&[]));
        // One connection, so that the one call has begun when the other is answered.
        let watching = tokio::select! {
            biased;
            _ = &mut publishing => panic!("nothing was published yet"),
            watching = watching => watching.unwrap(),
        };
        node.signal(Signal::TERM);
        let is_draining = || {
            let answer = Call::new(admin, "GET", "/readyz").try_send().ok()?;
            (answer.status == 503 && answer.text().contains("draining")).then_some(())
        };
        eventually("it says that it drains", is_draining);
        let watched = read(watching).await.unwrap();
        assert_eq!((watched.messages.last(), watched.status), (Some(&NOT_SERVING), UNAVAILABLE));
        // waits for: longer than it would take a node that nobody calls to end
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(is_draining().is_some() && node.runs());
        end.send(()).unwrap();
        assert_eq!(read(publishing.await.unwrap()).await.unwrap().status, INVALID_ARGUMENT);
    });
    assert!(node.wait().success());
}

#[test]
fn reflection_is_for_admins() {
    let cluster = Cluster::bootstrap();
    let folder = cluster.control[0].data_dir();
    let (ca, address) = (folder.join("ca.pem"), cluster.control[0].rpc());
    let admin = std::fs::read_to_string(folder.join("admin.token")).unwrap();
    let operator = cluster.ctl(&["token", "create", "olga", "--role", "operator"]).code(0).stdout;
    for method in [
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        // `list_services`
        let list = text_field(7, "*");
        let told = |token| ask(&ca, address, method, token, &list).expect("an answer");
        assert_eq!(told(None).status, UNAUTHENTICATED);
        assert_eq!(told(Some(operator.trim())).status, PERMISSION_DENIED);
        let answer = told(Some(admin.trim()));
        assert_eq!(answer.status, 0);
        let names = String::from_utf8_lossy(&answer.messages).into_owned();
        for name in [OPERATORS, "goproxy.control.v1.TokenService", "grpc.health.v1.Health"] {
            assert!(names.contains(name), "{name} in {names}");
        }
        for name in [NODES, "goproxy.raft.v1", "goproxy.join.v1"] {
            assert!(!names.contains(name), "{name} in {names}");
        }
    }
}
