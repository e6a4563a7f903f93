//! Rules that need more than one setting. A value on its own is judged where it is read.

use std::net::SocketAddr;

use cluster::NodeName;
use common::byte_size::ByteSize;

use super::Settings;
use super::value::first_label;

/// Less than this holds a few chunks of zips and nothing else.
const MEMORY_MIN: ByteSize = ByteSize::from_bytes(8 << 20);

/// Less than this is a typing error, such as a missing unit.
const CACHE_SIZE_MIN: ByteSize = ByteSize::from_bytes(1 << 20);

/// A setting that does not go with the others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Objection {
    /// The flag's name, without dashes.
    pub(crate) key: &'static str,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Settings {
    /// Everything that is wrong with these settings together. A process that serves no modules, a control node, does not use
    /// `--listen`.
    pub(crate) fn objections(&self, serves_modules: bool) -> Vec<Objection> {
        let mut found = Vec::new();
        let mut object = |wrong: bool, key, reason: &str| {
            if wrong {
                found.push(Objection { key, reason: reason.to_owned() });
            }
        };
        let (cert, key) = (self.tls_cert.is_some(), self.tls_key.is_some());
        object(cert && !key, "tls-cert", "needs --tls-key as well");
        object(key && !cert, "tls-key", "needs --tls-cert as well");
        object(self.tls_client_ca.is_some() && !cert, "tls-client-ca", "needs --tls-cert as well");
        object(!cert && !self.hsts_max_age.is_zero(), "hsts-max-age", "needs --tls-cert as well");
        object(self.join_token.is_some() && self.join.is_none(), "join-token", "needs --join as well");
        if let Err(error) = NodeName::parse(&first_label(&self.name)) {
            object(true, "name", &error.to_string());
        }
        object(
            self.memory < MEMORY_MIN,
            "memory",
            &format!("{} is too little, at least {MEMORY_MIN} are needed", self.memory),
        );
        object(
            self.cache_size < CACHE_SIZE_MIN,
            "cache-size",
            &format!("{} is too little, at least {CACHE_SIZE_MIN} are needed", self.cache_size),
        );
        object(self.rpc_listen.len() > 1, "rpc-listen", "takes one address");
        for (key, reason) in self.clashes(serves_modules) {
            object(true, key, &reason);
        }
        found
    }

    /// Addresses that this process would have to listen on twice, by the setting that comes second.
    fn clashes(&self, serves_modules: bool) -> Vec<(&'static str, String)> {
        let main: &[SocketAddr] = if serves_modules { &self.listen } else { &[] };
        let (admin, rpc) = (self.admin_listen.as_slice(), self.rpc_listen.as_slice());
        let all = [("listen", main), ("admin-listen", admin), ("rpc-listen", rpc)];
        let all =
            all.into_iter().flat_map(|(key, addresses)| addresses.iter().map(move |address| (key, address)));
        let mut before: Vec<(&str, &SocketAddr)> = Vec::new();
        let mut found = Vec::new();
        for (key, address) in all {
            if let Some((by, other)) = before.iter().find(|(_, other)| clash(other, address)) {
                let which = if *other == address { String::new() } else { format!(" at {other}") };
                found.push((key, format!("{address} is taken by --{by}{which}")));
            }
            before.push((key, address));
        }
        found
    }
}

/// Whether two sockets want the same port of the same address. Port 0 is a new one each time.
fn clash(one: &SocketAddr, other: &SocketAddr) -> bool {
    let same = one.ip().to_canonical() == other.ip().to_canonical();
    one.port() == other.port() && one.port() != 0 && (same || covers(one, other) || covers(other, one))
}

/// Whether a socket takes every address, and with them the other's. One for every address of IPv6 takes those of IPv4 as well.
fn covers(all: &SocketAddr, other: &SocketAddr) -> bool {
    all.ip().is_unspecified() && (all.is_ipv6() || other.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_clash_where_the_system_gives_a_port_once() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "[::1]:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::]:1", "[::1]:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::]:0", "0.0.0.0:0", false),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
        ] {
            let [a, b] = [one, other].map(|text: &str| text.parse::<SocketAddr>().unwrap());
            assert_eq!((clash(&a, &b), clash(&b, &a)), (expected, expected), "{one} {other}");
        }
    }
}
