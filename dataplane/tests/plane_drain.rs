//! What is left of a data plane when its drain is over: nothing that holds a client.

mod plane_bed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clock::SystemClock;
use dataplane::plane::DataPlane;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const DRAIN_TIMEOUT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_outlast_the_drain_are_broken_off() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    // An origin that hears and never answers.
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", origin.local_addr().unwrap());
    let config = plane_bed::config(directory.path(), &upstream, DRAIN_TIMEOUT);
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
