//! What is left of a data plane when its drain is over: nothing that holds a client.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clock::SystemClock;
use dataplane::http::AccessLog;
use dataplane::plane::{Config, DataPlane};
use dataplane::serve::WhenUnavailable;
use dataplane::store::evict::{Algorithm, Keep};
use dataplane::sumdb::SumSpec;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const DRAIN_TIMEOUT: Duration = Duration::from_millis(300);

fn config(directory: &std::path::Path, upstream: &str) -> Config {
    Config {
        data_dir: directory.to_owned(),
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
        drain_timeout: DRAIN_TIMEOUT,
        eviction: Algorithm::S3Fifo,
        keep: Keep::default(),
        pinned: "".parse().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_outlast_the_drain_are_broken_off() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    // An origin that hears and never answers.
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", origin.local_addr().unwrap());
    let config = config(directory.path(), &upstream);
    let plane =
        DataPlane::build(&config, None, Arc::new(SystemClock), Registry::default(), "test".to_owned(), None)
            .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let drain = CancellationToken::new();
    let running = tokio::spawn(plane.run(vec![listener], Vec::new(), drain.clone()));

    let mut waiting = TcpStream::connect(address).await.unwrap();
    waiting.write_all(b"GET /example.com/m/@v/list HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let asked = origin.accept().await.unwrap();

    let begun = Instant::now();
    drain.cancel();
    running.await.unwrap();
    assert!(
        begun.elapsed() >= DRAIN_TIMEOUT && begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let end = tokio::time::timeout(Duration::from_secs(5), waiting.read(&mut [0; 64])).await;
    assert!(matches!(end, Ok(Ok(0) | Err(_))), "{end:?}");
    drop(asked);
}
