//! Owns which addresses an origin elsewhere must not send us to: those that only this machine can reach.
//!
//! Private networks are not among them, because a mirror in one keeps its zips on another host of it. A name that leads
//! to this machine is not told from others either: it may be an origin's own.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Whether a URL names this machine, or a link-local address, where clouds have their metadata services.
pub(super) fn is_inward(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(ip)) => is_near(ip.into()),
        Some(Host::Ipv6(ip)) => is_near(ip.into()),
        None => false,
    }
}

fn is_near(ip: IpAddr) -> bool {
    ip.is_loopback()
        || ip.to_canonical().is_loopback()
        || ip.to_canonical().is_unspecified()
        || is_link_local(ip)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => Ipv6Addr::is_unicast_link_local(&ip),
    }
}

/// No origin has a link-local address.
#[derive(Debug, thiserror::Error)]
#[error("{0} has link-local addresses only")]
struct LinkLocal(String);

/// The system's resolver, without link-local addresses: a name under an attacker's control is no way to them either.
#[derive(Debug)]
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable: Vec<_> = found.filter(|address| !is_link_local(address.ip())).collect();
            if usable.is_empty() {
                return Err(LinkLocal(name.as_str().to_owned()).into());
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_told_in_every_form() {
        for yes in ["169.254.169.254", "169.254.0.1", "fe80::1", "::ffff:169.254.169.254"] {
            assert!(is_link_local(yes.parse().unwrap()), "{yes}");
        }
        for no in ["10.0.0.1", "127.0.0.1", "192.0.2.1", "fd00::1", "::1"] {
            assert!(!is_link_local(no.parse().unwrap()), "{no}");
        }
    }

    #[tokio::test]
    async fn names_are_resolved_as_usual() {
        let found = Resolver.resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(found.into_iter().all(|address| address.ip().is_loopback()));
    }
}
