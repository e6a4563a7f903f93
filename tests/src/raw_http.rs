//! HTTP/1.1 by hand: what goes over the wire is what the test wrote, what came back is kept as it came.
//!
//! Nothing is decoded, followed, retried or pooled behind the test's back.

use crate::connection::Stream;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::SocketAddr;
use std::sync::Arc;

/// Longest head read from either side; a longer one is an error of the peer.
const HEAD_BYTES_MAX: usize = 1024 * 1024;

/// A request head as the origin reads it.
pub(crate) struct RequestHead {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, and values, in order.
    pub headers: Vec<(String, String)>,
    /// Body with any chunking removed.
    pub body: Vec<u8>,
    /// Whether the body came whole: all of its content length, or its last chunk.
    pub complete: bool,
}

impl Response {
    /// Value of the first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Value of a header that must be there.
    #[track_caller]
    pub fn expect_header(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Fails the test unless the status is this one and the body whole.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        assert!(self.complete, "the body of a {status} is cut: {} bytes", self.body.len());
        self
    }
}

/// One request on a connection of its own.
pub struct Call {
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// A request with only `Host`.
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            tls: None,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("Host".to_owned(), address.to_string())],
            body: Vec::new(),
        }
    }

    /// Over TLS.
    #[must_use]
    pub fn tls(mut self, config: &Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(config.clone());
        self
    }

    /// Adds a header; `Host` is replaced.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(have, _)| !(have == "Host" && name.eq_ignore_ascii_case("host")));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a body with its content length.
    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Sends the request and reads the whole answer.
    #[track_caller]
    pub fn send(self) -> Response {
        let target = format!("{} {}", self.method, self.target);
        self.try_send().unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    /// Sends the request and reads the whole answer; an error when no answer head came.
    pub fn try_send(self) -> Result<Response> {
        let method = self.method.clone();
        self.open()?.read_response(&method)
    }

    /// Sends the request and leaves the reading to the caller.
    pub fn open(self) -> Result<Connection> {
        let mut connection = Connection::open(self.address, self.tls.as_ref())?;
        connection.send(&self.bytes())?;
        Ok(connection)
    }

    /// The request as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head = head + name + ": " + value + "\r\n";
        }
        if !self.body.is_empty() {
            head = head + "Content-Length: " + &self.body.len().to_string() + "\r\n";
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// How long the body of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Told by `Content-Length`.
    Known(u64),
    /// Told by chunks.
    Chunked,
    /// Until the connection closes.
    UntilClose,
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Length of the body to come.
    pub length: Length,
}

/// A client connection, kept alive between answers.
pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects; with TLS when a config is given.
    pub fn open(address: SocketAddr, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<Self> {
        let stream = match tls {
            Some(config) => Stream::connect_tls(address, config.clone())?,
            None => Stream::connect(address)?,
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Connects as a client at this address.
    pub fn open_from(client: std::net::Ipv4Addr, address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: Stream::connect_from(client, address)?, buffer: Vec::new() })
    }

    /// The stream below.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads an answer to a request of this method to its end.
    pub fn read_response(&mut self, method: &str) -> Result<Response> {
        let head = self.read_head(method)?;
        let (body, complete) = match head.length {
            Length::Known(length) => self.read_known(length),
            Length::Chunked => self.read_chunked(),
            Length::UntilClose => (self.read_rest(), true),
        };
        Ok(Response { status: head.status, headers: head.headers, body, complete })
    }

    /// Reads the head of an answer, past any 1xx.
    pub fn read_head(&mut self, method: &str) -> Result<ResponseHead> {
        loop {
            let text = read_head_text(&mut self.stream, &mut self.buffer)?
                .ok_or_else(|| Error::new(ErrorKind::UnexpectedEof, "closed without an answer"))?;
            let (first, headers) = split_head(&text);
            let status = first
                .strip_prefix("HTTP/1.1 ")
                .or_else(|| first.strip_prefix("HTTP/1.0 "))
                .and_then(|rest| rest.get(..3)?.parse::<u16>().ok())
                .ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("not a status line: {first:?}")))?;
            if (100..200).contains(&status) {
                continue;
            }
            let length = body_length(method, status, &headers)?;
            return Ok(ResponseHead { status, headers, length });
        }
    }

    /// Reads some bytes of a body as they come, chunk marks included; 0 at the end of the stream.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.buffer.is_empty() {
            return self.stream.read(buffer);
        }
        let count = self.buffer.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.buffer[..count]);
        self.buffer.drain(..count);
        Ok(count)
    }

    /// Reads `length` bytes; the flag tells whether all came.
    pub fn read_known(&mut self, length: u64) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        while (body.len() as u64) < length {
            let want = piece.len().min((length - body.len() as u64) as usize);
            match self.read_some(&mut piece[..want]) {
                Ok(0) | Err(_) => return (body, false),
                Ok(count) => body.extend_from_slice(&piece[..count]),
            }
        }
        (body, true)
    }

    /// Whether the peer closes (or resets) within the stream's read timeout.
    pub fn closed(&mut self) -> bool {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }

    fn read_chunked(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.read_line() else { return (body, false) };
            let Ok(size) = u64::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16) else {
                return (body, false);
            };
            if size == 0 {
                // Trailers end with an empty line.
                while let Some(line) = self.read_line() {
                    if line.is_empty() {
                        return (body, true);
                    }
                }
                return (body, false);
            }
            let (part, whole) = self.read_known(size);
            body.extend_from_slice(&part);
            if !whole || self.read_line().is_none_or(|line| !line.is_empty()) {
                return (body, false);
            }
        }
    }

    fn read_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            if line.len() > HEAD_BYTES_MAX || self.read_some(&mut byte).ok()? == 0 {
                return None;
            }
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).ok()
    }

    fn read_rest(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = self.read_some(&mut piece) {
            body.extend_from_slice(&piece[..count]);
        }
        body
    }
}

fn body_length(method: &str, status: u16, headers: &[(String, String)]) -> Result<Length> {
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(Length::Known(0));
    }
    let value = |name: &str| headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str());
    if value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(Length::Chunked);
    }
    value("content-length").map_or(Ok(Length::UntilClose), |value| {
        let bad = |_| Error::new(ErrorKind::InvalidData, format!("content length {value:?}"));
        value.parse().map(Length::Known).map_err(bad)
    })
}

/// Reads a request head; `None` when the peer closed between requests.
pub(crate) fn read_request_head(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Result<Option<RequestHead>> {
    let Some(text) = read_head_text(stream, buffer)? else { return Ok(None) };
    let (first, headers) = split_head(&text);
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    Ok(Some(RequestHead { method: method.to_owned(), target: target.to_owned(), headers }))
}

/// Percent-decodes the path of a target; the query is dropped.
pub(crate) fn decode_path(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or("");
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| {
                std::str::from_utf8(tail.get(..2)?).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            })
            .flatten();
        if let Some(decoded) = escaped {
            bytes.push(decoded);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_head_text(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Result<Option<String>> {
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = buffer.drain(..end + 4).collect::<Vec<u8>>();
            return Ok(Some(String::from_utf8_lossy(&head[..end]).into_owned()));
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "head without end"));
        }
        match stream.read(&mut piece)? {
            0 if buffer.is_empty() => return Ok(None),
            0 => return Err(Error::new(ErrorKind::UnexpectedEof, "cut head")),
            count => buffer.extend_from_slice(&piece[..count]),
        }
    }
}

fn split_head(text: &str) -> (String, Vec<(String, String)>) {
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or("").to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    (first, headers)
}
