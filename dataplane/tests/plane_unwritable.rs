//! A disk that takes no writes though it has room: what is held is served, what is not passes through, and storing goes on
//! by itself once it can.
#![cfg(feature = "failpoints")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests fail by panicking")]

mod plane_bed;
mod store_bed;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clock::SystemClock;
use dataplane::plane::DataPlane;
use prometheus_client::registry::Registry;
use store_bed::content;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The points that stand for the disk: what the database writes, and the file by which healing tries it.
const POINTS: [&str; 2] = ["store::rocks::write", "store::heal::try_disk"];
/// Of four chunks, and of one.
const ZIP_BYTES: [usize; 2] = [900_000, 5_000];

/// Status and body of an answer.
async fn get(address: std::net::SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), answer.split_off(end + 4))
}

/// Publishes `example.com/a` at `v1.{number}.0`, and tells its zip.
fn publish(directory: &Path, number: usize) -> Vec<u8> {
    let folder = directory.join("origin/example.com/a/@v");
    std::fs::create_dir_all(&folder).unwrap();
    let filler = content(number as u64, ZIP_BYTES[number % ZIP_BYTES.len()]);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    writer.start_file(format!("example.com/a@v1.{number}.0/filler"), options).unwrap();
    writer.write_all(&filler).unwrap();
    let zip = writer.finish().unwrap().into_inner();
    std::fs::write(folder.join(format!("v1.{number}.0.zip")), &zip).unwrap();
    std::fs::write(folder.join(format!("v1.{number}.0.mod")), "module example.com/a\n").unwrap();
    zip
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_no_writes_stops_storing_and_not_serving_until_it_takes_them_again() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let zips: Vec<_> = (0..6).map(|number| publish(directory.path(), number)).collect();
    let plane = DataPlane::build(
        &plane_bed::config(
            &directory.path().join("data"),
            &format!("file://{}", directory.path().join("origin").display()),
            Duration::from_secs(5),
        ),
        None,
        Arc::new(SystemClock),
        Registry::default(),
        "test".to_owned(),
        None,
    )
    .unwrap();
    let listeners =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let [address, admin] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let [listener, admin_listener] = listeners;
    let drain = CancellationToken::new();
    let running = tokio::spawn(plane.run(vec![listener], vec![admin_listener], drain.clone()));
    let zip_path = |number: usize| format!("/example.com/a/@v/v1.{number}.0.zip");
    let readiness = || async { String::from_utf8(get(admin, "/readyz").await.1).unwrap() };
    let is_served = |number: usize, cached: bool| {
        let (path, expected) = (zip_path(number), &zips[number]);
        async move {
            let path = if cached { format!("/cached-only{path}") } else { path };
            let (status, body) = get(address, &path).await;
            status == "200" && body == *expected
        }
    };

    assert!(is_served(0, false).await && is_served(1, false).await);
    assert_eq!(readiness().await, "ready\n");
    for point in POINTS {
        fail::cfg(point, "return(30)").unwrap();
    }
    for number in 2..4 {
        assert!(is_served(number, false).await, "zip {number} does not pass through");
        assert!(is_served(number, false).await, "zip {number} does not pass through again");
        let (status, body) = get(address, &format!("/example.com/a/@v/v1.{number}.0.mod")).await;
        assert_eq!((status.as_str(), body.as_slice()), ("200", &b"module example.com/a\n"[..]));
    }
    assert!(is_served(0, true).await && is_served(1, true).await, "what is held is not served");
    assert_eq!(get(address, &format!("/cached-only{}", zip_path(2))).await.0, "404");
    let (status, body) = get(admin, "/readyz").await;
    let body = String::from_utf8(body).unwrap();
    assert!(status == "200" && body.contains("takes no writes (Read-only file system"), "{status} {body}");
    assert_eq!(get(address, "/readyz").await.0, "200");
    eventually("the metric tells", || async { metrics(admin).await.contains("store_unwritable 1") }).await;

    for point in POINTS {
        fail::remove(point);
    }
    eventually("it writes again", || async { readiness().await == "ready\n" }).await;
    for number in 2..6 {
        assert!(is_served(number, false).await);
        assert!(is_served(number, true).await, "zip {number} is not held");
    }
    eventually("the metric tells", || async { metrics(admin).await.contains("store_unwritable 0") }).await;
    drain.cancel();
    running.await.unwrap();
}

async fn metrics(admin: std::net::SocketAddr) -> String {
    String::from_utf8(get(admin, "/metrics").await.1).unwrap()
}

async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        // waits for: the pass over the store, every five seconds, which nothing announces.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
