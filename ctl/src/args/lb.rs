//! `lb`: load balancers in front of the data nodes.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::balancer::Algorithm;
use crate::complete;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Print a balancer's configuration, made from the data nodes there are
    #[command(subcommand, arg_required_else_help = true)]
    Render(Program),
}

#[derive(Subcommand, Debug)]
pub(crate) enum Program {
    /// nginx
    #[command(after_help = "Example:\n  goproxyctl lb render nginx --listen 0.0.0.0:8080 > nginx.conf")]
    Nginx(Render),
    /// HAProxy
    #[command(after_help = "Example:\n  goproxyctl lb render haproxy --algorithm least-conn > haproxy.cfg")]
    Haproxy(Render),
    /// Envoy
    #[command(after_help = "Example:\n  goproxyctl lb render envoy --zone a > envoy.yaml")]
    Envoy(Render),
    /// keepalived, which moves one address between balancers
    #[command(
        after_help = "Example:\n  goproxyctl lb render keepalived --listen 0.0.0.0:8080 --address 10.0.0.100/24 --priority 150"
    )]
    Keepalived(Floating),
}

#[derive(Args, Debug)]
pub(crate) struct Render {
    /// Where the balancer listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: String,
    /// How it chooses a node
    #[arg(long, value_enum, default_value = "round-robin")]
    pub(crate) algorithm: Algorithm,
    /// Prefer the nodes of this zone, and use the others when none of it is left
    #[arg(long, add = ArgValueCandidates::new(complete::zones))]
    pub(crate) zone: Option<String>,
    /// Talk TLS to the nodes, trusting the authorities in this file
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub(crate) tls_ca: Option<String>,
    /// The name that stands in the certificate of every node. nginx needs it, the others where nodes are known by their addresses
    #[arg(long, value_name = "NAME", requires = "tls_ca", value_parser = word)]
    pub(crate) tls_name: Option<String>,
    /// The certificate that nodes are shown which ask for one (goproxyd's --tls-client-ca), in PEM. For HAProxy its key is in the
    /// same file
    #[arg(long, value_name = "FILE", requires = "tls_ca", value_parser = path)]
    pub(crate) tls_cert: Option<String>,
    /// The key of that certificate. nginx and Envoy need it; HAProxy finds it in the file of --tls-cert, or in the one that has `.key`
    /// behind that name
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_parser = path)]
    pub(crate) tls_key: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Floating {
    /// Where the balancers listen. Its host is the address that moves, unless --address says another; its port is looked at
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: String,
    /// The address that developers use, with the length of its network
    #[arg(long, value_name = "ADDRESS/LENGTH", value_parser = network)]
    pub(crate) address: Option<String>,
    /// The network interface that has it [default: that of this machine's default route]
    #[arg(long, value_name = "NAME", value_parser = word)]
    pub(crate) interface: Option<String>,
    /// Which of the balancers has it first: the one with the highest number
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=254))]
    pub(crate) priority: u8,
}

/// `HOST:PORT`, of characters that mean nothing to any of the programs.
fn address(text: &str) -> Result<String, String> {
    let wrong = || "HOST:PORT is needed".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    port.parse::<u16>().map_err(|_| wrong())?;
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]*".contains(letter);
    if host.is_empty() || !host.chars().all(fine) { Err(wrong()) } else { Ok(text.to_owned()) }
}

fn network(text: &str) -> Result<String, String> {
    let wrong = || "ADDRESS/LENGTH is needed".to_owned();
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    let length: u8 = length.parse().map_err(|_| wrong())?;
    if length <= if address.is_ipv4() { 32 } else { 128 } { Ok(text.to_owned()) } else { Err(wrong()) }
}

fn word(text: &str) -> Result<String, String> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "-._@".contains(letter);
    if !text.is_empty() && text.chars().all(fine) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, `-`, `.`, `_` and `@` are permitted".to_owned())
    }
}

/// A path that can stand in a configuration without quotes.
fn path(text: &str) -> Result<String, String> {
    let fine =
        |letter: char| !letter.is_whitespace() && !letter.is_control() && !"\"';{}#\\$".contains(letter);
    if !text.is_empty() && text.chars().all(fine) {
        Ok(text.to_owned())
    } else {
        Err("a path without blanks, quotes, braces, `;`, `#`, `$` and `\\` is needed".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_into_a_configuration_that_means_something_there() {
        for fine in ["127.0.0.1:80", "[::1]:8080", "*:80", "lb.example.com:443"] {
            assert!(address(fine).is_ok(), "{fine}");
        }
        for wrong in ["80", ":80", "a b:80", "a;b:80", "a:b", "a:70000", "a\nb:1"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(network("10.0.0.1/24").is_ok() && network("fd00::1/64").is_ok());
        assert!(network("10.0.0.1").is_err() && network("10.0.0.1/33").is_err() && network("x/1").is_err());
        assert!(word("eth0.7").is_ok() && word("eth0; x").is_err() && word("").is_err());
        assert!(path("/etc/ssl/ca.pem").is_ok() && path("/a b").is_err() && path("/a;b").is_err());
    }
}
