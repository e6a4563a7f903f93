//! What a `Host` or an `:authority` may be: the host of a URI and a port, if any (RFC 9110 section 7.2, RFC 3986 section
//! 3.2.2). Pure.
//!
//! It means nothing here, but a proxy in front that reads more into it than we do caches our answer under a name that is
//! not ours, and whoever copies it into a page or a log gets what a client wrote.

use std::net::Ipv6Addr;

/// Whether `text` is `host [":" port]`. The host may be empty, as may be the port; user information is neither.
pub(crate) fn is_host(text: &[u8]) -> bool {
    let Some(literal) = text.strip_prefix(b"[") else {
        let mut parts = text.splitn(2, |&byte| byte == b':');
        return parts.next().is_some_and(is_name) && parts.next().is_none_or(is_port);
    };
    let mut parts = literal.splitn(2, |&byte| byte == b']');
    let (Some(address), Some(rest)) = (parts.next(), parts.next()) else { return false };
    is_address(address) && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port))
}

/// `reg-name`, of which an IPv4 address is one as far as its letters go.
fn is_name(mut text: &[u8]) -> bool {
    while let Some((&first, rest)) = text.split_first() {
        text = match (first, rest) {
            (b'%', [high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            (first, rest) if is_plain(first) => rest,
            _ => return false,
        };
    }
    true
}

/// What stands in brackets: an IPv6 address, or one of a version to come (`IPvFuture`).
fn is_address(text: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = text {
        let mut parts = future.splitn(2, |&byte| byte == b'.');
        let (version, address) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|&byte| byte == b':' || is_plain(byte));
    }
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_port(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

/// `unreserved` or `sub-delims`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_the_rfc() {
        for host in [
            "",
            "a",
            "proxy.example.com",
            "proxy.example.com:8081",
            "proxy.example.com:",
            ":80",
            "192.0.2.1:8081",
            "[::1]",
            "[2001:db8::1]:443",
            "[::ffff:192.0.2.1]",
            "[v1.fe:d]",
            "a_b.example",
            "%c3%bc.example",
            "a,b;c=d!$&'()*+~",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b",
            "a\tb",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a@b",
            "me:pw@b",
            "<a>",
            "\"a\"",
            "a|b",
            "a^b",
            "a`b",
            "{a}",
            "a[b]",
            "a:b",
            "a:8o81",
            "a:80:80",
            "a:-1",
            "::1",
            "[::1",
            "[]",
            "[::1]8081",
            "[::1]:x",
            "[192.0.2.1]",
            "[fe80::1%25eth0]",
            "[v.a]",
            "[v1.]",
            "%",
            "%4",
            "%zz",
            "\u{fc}.example",
            "a\0",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
