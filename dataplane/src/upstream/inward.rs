//! Owns how far inward an origin may lead us: no further than it is itself.
//!
//! Whoever answers for an origin chooses where its redirects go and what the names in them resolve to. So the addresses are
//! judged, not the names, and judged where they are about to be connected to: a name that changes between two looks gains
//! nothing. An origin in the internet leads to no private network and not to this machine, one in a private network not to
//! this machine, one on this machine anywhere but to a link-local address, where clouds have their metadata services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::redirect::RedirectRefused;

/// How far inward an address is, seen from the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    /// In the internet, or that cannot be told.
    Public,
    /// In a network that is not part of it.
    Private,
    /// This machine.
    Loopback,
    /// What hangs on the same wire.
    LinkLocal,
}

impl Depth {
    /// Of `ip`, also where it is an IPv4 address in IPv6 clothes.
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            _ if ip.is_link_local() => Self::LinkLocal,
            // Linux takes 0.0.0.0 for itself.
            _ if ip.is_loopback() => Self::Loopback,
            [0, ..] => Self::Loopback,
            // RFC 6598, where carriers and overlay networks are.
            [100, 64..=127, ..] => Self::Private,
            _ if ip.is_private() => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            _ if ip.is_unicast_link_local() => Self::LinkLocal,
            _ if ip.is_loopback() || ip.is_unspecified() => Self::Loopback,
            // A gateway makes them IPv4 addresses: RFC 6052, RFC 3056, and the old way of writing them.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..]
            | [0, 0, 0, 0, 0, 0, high, low] => {
                Self::of_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
            }
            // RFC 3879 did away with fec0::/10, networks perhaps not.
            [first, ..] if ip.is_unique_local() || first & 0xffc0 == 0xfec0 => Self::Private,
            _ => Self::Public,
        }
    }
}

/// How far inward one origin leads. Shared by its client's resolver and its redirects.
#[derive(Debug)]
pub(super) struct Reach {
    host: String,
    /// No certificate shows that whoever answers is the origin.
    unproven: bool,
    /// Proxies that the environment names: chosen by the operator, and on the way to everything.
    proxies: Arc<[String]>,
    /// The outermost [`Depth`] that the origin was ever found at.
    depth: AtomicU8,
}

/// Not found yet: a proxy resolves its name for us, and it is up to that what is reached.
const UNKNOWN: u8 = u8::MAX;

impl Reach {
    /// Of the origin at `url`.
    pub(super) fn new(url: &Url, proxies: Arc<[String]>) -> Self {
        let depth = match literal(url).map(Depth::of) {
            None => UNKNOWN,
            // Odd, but the operator's wish; nothing follows from it for others.
            Some(Depth::LinkLocal) => Depth::Private as u8,
            Some(depth) => depth as u8,
        };
        Self {
            host: url.host_str().unwrap_or_default().to_owned(),
            unproven: url.scheme() != "https",
            proxies,
            depth: AtomicU8::new(depth),
        }
    }

    /// Whether the host of a redirect's target may be asked, as far as that can be told before it is resolved.
    pub(super) fn permits(&self, url: &Url) -> bool {
        let depth = match literal(url) {
            Some(ip) => Depth::of(ip),
            None if is_local_name(url) => Depth::Loopback,
            None => return true,
        };
        url.host_str().is_some_and(|host| self.is_own(host)) || self.includes(depth)
    }

    /// What of the addresses of `name` may be connected to.
    fn usable(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Unusable> {
        let of = |address: &SocketAddr| Depth::of(address.ip());
        let own = self.is_own(name);
        if !own && !self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(name)) {
            let usable: Vec<_> = found.into_iter().filter(|address| self.includes(of(address))).collect();
            return if usable.is_empty() { Err(RedirectRefused::Inward.into()) } else { Ok(usable) };
        }
        let mut usable = found;
        usable.retain(|address| of(address) != Depth::LinkLocal);
        let Some(deepest) = usable.iter().map(of).max() else {
            return Err(Unusable::LinkLocal(name.to_owned()));
        };
        if own {
            let before = self.depth.fetch_min(deepest as u8, Relaxed);
            if self.unproven {
                usable.retain(|address| of(address) as u8 <= before);
            }
        }
        if usable.is_empty() { Err(Unusable::Moved(name.to_owned())) } else { Ok(usable) }
    }

    fn is_own(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }

    fn includes(&self, depth: Depth) -> bool {
        let bound = match self.depth.load(Relaxed) {
            UNKNOWN => Depth::Private as u8,
            known => known,
        };
        depth as u8 <= bound
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}

/// Names that stand for this machine (RFC 6761); told here too, since a proxy would resolve them as its own.
fn is_local_name(url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default().trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Why a name leads to no address that may be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// No origin has a link-local address.
    #[error("{0} has link-local addresses only")]
    LinkLocal(String),
    /// Over http, whoever rules over an origin's name could have us ask this machine or its network.
    #[error("{0} leads further inward than when it was first resolved; restart if that is meant")]
    Moved(String),
    /// Not the origin, and further inward than it.
    #[error(transparent)]
    Refused(#[from] RedirectRefused),
}

/// Resolves names for one origin's client.
pub(super) struct Resolver {
    /// How far that origin leads.
    pub(super) reach: Arc<Reach>,
    /// Who knows the addresses.
    pub(super) lookup: Arc<dyn Resolve>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = Arc::clone(&self.reach);
        let host = name.as_str().to_owned();
        let found = self.lookup.resolve(name);
        Box::pin(async move {
            match reach.usable(&host, found.await?.collect()) {
                Ok(usable) => Ok(Box::new(usable.into_iter()) as Addrs),
                // By itself, so that it is found in the chain of causes.
                Err(Unusable::Refused(refused)) => Err(refused.into()),
                Err(unusable) => Err(unusable.into()),
            }
        })
    }
}

/// The system's resolver.
#[derive(Debug)]
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Hosts of the proxies that the HTTP client takes from the environment.
pub(super) fn proxies_of(variable: impl Fn(&str) -> Option<String>) -> Arc<[String]> {
    let names = ["http_proxy", "https_proxy", "all_proxy"];
    let values = names.iter().flat_map(|name| [variable(name), variable(&name.to_ascii_uppercase())]);
    values.flatten().filter_map(|value| host_of(&value)).collect()
}

fn host_of(proxy: &str) -> Option<String> {
    let with_scheme = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    Url::parse(&with_scheme).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
