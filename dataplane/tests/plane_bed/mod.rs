//! What tests of a whole data plane share: its settings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use dataplane::http::AccessLog;
use dataplane::plane::Config;
use dataplane::serve::WhenUnavailable;
use dataplane::store::evict::{Algorithm, Keep};
use dataplane::sumdb::SumSpec;

/// A small data plane with its data in `data_dir`, which fetches along `upstream` and verifies nothing.
pub(crate) fn config(data_dir: &Path, upstream: &str, drain_timeout: Duration) -> Config {
    Config {
        data_dir: data_dir.to_owned(),
        cache_bytes: 1 << 30,
        memory_bytes: 32 << 20,
        chain: upstream.parse().unwrap(),
        upstream_ca: None,
        fetches_max: 4,
        private: "".parse().unwrap(),
        sumdb: SumSpec::Off,
        no_sumdb: "".parse().unwrap(),
        sumdb_unavailable: WhenUnavailable::Refuse,
        offline: false,
        list_lifetime: Duration::from_mins(1),
        access_log: AccessLog::Off,
        connections_max: 16,
        in_flight_max: 16,
        hsts_max_age: Duration::ZERO,
        drain_timeout,
        eviction: Algorithm::S3Fifo,
        keep: Keep::default(),
        pinned: "".parse().unwrap(),
        handoff_rate_bytes: 1 << 30,
        scrub_rate_bytes: 0,
    }
}
