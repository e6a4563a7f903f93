//! What a process is called in a cluster and where others reach it, by its settings.

use std::net::SocketAddr;

use anyhow::Context;
use cluster::{Address, Datacenter, NodeName};
use tokio::net::TcpListener;

use crate::build::BUILD;
use crate::roles::ServeError;
use crate::settings::{Settings, node_label};

/// The name of this process in a cluster: `--name`, of a host name its first label, in lower case. One that was given is known to
/// be such a name.
pub(super) fn name(settings: &Settings) -> Result<NodeName, ServeError> {
    NodeName::parse(&node_label(&settings.name))
        .with_context(|| format!("--name {:?} cannot be a name in a cluster", settings.name))
        .map_err(ServeError::Settings)
}

/// The region.
pub(super) fn datacenter(settings: &Settings) -> Result<Datacenter, ServeError> {
    Datacenter::parse(&settings.datacenter)
        .with_context(|| format!("--datacenter {:?}", settings.datacenter))
        .map_err(ServeError::Settings)
}

/// What this process runs.
pub(super) fn version() -> String {
    format!("{} ({})", BUILD.version, BUILD.commit)
}

/// Where a listener is reached: as the setting says, else at its address, else, when that is every address, by the host's name.
pub(super) fn reached_at(
    said: Option<&Address>,
    listener: &TcpListener,
    settings: &Settings,
) -> Result<Address, ServeError> {
    if let Some(said) = said {
        return Ok(said.clone());
    }
    let local = listener.local_addr().context("read a listener's address").map_err(ServeError::Failed)?;
    address(local, &settings.name)
        .with_context(|| {
            format!("{local} is no address that others could use: set --rpc-advertise and --advertise")
        })
        .map_err(ServeError::Settings)
}

fn address(local: SocketAddr, host: &str) -> anyhow::Result<Address> {
    let text =
        if local.ip().is_unspecified() { format!("{host}:{}", local.port()) } else { local.to_string() };
    Ok(Address::parse(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_reached_by_the_hosts_name() {
        let reached = |local: &str| address(local.parse().unwrap(), "host-1").unwrap().to_string();
        assert_eq!(reached("10.0.0.1:8083"), "10.0.0.1:8083");
        assert_eq!(reached("[::1]:8083"), "[::1]:8083");
        assert_eq!(reached("[::]:8083"), "host-1:8083");
        assert_eq!(reached("0.0.0.0:8083"), "host-1:8083");
        assert!(address("0.0.0.0:1".parse().unwrap(), "a b").is_err());
    }
}
