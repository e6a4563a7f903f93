//! Places for client connections, and who gives one up when there is none.
//!
//! One client must not keep the others out by holding connections that do nothing. A bound for each address would have to
//! be small to help, and small it would hurt a load balancer, all of whose connections have one address. So there is no
//! bound as long as there are places. When there are none, the address that holds the most gives up the connection that has
//! been without an answer for the longest (see [`Reaper::make_room`]): behind a load balancer that is one that it keeps for
//! later and opens again. Where everybody is being answered, the new one waits, and so do the next ones, in the kernel.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics::HttpFamilies;
use super::reaper::{Reaper, TICK, Verdict};

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 host has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client(IpAddr);

impl Client {
    /// Whoever has this address.
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// How many connections each client holds.
#[derive(Debug, Default)]
pub(crate) struct Crowd(HashMap<Client, Arc<AtomicUsize>>);

impl Crowd {
    /// Counts one more of `client`; what is given back is the count, kept current.
    pub(crate) fn enter(&mut self, client: Client) -> Arc<AtomicUsize> {
        let held = self.0.entry(client).or_default();
        held.fetch_add(1, Relaxed);
        Arc::clone(held)
    }

    /// Counts one less.
    pub(crate) fn leave(&mut self, client: Client) {
        if self.0.get(&client).is_some_and(|held| held.fetch_sub(1, Relaxed) <= 1) {
            self.0.remove(&client);
        }
    }
}

/// A place for one more connection; waits until there is one.
pub(crate) async fn place(
    permits: &Arc<Semaphore>,
    reaper: &Reaper,
    metrics: &HttpFamilies,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Some(permit);
    }
    let waiting = Arc::clone(permits).acquire_owned();
    tokio::pin!(waiting);
    loop {
        if reaper.make_room() {
            metrics.closed(Verdict::MadeRoom);
        }
        // Its task gives the place back at its next turn. What cannot be closed now may be at the next tick.
        if let Ok(permit) = tokio::time::timeout(TICK, &mut waiting).await {
            return permit.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let of = |ip: &str| Client::of(ip.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[test]
    fn nothing_is_kept_of_clients_that_left() {
        let (mut crowd, client) = (Crowd::default(), Client::of([192, 0, 2, 1].into()));
        let held = crowd.enter(client);
        crowd.enter(client);
        assert_eq!(held.load(Relaxed), 2);
        crowd.leave(client);
        crowd.leave(client);
        assert!(crowd.0.is_empty());
        crowd.leave(client);
    }
}
