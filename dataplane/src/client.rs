//! Whom work is done for, where that matters: one client's requests must not take what all clients share.
//!
//! A request is one task and what it fetches is another, which outlives it and may have been begun for somebody else who
//! asks for the same. So the client is a value of the task and is handed on where a task is spawned, see `spawn`; what a
//! node does of its own accord is done for nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static SERVED: Option<Client>;
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 host has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(IpAddr);

impl Client {
    /// Whoever has this address.
    pub fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// Whom this task works for; `None` when nobody asked for what it does.
    pub fn current() -> Option<Self> {
        SERVED.try_with(|client| *client).ok().flatten()
    }

    /// Does `work` for this client.
    pub fn served<F: Future>(self, work: F) -> TaskLocalFuture<Option<Self>, F> {
        SERVED.scope(Some(self), work)
    }

    /// As nodes tell each other: 4 bytes or 16.
    pub(crate) fn to_bytes(self) -> Bytes {
        match self.0 {
            IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
        }
    }

    /// The reverse of [`Client::to_bytes`]; `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ip = <[u8; 4]>::try_from(bytes).map(|ip| Ipv4Addr::from(ip).into());
        ip.or_else(|_| <[u8; 16]>::try_from(bytes).map(|ip| Ipv6Addr::from(ip).into())).ok().map(Self::of)
    }
}

/// Does `work` for nobody: whatever this task works for, others wait for the same who have asked for something else.
pub(crate) fn for_nobody<F: Future>(work: F) -> TaskLocalFuture<Option<Client>, F> {
    SERVED.scope(None, work)
}

/// Spawns `work`, which is done for whom this task works for.
pub(crate) fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    spawn_for(Client::current(), work)
}

/// Spawns `work`, which is done for `client`.
pub(crate) fn spawn_for<F>(client: Option<Client>, work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match client {
        Some(client) => tokio::spawn(client.served(work)),
        None => tokio::spawn(work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ip: &str) -> Client {
        Client::of(ip.parse().unwrap())
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[test]
    fn it_is_the_same_client_to_another_node() {
        for client in [of("192.0.2.1"), of("::ffff:192.0.2.1"), of("2001:db8::1")] {
            assert_eq!(Client::from_bytes(&client.to_bytes()), Some(client));
        }
        assert_eq!(Client::from_bytes(&[]), None);
        assert_eq!(Client::from_bytes(&[1; 5]), None);
    }

    #[tokio::test]
    async fn a_task_works_for_whom_the_task_that_spawned_it_works_for() {
        let client = of("192.0.2.1");
        let spawned = client.served(async { spawn(async { Client::current() }).await }).await;
        assert_eq!(spawned.unwrap(), Some(client));
        let shared = client.served(for_nobody(async { spawn(async { Client::current() }).await })).await;
        assert_eq!(shared.unwrap(), None);
        assert_eq!(spawn(async { Client::current() }).await.unwrap(), None);
    }
}
