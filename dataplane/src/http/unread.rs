//! Heads that hyper cannot read. It answers those by itself, with a status and nothing else, and no request comes of them: here that answer is
//! given what all others have.

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;

use super::inbound::RequestIds;
use super::observe::Observer;
use super::rescue::text;
use crate::serve::ServeError;
use crate::serve::tag::{Cache, Tag};

/// How hyper's answer begins before its status, and what it has that no answer of the stack has.
const BEGINS: &[u8] = b"HTTP/1.1 4";
const BARE: &[u8] = b"\r\nconnection: close\r\ncontent-length: 0\r\n";
/// Longer is none of them.
const BARE_BYTES_MAX: usize = 256;

/// What such an answer needs, on one connection.
pub(super) struct Unread {
    pub observer: Arc<Observer>,
    pub ids: Arc<RequestIds>,
    pub peer: SocketAddr,
    pub tls: bool,
}

impl Unread {
    /// What is sent instead of `written`; nothing if that is no answer of hyper's own.
    pub(super) fn instead_of(&self, written: &[u8]) -> Option<Vec<u8>> {
        let status = status_of_bare(written)?;
        let body = text(&ServeError::Malformed { why: why(status)?.to_owned() });
        let id = self.ids.fresh_text();
        let id = std::str::from_utf8(&id).unwrap_or_default();
        let hsts = self.observer.hsts.as_ref().filter(|_| self.tls).and_then(|hsts| hsts.to_str().ok());
        let hsts = hsts.map(|hsts| format!("strict-transport-security: {hsts}\r\n")).unwrap_or_default();
        // Its own first line, and its date.
        let head = std::str::from_utf8(written).ok()?;
        let (line, date) = (head.lines().next()?, head.lines().find(|line| line.starts_with("date: "))?);
        let answer = format!(
            "{line}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\nx-cache: {}\r\n\
             {hsts}x-request-id: {id}\r\ncontent-length: {}\r\n{date}\r\n\r\n{body}",
            Cache::None.as_str(),
            body.len(),
        );
        self.observer.unread(id, self.peer, Tag::default(), status, body.len() as u64);
        Some(answer.into_bytes())
    }
}

fn why(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::BAD_REQUEST => Some("it is not the HTTP/1.1 that this server reads"),
        StatusCode::URI_TOO_LONG => Some("its path is too long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Some("its head is too large"),
        _ => None,
    }
}

fn status_of_bare(written: &[u8]) -> Option<StatusCode> {
    if !written.starts_with(BEGINS) || written.len() > BARE_BYTES_MAX || !written.ends_with(b"\r\n\r\n") {
        return None;
    }
    let line_end = written.windows(2).position(|pair| pair == b"\r\n")?;
    written.get(line_end..)?.starts_with(BARE).then_some(())?;
    StatusCode::from_bytes(written.get(9..12)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_writes_by_itself_is_replaced() {
        let bare = |line: &str, head: &str| status_of_bare(format!("HTTP/1.1 {line}\r\n{head}").as_bytes());
        let own = "connection: close\r\ncontent-length: 0\r\ndate: Tue, 01 Dec 2026 06:00:00 GMT\r\n\r\n";
        assert_eq!(bare("400 Bad Request", own), Some(StatusCode::BAD_REQUEST));
        assert_eq!(
            bare("431 Request Header Fields Too Large", own),
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
        assert_eq!(bare("200 OK", own), None);
        assert_eq!(bare("404 Not Found", &format!("x-request-id: 7\r\n{own}")), None);
        assert_eq!(
            bare("400 Bad Request", &format!("{own}HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(200))),
            None
        );
        assert_eq!(bare("400 Bad Request", "connection: close\r\ncontent-length: 0\r\n"), None);
        assert_eq!(status_of_bare(b"HTTP/1.1 4"), None);
        assert_eq!(status_of_bare(b""), None);
    }
}
