//! A request on its way through the stack: the head, and what the connection knows that the head does not.

use std::net::SocketAddr;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use http::request::Parts;
use http::{HeaderValue, Method, Uri};

use crate::serve::ServeError;

/// The header that names a request in logs, answers and traces.
pub(crate) const X_REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");

/// A request without its body; requests with one are refused by the stack.
#[derive(Debug)]
pub struct Inbound {
    /// Method, URI and headers.
    pub head: Parts,
    /// Whether the head announces a body.
    pub has_body: bool,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Whether it came over TLS.
    pub tls: bool,
    /// When its head was complete.
    pub received: Instant,
    /// Its name in logs and answers.
    pub id: HeaderValue,
}

/// What is left to tell of a request when it has been answered. Made of those alone that a log line or an error may
/// come of, not of fresh hits; cloning a URI shares its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its method.
    pub method: Method,
    /// What it asked for.
    pub target: Uri,
    /// Who asked.
    pub peer: SocketAddr,
}

impl Inbound {
    /// What is to be told of it.
    pub(crate) fn asked(&self) -> Asked {
        Asked { method: self.head.method.clone(), target: self.head.uri.clone(), peer: self.peer }
    }
}

/// A request that was refused or failed, for the rescue to answer.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub(crate) error: ServeError,
    /// What was asked.
    pub(crate) asked: Box<Asked>,
}

impl Failure {
    /// `inbound` is not answered, because of `error`.
    pub(crate) fn new(error: ServeError, inbound: &Inbound) -> Self {
        Self { error, asked: Box::new(inbound.asked()) }
    }
}

/// Names requests: the client's own `X-Request-Id` where it is harmless, else a name no other request of
/// this process has.
#[derive(Debug)]
pub struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    /// `prefix` tells processes apart; take it at random.
    pub fn new(prefix: u32) -> Self {
        Self { next: AtomicU64::new(u64::from(prefix) << 32) }
    }

    /// The name of the request that carries `offered`.
    pub fn name(&self, offered: Option<&HeaderValue>) -> HeaderValue {
        match offered {
            Some(offered) if is_harmless(offered.as_bytes()) => offered.clone(),
            _ => self.fresh(),
        }
    }

    fn fresh(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.fresh_text()).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }

    /// A name that no other request of this process has.
    pub(super) fn fresh_text(&self) -> [u8; 16] {
        let number = self.next.fetch_add(1, Relaxed);
        let mut text = [0u8; 16];
        for (digit, place) in text.iter_mut().rev().zip(0u32..) {
            *digit = b"0123456789abcdef".get((number >> (4 * place)) as usize & 0xf).copied().unwrap_or(b'0');
        }
        text
    }
}

/// Names that other programs choose may end up in logs, headers and terminals.
fn is_harmless(id: &[u8]) -> bool {
    (1..=64).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_foreign_ones_must_be_harmless() {
        let ids = RequestIds::new(0xdead_beef);
        assert_eq!(ids.name(None), "deadbeef00000000");
        assert_eq!(ids.name(Some(&HeaderValue::from_static("lb-42.a_b"))), "lb-42.a_b");
        assert_eq!(ids.name(Some(&HeaderValue::from_static("a b"))), "deadbeef00000001");
        assert_eq!(ids.name(Some(&HeaderValue::from_static(""))), "deadbeef00000002");
    }
}
