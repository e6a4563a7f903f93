//! HTTP/2 frames by hand, for what a decent client library will not send, and a decent client beside it.

use crate::connection::Stream;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{Read as _, Result, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

/// Frame types of RFC 9113 section 6.
pub mod frame {
    /// DATA.
    pub const DATA: u8 = 0;
    /// HEADERS.
    pub const HEADERS: u8 = 1;
    /// `RST_STREAM`.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// PING.
    pub const PING: u8 = 6;
    /// GOAWAY.
    pub const GOAWAY: u8 = 7;
    /// `WINDOW_UPDATE`.
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION.
    pub const CONTINUATION: u8 = 9;
}

/// Flag `END_STREAM` of DATA and HEADERS; `ACK` of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// Flag `END_HEADERS`.
pub const END_HEADERS: u8 = 4;

/// A frame read from the server.
#[derive(Debug)]
pub struct Frame {
    /// Frame type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream number.
    pub stream: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

/// A connection that has sent the preface and its settings.
pub struct RawH2 {
    stream: Stream,
}

impl RawH2 {
    /// Sends the client preface with prior knowledge over plain TCP.
    pub fn open(address: SocketAddr) -> Result<Self> {
        Self::open_with(address, &[])
    }

    /// The same with this payload of SETTINGS.
    pub fn open_with(address: SocketAddr, settings: &[u8]) -> Result<Self> {
        let mut stream = Stream::connect(address)?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        let mut raw = Self { stream };
        raw.send(frame::SETTINGS, 0, 0, settings)?;
        Ok(raw)
    }

    /// Sends a GET on a stream.
    pub fn get(&mut self, stream: u32, path: &str) -> Result<()> {
        self.send(frame::HEADERS, END_HEADERS | END_STREAM, stream, &get_block(path))
    }

    /// Opens the window of a stream, or with 0 that of the connection.
    pub fn open_window(&mut self, stream: u32, bytes: u32) -> Result<()> {
        self.send(frame::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
    }

    /// Sends one frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        self.stream.write_all(&encode(kind, flags, stream, payload))
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one frame; an error at the end of the connection.
    pub fn read(&mut self) -> Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The socket below.
    pub fn socket(&self) -> &std::net::TcpStream {
        self.stream.socket()
    }
}

/// One frame on the wire.
pub fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// HPACK block of a GET: indexed fields for the method and scheme, literals for path and authority.
pub fn get_block(path: &str) -> Vec<u8> {
    get_block_at("localhost", path)
}

/// The same for another authority.
pub fn get_block_at(authority: &str, path: &str) -> Vec<u8> {
    // RFC 7541 appendix A: 2 is `:method: GET`, 6 is `:scheme: http`, 4 is `:path`, 1 is `:authority`.
    let mut block = vec![0x82, 0x86];
    literal(&mut block, 4, path);
    literal(&mut block, 1, authority);
    block
}

/// Appends a literal field without indexing whose name is in the static table (index below 15).
pub fn literal(block: &mut Vec<u8>, name_index: u8, value: &str) {
    block.push(name_index);
    block.push(u8::try_from(value.len()).ok().filter(|length| *length < 127).expect("a short value"));
    block.extend_from_slice(value.as_bytes());
}

/// An answer over HTTP/2.
pub struct H2Response {
    /// Status and headers.
    pub head: http::response::Parts,
    /// Body.
    pub body: Bytes,
}

/// A decent HTTP/2 client on one connection (prior knowledge, or TLS with ALPN).
pub struct H2Client {
    runtime: tokio::runtime::Runtime,
    sender: hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    authority: String,
}

impl H2Client {
    /// Connects.
    #[track_caller]
    pub fn open(address: SocketAddr, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let sender = runtime.block_on(connect(address, tls)).expect("connect by HTTP/2");
        Self { runtime, sender, authority: format!("{scheme}://localhost:{}", address.port()) }
    }

    /// A GET to its end.
    pub fn get(&self, path: &str) -> std::result::Result<H2Response, hyper::Error> {
        let mut sender = self.sender.clone();
        let request =
            http::Request::get(format!("{}{path}", self.authority)).body(Empty::new()).expect("request");
        self.runtime.block_on(async move {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok(H2Response { head, body: body.collect().await?.to_bytes() })
        })
    }
}

async fn connect(
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> std::result::Result<hyper::client::conn::http2::SendRequest<Empty<Bytes>>, Box<dyn std::error::Error>> {
    let socket = tokio::net::TcpStream::connect(address).await?;
    let Some(config) = tls else {
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        return Ok(sender);
    };
    let name = rustls::pki_types::ServerName::try_from("localhost")?;
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await?;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
