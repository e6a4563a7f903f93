//! Rules that need more than one setting. A value on its own is judged where it is read.

use std::net::SocketAddr;

use common::byte_size::ByteSize;

use super::Settings;

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
    /// Everything that is wrong with these settings together.
    pub(crate) fn objections(&self) -> Vec<Objection> {
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
        object(self.name.trim().is_empty(), "name", "must not be empty");
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
        for address in
            self.admin_listen.iter().filter(|admin| self.listen.iter().any(|main| clash(main, admin)))
        {
            object(true, "admin-listen", &format!("{address} is taken by --listen"));
        }
        found
    }
}

/// Whether two sockets want the same port of the same address. Port 0 is a new one each time.
fn clash(one: &SocketAddr, other: &SocketAddr) -> bool {
    one.port() == other.port() && one.port() != 0 && one.ip() == other.ip()
}
