//! The types of settings that no other crate has, and reading them from text.

use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use cluster::{Address, LABEL_BYTES_MAX};
use common::byte_size::ByteSize;
use common::duration_text::{DurationText, parse_duration};
use common::error_chain::ErrorChain;

/// The stock go command's own default, as far as this version can follow it (no `direct`).
pub(super) const UPSTREAM_DEFAULT: &str = "https://proxy.golang.org";

/// What retention counts in.
const DAY: Duration = Duration::from_hours(24);

/// The longest time that retention takes, a hundred years; more is a typing error.
const RETENTION_MAX: Duration = Duration::from_hours(24 * 36_500);

/// Addresses of one listener; more is a mistake.
const ADDRESSES_MAX: usize = 16;

/// What goes first when the cache is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Eviction {
    /// What was asked for only once, in order of arrival
    S3Fifo,
    /// What was asked for longest ago
    Lru,
}

/// What to do while the checksum database cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SumdbUnavailable {
    /// Refuse new content until it can be verified
    Refuse,
    /// Serve it unverified, and verify it later
    Serve,
}

/// Which requests get a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLog {
    /// None
    Off,
    /// Those that were not answered from the store, and errors
    Misses,
    /// Every request
    All,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl From<LogFormat> for common::telemetry::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Reads a value by its type, with the causes of a refusal in its text, which clap would leave out.
pub(super) fn read<T>(text: &str) -> Result<T, String>
where
    T: FromStr<Err: Error + 'static>,
{
    text.parse().map_err(|error| ErrorChain::new(&error).to_string())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// Reads a name in the grammar of `T`, which whoever uses it reads again.
pub(super) fn name<T>(text: &str) -> Result<String, String>
where
    T: FromStr<Err: Error + 'static>,
{
    read::<T>(text).map(|_| text.to_owned())
}

/// What `--name` calls a node: of a host name the first label, in lower case.
pub(super) fn first_label(name: &str) -> String {
    name.split('.').next().unwrap_or_default().to_ascii_lowercase()
}

/// The same as a name that a node can have: a host may be called otherwise, and its server starts all the same.
pub(crate) fn node_label(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let label: String = first_label(name).chars().map(plain).take(LABEL_BYTES_MAX).collect();
    let label = label.trim_matches('-');
    if label.is_empty() { "node" } else { label }.to_owned()
}

/// Reads how many bytes a second may be copied.
pub(super) fn rate(text: &str) -> Result<ByteSize, String> {
    let rate: ByteSize = read(text)?;
    if rate == ByteSize::default() {
        return Err("with 0 nothing would ever be copied".to_owned());
    }
    Ok(rate)
}

/// Reads a time that retention keeps something for.
pub(super) fn retention(text: &str) -> Result<Duration, String> {
    let found = duration(text)?;
    if found > RETENTION_MAX {
        return Err(format!("at most {} can be kept for", DurationText(RETENTION_MAX)));
    }
    if !found.as_millis().is_multiple_of(DAY.as_millis()) {
        return Err("it is counted in whole days, such as 30d".to_owned());
    }
    Ok(found)
}

/// Reads `IP:PORT`, `localhost:PORT` or `:PORT`, several of them parted by commas.
pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let found: Result<Vec<_>, _> = text.split(',').map(|one| address(one.trim())).collect();
    let found = found?;
    if found.len() > ADDRESSES_MAX {
        return Err(format!("more than {ADDRESSES_MAX} addresses"));
    }
    Ok(found)
}

/// Reads `HOST:PORT`, several of them parted by commas.
pub(super) fn hosts(text: &str) -> Result<Vec<Address>, String> {
    let found: Result<Vec<_>, _> = text.split(',').map(|one| read(one.trim())).collect();
    let found = found?;
    if found.len() > ADDRESSES_MAX {
        return Err(format!("more than {ADDRESSES_MAX} addresses"));
    }
    Ok(found)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = || format!("{text:?} is not of the form IP:PORT, localhost:PORT or :PORT");
    if let Some(port) = text.strip_prefix(':') {
        return Ok((Ipv6Addr::UNSPECIFIED, port.parse().map_err(|_| expected())?).into());
    }
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric.as_deref().unwrap_or(text).parse().map_err(|_| expected())
}

pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "a ratio is a number from 0 to 1".to_owned())
}

pub(super) fn otlp_endpoint(text: &str) -> Result<String, String> {
    http_url(text, &["http"]).map_err(|()| {
        "write http://HOST:PORT; for a receiver behind TLS run a collector beside this process".to_owned()
    })?;
    Ok(text.to_owned())
}

fn http_url(text: &str, schemes: &[&str]) -> Result<(), ()> {
    let url = url::Url::parse(text).map_err(|_| ())?;
    if schemes.contains(&url.scheme()) && url.has_host() { Ok(()) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numeric_and_a_bare_port_means_everywhere() {
        let text = "127.0.0.1:1, [::1]:2,localhost:3,:4";
        let expected = ["127.0.0.1:1", "[::1]:2", "127.0.0.1:3", "[::]:4"].map(|text| text.parse().unwrap());
        assert_eq!(addresses(text).unwrap(), expected);
        for bad in ["", "8081", "127.0.0.1", "example.com:80", "127.0.0.1:70000", ":", "127.0.0.1:1,"] {
            assert!(addresses(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn whatever_a_host_is_called_a_node_can_be_called_by_it() {
        let long = "a".repeat(70);
        for (host, label) in [
            ("host-1", "host-1"),
            ("Host-1.example.com", "host-1"),
            ("build_01", "build-01"),
            ("_b\u{fc}ro_", "b-ro"),
            ("", "node"),
            ("__", "node"),
            (long.as_str(), &long[..63]),
        ] {
            assert_eq!(node_label(host), label);
            assert!(cluster::NodeName::parse(label).is_ok());
        }
        assert!(name::<cluster::Zone>("rack-1").is_ok() && name::<cluster::Zone>("Rack 1").is_err());
        assert!(rate("1").is_ok() && rate("0").is_err() && rate("0MiB").is_err());
    }

    #[test]
    fn retention_is_in_whole_days_and_bounded() {
        for (text, days) in [("0", 0), ("0s", 0), ("1d", 1), ("48h", 2), ("1d 24h", 2), ("36500d", 36_500)] {
            assert_eq!(retention(text), Ok(DAY * days), "{text}");
        }
        for (text, said) in
            [("1h", "whole days"), ("1d1ms", "whole days"), ("36501d", "at most 36500d"), ("x", "unit")]
        {
            assert!(retention(text).is_err_and(|reason| reason.contains(said)), "{text}");
        }
    }

    #[test]
    fn ratios_and_endpoints_have_bounds() {
        assert_eq!((ratio("0"), ratio("0.25"), ratio("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        assert!(["-0.1", "1.1", "NaN", "x"].iter().all(|text| ratio(text).is_err()));
        assert!(otlp_endpoint("http://127.0.0.1:4317").is_ok());
        assert!(
            ["https://h:1", "127.0.0.1:4317", "file:///x", ""]
                .iter()
                .all(|text| otlp_endpoint(text).is_err())
        );
    }
}
