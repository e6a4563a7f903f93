//! What the bytes that a client sent begin with, as far as it matters for taking a shortcut. Pure.
//!
//! hyper reads heads with the same parser, so that there is one opinion on where a head ends.

use super::super::host::is_host;

/// More header fields than this make a head one for hyper.
const HEADERS_MAX: usize = 24;

/// See the head of this file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begins<'a> {
    /// A whole request that asks for nothing but what is at its path.
    Plain {
        /// The path, as it was sent.
        path: &'a str,
        /// Bytes of the head.
        length: usize,
    },
    /// A whole request without a body.
    Bodiless {
        /// Bytes of the head.
        length: usize,
    },
    /// Anything else, such as a part of a head.
    Other,
}

/// What a header field may do to a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    /// Nothing that matters to what is in memory.
    None,
    /// Something: a condition, a range, a name for the request.
    Some,
    /// There may be more to the request than its head.
    More,
}

/// Looks at a client's bytes.
pub(super) fn begins(bytes: &[u8]) -> Begins<'_> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { return Begins::Other };
    let (Some(method), Some(path), Some(1)) = (request.method, request.path, request.version) else {
        return Begins::Other;
    };
    let (mut hosts, mut effect) = (0, Effect::None);
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("host") {
            hosts += 1;
            if !is_host(header.value) {
                effect = effect.max(Effect::Some);
            }
        } else {
            effect = effect.max(effect_of(header.name, header.value));
        }
    }
    match (effect, method) {
        (Effect::None, "GET") if hosts == 1 && path.starts_with('/') => Begins::Plain { path, length },
        (Effect::None | Effect::Some, "GET" | "HEAD") => Begins::Bodiless { length },
        _ => Begins::Other,
    }
}

/// By name of those that are known to have none, so that a field that gets a meaning later is not overlooked.
fn effect_of(name: &str, value: &[u8]) -> Effect {
    const NONE: [&str; 10] = [
        "user-agent",
        "accept-encoding",
        "accept",
        "accept-language",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
        "forwarded",
        "via",
    ];
    const MORE: [&str; 6] =
        ["content-length", "transfer-encoding", "expect", "upgrade", "http2-settings", "te"];
    let is = |known: &&str| name.eq_ignore_ascii_case(known);
    if NONE.iter().any(is) {
        return Effect::None;
    }
    if name.eq_ignore_ascii_case("connection") {
        return if value.eq_ignore_ascii_case(b"keep-alive") { Effect::None } else { Effect::More };
    }
    if MORE.iter().any(is) { Effect::More } else { Effect::Some }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(head: &str) -> &'static str {
        match begins(head.as_bytes()) {
            Begins::Plain { .. } => "plain",
            Begins::Bodiless { .. } => "bodiless",
            Begins::Other => "other",
        }
    }

    #[test]
    fn a_plain_request_is_told_from_those_that_say_more() {
        for (fields, expected) in [
            ("Host: a\r\n", "plain"),
            ("host: a:8081\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n", "plain"),
            ("Host: a\r\nConnection: Keep-Alive\r\nX-Forwarded-For: 192.0.2.1\r\n", "plain"),
            ("", "bodiless"),
            ("Host: a\r\nHost: a\r\n", "bodiless"),
            ("Host: a b\r\n", "bodiless"),
            ("Host: a\r\nRange: bytes=0-1\r\n", "bodiless"),
            ("Host: a\r\nIf-None-Match: \"a\"\r\n", "bodiless"),
            ("Host: a\r\nX-Request-Id: a\r\n", "bodiless"),
            ("Host: a\r\nAuthorization: Bearer a\r\n", "bodiless"),
            ("Host: a\r\nSomething-New: a\r\n", "bodiless"),
            ("Host: a\r\nContent-Length: 0\r\n", "other"),
            ("Host: a\r\nContent-Length: 5\r\n", "other"),
            ("Host: a\r\nTransfer-Encoding: chunked\r\n", "other"),
            ("Host: a\r\nConnection: close\r\n", "other"),
            ("Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", "other"),
            ("Host: a\r\nExpect: 100-continue\r\n", "other"),
            ("Host : a\r\n", "other"),
            ("Host: a\r\n  folded\r\n", "other"),
        ] {
            assert_eq!(kind(&format!("GET /a HTTP/1.1\r\n{fields}\r\n")), expected, "{fields:?}");
        }
        assert_eq!(kind("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n"), "bodiless");
        assert_eq!(kind("POST /a HTTP/1.1\r\nHost: a\r\n\r\n"), "other");
        assert_eq!(kind("GET /a HTTP/1.0\r\nHost: a\r\n\r\n"), "other");
        assert_eq!(kind("GET http://b/a HTTP/1.1\r\nHost: a\r\n\r\n"), "bodiless");
        assert_eq!(kind("GET /a HTTP/1.1\r\nHost: a\r\n"), "other");
        assert_eq!(kind(""), "other");
        assert_eq!(kind("\u{16}\u{3}\u{1}"), "other");
    }

    #[test]
    fn a_head_ends_where_the_next_begins() {
        let one = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
        let two = format!("{one}GET /b HTTP/1.1\r\n");
        assert_eq!(begins(two.as_bytes()), Begins::Plain { path: "/a", length: one.len() });
    }
}
