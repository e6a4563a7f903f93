//! Zips through scripted origins that stall, drip, lie and break off: full bytes or a clean error, never a seam.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod upstream_fake;

use std::sync::Arc;
use std::time::Duration;

use common::clock::{ManualClock, SystemClock};
use dataplane::upstream::{
    FallThrough, FetchError, Limits, Phase, Unavailability, Upstream, UpstreamOptions, ZipStream,
};
use gomod::{ModulePath, ModuleVersion, Request, Version};
use upstream_fake::{Fake, Piece, Reply, Seen, short_limits, upstream, upstream_with};

fn version() -> ModuleVersion {
    ModuleVersion::new(ModulePath::parse("m.example/a").unwrap(), Version::parse("v1.0.0").unwrap()).unwrap()
}

fn content(seed: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8 ^ seed).collect();
    bytes.splice(..4, *b"PK\x03\x04");
    bytes
}

async fn open(upstream: &Upstream) -> Result<ZipStream, FetchError> {
    upstream.fetch_zip(&version(), &[]).await
}

async fn read_all(zip: &mut ZipStream) -> Result<Vec<u8>, FetchError> {
    let mut all = Vec::new();
    while let Some(chunk) = zip.next().await? {
        assert!(!chunk.is_empty());
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

async fn fetch(upstream: &Upstream) -> Result<Vec<u8>, FetchError> {
    read_all(&mut open(upstream).await?).await
}

/// The whole file announced, its first `part` bytes sent, then `end`.
fn breaking(bytes: &[u8], part: usize, end: Option<Piece>) -> Reply {
    let mut pieces = vec![Piece::Send(bytes[..part].to_vec())];
    pieces.extend(end);
    Reply::pieces(bytes.len() as u64, pieces)
}

#[tokio::test]
async fn whole_zips_come_whole() {
    for chunked in [false, true] {
        let origin = Fake::start(move |_, _| Reply { chunked, ..Reply::ok(content(0)) }).await;
        let mut zip = open(&upstream(&origin.url())).await.unwrap();
        assert_eq!(zip.length, (!chunked).then_some(100_000));
        assert_eq!(read_all(&mut zip).await.unwrap(), content(0));
        assert!(zip.next().await.unwrap().is_none(), "the end stays the end");
        assert_eq!(origin.paths(), ["/m.example/a/@v/v1.0.0.zip"]);
    }
}

/// Truncated, reset, stalled, at awkward places, with no validator: asked again, skipped, compared.
#[tokio::test]
async fn a_broken_zip_is_taken_up_by_reading_again() {
    for end in [None, Some(Piece::Reset), Some(Piece::Stall)] {
        for part in [1, 50_000, 99_999] {
            let end = end.clone();
            let origin = Fake::start(move |_, index| match index {
                0 => breaking(&content(0), part, end.clone()),
                _ => Reply::ok(content(0)),
            })
            .await;
            assert_eq!(fetch(&upstream(&origin.url())).await.unwrap(), content(0), "{part}");
            assert_eq!(origin.seen().len(), 2);
            assert_eq!(origin.seen()[1].header("range"), None);
        }
    }
}

fn ranged(seen: &Seen, bytes: &[u8], tag: &str) -> Reply {
    let from =
        seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let reply = match from {
        Some(from) if seen.header("if-range") == Some(tag) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            Reply::new(206, &bytes[from..]).header("Content-Range", &range)
        }
        _ => Reply::ok(bytes),
    };
    reply.header("ETag", tag).header("Accept-Ranges", "bytes")
}

#[tokio::test]
async fn a_broken_zip_is_taken_up_by_range_where_the_origin_can() {
    let origin = Fake::start(|seen, index| match index {
        0 => breaking(&content(0), 60_000, Some(Piece::Reset))
            .header("ETag", "\"one\"")
            .header("Accept-Ranges", "bytes"),
        _ => ranged(seen, &content(0), "\"one\""),
    })
    .await;
    assert_eq!(fetch(&upstream(&origin.url())).await.unwrap(), content(0));
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    // A reset may overtake bytes already sent, so the place is where our reading ended.
    let from: usize =
        seen[1].header("range").unwrap().trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!(from <= 60_000);
    assert_eq!(seen[1].header("if-range"), Some("\"one\""));
}

#[tokio::test]
async fn a_range_may_be_ignored_by_the_origin() {
    let origin = Fake::start(|_, index| {
        let reply = match index {
            0 => breaking(&content(0), 60_000, None),
            _ => Reply::ok(content(0)),
        };
        reply.header("ETag", "\"one\"").header("Accept-Ranges", "bytes")
    })
    .await;
    assert_eq!(fetch(&upstream(&origin.url())).await.unwrap(), content(0));
}

/// A file that changes while it is read must never be sewn together from two.
#[tokio::test]
async fn a_changed_file_is_noticed() {
    type Second = fn(&Seen) -> Reply;
    let without_tag: [Second; 3] =
        [|_| Reply::ok(content(1)), |_| Reply::ok(&content(0)[..99_000]), |_| Reply::new(404, "")];
    for second in without_tag {
        let origin = Fake::start(move |seen, index| match index {
            0 => breaking(&content(0), 60_000, None),
            _ => second(seen),
        })
        .await;
        let error = fetch(&upstream(&origin.url())).await.unwrap_err();
        assert!(matches!(error, FetchError::Changed { .. }), "{error}");
    }
    let with_tag: [Second; 5] = [
        |seen| ranged(seen, &content(1), "\"two\""),
        // A range of the other file, of the same length, whatever `If-Range` said.
        |seen| {
            let from = seen.header("range").unwrap().trim_start_matches("bytes=").trim_end_matches('-');
            let range = format!("bytes {from}-99999/100000");
            let rest = content(1)[from.parse().unwrap()..].to_vec();
            Reply::new(206, rest).header("Content-Range", &range).header("ETag", "\"two\"")
        },
        |_| Reply::new(206, &content(0)[10..]).header("Content-Range", "bytes 10-99999/100000"),
        |_| Reply::new(206, &content(0)[60_000..]).header("Content-Range", "bytes 60000-99999/*"),
        |_| Reply::new(416, ""),
    ];
    for second in with_tag {
        let origin = Fake::start(move |seen, index| match index {
            0 => {
                breaking(&content(0), 60_000, None).header("ETag", "\"one\"").header("Accept-Ranges", "bytes")
            }
            _ => second(seen),
        })
        .await;
        let error = fetch(&upstream(&origin.url())).await.unwrap_err();
        assert!(matches!(error, FetchError::Changed { .. }), "{error}");
    }
}

#[tokio::test]
async fn taking_up_again_has_an_end() {
    let origin = Fake::start(|_, index| breaking(&content(0), 20_000 + 1_000 * index, None)).await;
    let mut zip = open(&upstream(&origin.url())).await.unwrap();
    let error = read_all(&mut zip).await.unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Unavailable { why: Unavailability::Truncated | Unavailability::Broken, .. }
        ),
        "{error}"
    );
    assert_eq!(origin.seen().len(), 4, "the first and three more");
}

#[tokio::test]
async fn a_slow_consumer_is_not_a_slow_origin() {
    let origin = Fake::start(|_, _| Reply::ok([b"PK\x03\x04".to_vec(), vec![9; 8 << 20]].concat())).await;
    let limits =
        Limits { pace_window: Duration::from_millis(100), bytes_per_second_min: 1 << 20, ..short_limits() };
    let options = UpstreamOptions { limits, ..UpstreamOptions::default() };
    let upstream = upstream_with(&origin.url(), options, Arc::new(SystemClock));
    let mut zip = open(&upstream).await.unwrap();
    let mut length = zip.next().await.unwrap().unwrap().len();
    // waits for: nothing; a pause longer than every limit together is what is tested.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    length += read_all(&mut zip).await.unwrap().len();
    assert_eq!(length, (8 << 20) + 4);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn a_drip_is_too_slow_though_never_idle() {
    let origin = Fake::start(|_, _| {
        let mut pieces = vec![Piece::Send(b"PK\x03\x04".to_vec())];
        for _ in 0..200 {
            pieces.extend([Piece::Wait(Duration::from_millis(20)), Piece::Send(vec![1])]);
        }
        Reply::pieces(1_000_000, pieces)
    })
    .await;
    let limits = Limits { pace_window: Duration::from_millis(300), ..short_limits() };
    let options = UpstreamOptions { limits, ..UpstreamOptions::default() };
    let error = fetch(&upstream_with(&origin.url(), options, Arc::new(SystemClock))).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { phase: Phase::Body, .. }), "{error}");
    assert_eq!(origin.seen().len(), 1, "asking again would drip again");
}

#[tokio::test]
async fn pages_empty_bodies_and_other_files_are_no_zips() {
    for reply in [
        Reply::ok("<html>Sign in</html>"),
        Reply::ok("hello"),
        Reply::ok(""),
        Reply::ok(content(0)).header("Content-Encoding", "gzip"),
        Reply::new(204, ""),
    ] {
        let bad = Fake::start(move |_, _| reply.clone()).await;
        let good = Fake::start(|_, _| Reply::ok(content(0))).await;
        let error = open(&upstream(&format!("{},{}", bad.url(), good.url()))).await.unwrap_err();
        assert!(matches!(error, FetchError::Malformed { .. }), "{error}");
        assert_eq!(fetch(&upstream(&format!("{}|{}", bad.url(), good.url()))).await.unwrap(), content(0));
    }
}

/// As servers made in a minute send everything.
#[tokio::test]
async fn a_zip_that_is_called_a_web_page_is_a_zip() {
    let origin = Fake::start(|_, _| Reply::ok(content(0)).header("Content-Type", "text/html")).await;
    assert_eq!(fetch(&upstream(&origin.url())).await.unwrap(), content(0));
}

#[tokio::test]
async fn too_large_by_word_is_refused_before_a_byte_is_read() {
    let origin = Fake::start(|_, _| Reply::pieces((500 << 20) + 1, vec![Piece::Stall])).await;
    let error = open(&upstream(&origin.url())).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 524_288_000, .. }), "{error}");
}

#[tokio::test]
async fn an_origin_to_avoid_is_passed_over() {
    let bad = Fake::start(|_, _| Reply::ok(content(1))).await;
    let good = Fake::start(|_, _| Reply::ok(content(0))).await;
    let either = upstream(&format!("{}|{}", bad.url(), good.url()));
    let first = open(&either).await.unwrap();
    let mut second = either.fetch_zip(&version(), std::slice::from_ref(&first.origin)).await.unwrap();
    assert_ne!(second.origin, first.origin);
    assert_eq!((first.then, second.then), (FallThrough::OnAnyError, FallThrough::OnNotFound));
    assert_eq!(read_all(&mut second).await.unwrap(), content(0));
    let error = either.fetch_zip(&version(), &[first.origin, second.origin]).await.unwrap_err();
    assert!(matches!(error, FetchError::NoOtherOrigin), "{error}");

    let only = upstream(&format!("{},{}", bad.url(), good.url()));
    let first = open(&only).await.unwrap();
    let second = only.fetch_zip(&version(), std::slice::from_ref(&first.origin)).await.unwrap();
    assert_ne!(second.origin, first.origin, "whatever stands between them");
    assert_eq!(open(&only).await.unwrap().origin, first.origin, "and nothing of it is remembered");
}

#[tokio::test]
async fn a_zip_that_was_refused_is_not_fetched_again_for_a_minute() {
    let bad = Fake::start(|_, _| Reply::ok(content(1))).await;
    let good = Fake::start(|_, index| match index {
        0 => Reply::new(404, ""),
        _ => Reply::ok(content(0)),
    })
    .await;
    let clock = Arc::new(ManualClock::new(0));
    let options = UpstreamOptions { limits: short_limits(), ..UpstreamOptions::default() };
    let upstream = upstream_with(&format!("{},{}", bad.url(), good.url()), options, clock.clone());
    let origin = open(&upstream).await.unwrap().origin;
    upstream.zip_was_refused(&version(), &origin, "its zip is h1:x");
    for _ in 0..5 {
        let error = open(&upstream).await.unwrap_err();
        assert!(matches!(error, FetchError::Malformed { .. }), "{error}");
        assert!(error.to_string().ends_with("its zip is h1:x"), "{error}");
    }
    assert_eq!(bad.seen().len(), 1);
    // Whoever passes that one over asks the other, whose zip is as good as any until it is refused as well.
    let avoid = [origin];
    assert!(upstream.fetch_zip(&version(), &avoid).await.is_err());
    assert!(open(&upstream).await.is_err());
    assert!(upstream.fetch_zip(&version(), &avoid).await.is_ok());
    upstream.zip_was_refused(&version(), &avoid[0], "its zip is h1:x");
    clock.advance(Duration::from_mins(1));
    assert!(open(&upstream).await.is_ok());
    assert_eq!(bad.seen().len(), 2);
}

#[tokio::test]
async fn zips_that_take_long_leave_places_to_small_files() {
    let origin = Fake::start(|seen, _| {
        let is_zip = seen.path.rsplit('.').next() == Some("zip");
        if is_zip { breaking(&content(0), 1_000, Some(Piece::Stall)) } else { Reply::ok("v1.0.0\n") }
    })
    .await;
    let options =
        UpstreamOptions { limits: Limits { places: 2, ..short_limits() }, ..UpstreamOptions::default() };
    let upstream = upstream_with(&origin.url(), options, Arc::new(SystemClock));
    let _arriving = open(&upstream).await.unwrap();
    let other = ModuleVersion { version: Version::parse("v1.0.1").unwrap(), ..version() };
    let error = upstream.fetch_zip(&other, &[]).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { phase: Phase::Queue, .. }), "{error}");
    let list = Request::parse("m.example/a/@v/list").unwrap();
    assert_eq!(upstream.fetch_small(&list).await.unwrap().body, "v1.0.0\n");
}

#[tokio::test]
async fn directories_serve_zips_too() {
    let dir = tempfile::tempdir().unwrap();
    let versions = dir.path().join("m.example/a/@v");
    std::fs::create_dir_all(&versions).unwrap();
    let upstream = upstream(&format!("file://{}", dir.path().display()));
    assert!(matches!(open(&upstream).await, Err(FetchError::NotFound { .. })));
    std::fs::write(versions.join("v1.0.0.zip"), content(0)).unwrap();
    assert_eq!(fetch(&upstream).await.unwrap(), content(0), "absence in a directory is not remembered");
}
