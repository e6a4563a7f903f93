//! A scripted origin on a loopback port: HTTP/1.1 by hand, so that it can drip, stall, lie about lengths and break off.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::clock::{Clock, SystemClock};
use dataplane::upstream::{Chain, Clients, Limits, Upstream, UpstreamMetrics, UpstreamOptions};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One step of sending a response body.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Send(Vec<u8>),
    Wait(Duration),
    /// Nothing more, and the connection stays open.
    Stall,
    /// The connection is reset (RST where the system allows).
    Reset,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// `None`: the body's own length.
    pub(crate) length: Option<u64>,
    /// Sends no length and frames the body in chunks.
    pub(crate) chunked: bool,
    /// Waits for ever before the head.
    pub(crate) silent: bool,
    pub(crate) body: Vec<Piece>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            length: None,
            chunked: false,
            silent: false,
            body: vec![Piece::Send(body.into())],
        }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, body)
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::new(status, body).header("Content-Type", "text/plain; charset=utf-8")
    }

    pub(crate) fn silent() -> Self {
        Self { silent: true, ..Self::ok("") }
    }

    pub(crate) fn pieces(length: u64, body: Vec<Piece>) -> Self {
        Self { length: Some(length), body, ..Self::ok("") }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    out: AtomicUsize,
    out_max: AtomicUsize,
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    scheme: &'static str,
    host: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// `script` gets the request and how many came before it.
    pub(crate) async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(script, None).await
    }

    pub(crate) async fn start_tls(
        config: Arc<rustls::ServerConfig>,
        host: &str,
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let mut fake = Self::launch(script, Some(config)).await;
        host.clone_into(&mut fake.host);
        fake
    }

    async fn launch(
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            out: AtomicUsize::new(0),
            out_max: AtomicUsize::new(0),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let accept = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&accept), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(Connection::Plain(stream), &shared).await,
                        Some(config) => {
                            let acceptor = tokio_rustls::TlsAcceptor::from(config);
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(Connection::Tls(Box::new(stream)), &shared).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, shared, scheme, host: "127.0.0.1".to_owned(), task }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.address.port())
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }

    /// Most requests that were being answered at one time.
    pub(crate) fn out_max(&self) -> usize {
        self.shared.out_max.load(Ordering::SeqCst)
    }
}

enum Connection {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

async fn serve(connection: Connection, shared: &Shared) {
    match connection {
        Connection::Plain(stream) => {
            let mut stream = stream;
            if converse(&mut stream, shared).await {
                // Closes with RST instead of FIN.
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        }
        Connection::Tls(mut stream) => {
            converse(&mut stream, shared).await;
        }
    }
}

/// Answers requests until the connection ends; true if it is to be reset.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, shared: &Shared) -> bool {
    while let Some(seen) = read_request(stream).await {
        let index = {
            let mut all = shared.seen.lock();
            all.push(seen.clone());
            all.len() - 1
        };
        let out = shared.out.fetch_add(1, Ordering::SeqCst) + 1;
        shared.out_max.fetch_max(out, Ordering::SeqCst);
        let reply = (shared.script)(&seen, index);
        let end = answer(stream, reply).await;
        shared.out.fetch_sub(1, Ordering::SeqCst);
        match end {
            End::KeepAlive => {}
            End::Close => return false,
            End::Reset => return true,
        }
    }
    false
}

enum End {
    KeepAlive,
    Close,
    Reset,
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, reply: Reply) -> End {
    if reply.silent {
        wait_for_hangup(stream).await;
        return End::Close;
    }
    let own_length: u64 = reply
        .body
        .iter()
        .map(|piece| if let Piece::Send(bytes) = piece { bytes.len() as u64 } else { 0 })
        .sum();
    let length = reply.length.unwrap_or(own_length);
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
    for (name, value) in &reply.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if reply.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
    } else {
        let _ = write!(head, "Content-Length: {length}\r\n\r\n");
    }
    if stream.write_all(head.as_bytes()).await.is_err() {
        return End::Close;
    }
    for piece in reply.body {
        match piece {
            Piece::Send(bytes) if bytes.is_empty() => {}
            Piece::Send(bytes) => {
                let framed = if reply.chunked {
                    [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
                } else {
                    bytes
                };
                if stream.write_all(&framed).await.is_err() || stream.flush().await.is_err() {
                    return End::Close;
                }
            }
            // waits for: nothing; a slow origin is what is played.
            Piece::Wait(pause) => tokio::time::sleep(pause).await,
            Piece::Stall => {
                wait_for_hangup(stream).await;
                return End::Close;
            }
            Piece::Reset => return End::Reset,
        }
    }
    if reply.chunked {
        return if stream.write_all(b"0\r\n\r\n").await.is_ok() { End::KeepAlive } else { End::Close };
    }
    if own_length == length { End::KeepAlive } else { End::Close }
}

async fn wait_for_hangup<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut byte = [0];
    let _ = stream.read(&mut byte).await;
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    Some(Seen { path, headers })
}

/// Limits short enough to wait for.
pub(crate) fn short_limits() -> Limits {
    Limits {
        head: Duration::from_millis(400),
        small_body: Duration::from_millis(500),
        idle: Duration::from_millis(250),
        wait: Duration::from_millis(300),
        ..Limits::default()
    }
}

pub(crate) fn upstream(chain: &str) -> Upstream {
    upstream_with(
        chain,
        UpstreamOptions { limits: short_limits(), ..UpstreamOptions::default() },
        Arc::new(SystemClock),
    )
}

pub(crate) fn upstream_with(chain: &str, options: UpstreamOptions, clock: Arc<dyn Clock>) -> Upstream {
    let chain: Chain = chain.parse().unwrap();
    Upstream::new(chain, options, Clients::new(None).unwrap(), clock, UpstreamMetrics::default()).unwrap()
}
