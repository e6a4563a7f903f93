//! Small files through a chain of scripted origins: statuses, fall-through, repetitions, limits, failures remembered.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod upstream_fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::clock::{ManualClock, SystemClock};
use dataplane::upstream::{
    Clients, FetchError, Fetched, Limits, Phase, Unavailability, Upstream, UpstreamMetrics, UpstreamOptions,
};
use gomod::Request;
use upstream_fake::{Fake, Piece, Reply, short_limits, upstream, upstream_with};

const LIST: &str = "m.example/a/@v/list";
const INFO: &str = "m.example/a/@v/v1.0.0.info";
const INFO_BODY: &str = "{\"Version\":\"v1.0.0\",\"Time\":\"2024-01-02T03:04:05Z\",\"Extra\":[1]}";

async fn get(upstream: &Upstream, path: &str) -> Result<Fetched, FetchError> {
    upstream.fetch_small(&Request::parse(path).unwrap()).await
}

#[tokio::test]
async fn asks_as_the_protocol_wants_and_returns_the_bytes_unchanged() {
    let origin = Fake::start(|_, _| Reply::ok(INFO_BODY)).await;
    let upstream = upstream(&format!("{}/base/", origin.url()));
    let fetched = get(&upstream, "github.com/!azure/a/@v/v1.0.0.info").await.unwrap();
    assert_eq!(fetched.body, INFO_BODY);
    assert_eq!(fetched.origin.as_str(), format!("127.0.0.1:{}", origin.address.port()));
    let seen = origin.seen();
    assert_eq!(seen[0].path, "/base/github.com/!azure/a/@v/v1.0.0.info");
    assert!(seen[0].header("user-agent").unwrap().starts_with("goproxyd/"));
    assert_eq!(seen[0].header("accept-encoding"), Some("identity"));
    assert_eq!(seen[0].header("authorization"), None);
}

/// The table that the go command follows: what each status does at `,` and at `|`.
#[tokio::test]
async fn which_statuses_let_the_next_entry_be_asked() {
    for (status, at_comma) in [
        (404, true),
        (410, true),
        (400, false),
        (401, false),
        (403, false),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let first = Fake::start(move |_, _| Reply::text(status, "first says no")).await;
        let second = Fake::start(|_, _| Reply::ok("v1.0.0\n")).await;
        for (separator, moves_on) in [(',', at_comma), ('|', true)] {
            let upstream = upstream(&format!("{}{separator}{}", first.url(), second.url()));
            let fetched = get(&upstream, LIST).await;
            assert_eq!(fetched.is_ok(), moves_on, "{status}{separator}");
            if let Err(error) = fetched {
                assert!(error.to_string().contains("first says no"), "{error}");
                assert!(error.to_string().contains(&status.to_string()), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn trouble_is_never_told_as_absence() {
    let broken = Fake::start(|_, _| Reply::text(500, "disk on fire")).await;
    let empty = Fake::start(|_, _| Reply::text(404, "not found")).await;
    let error = get(&upstream(&format!("{}|{}", broken.url(), empty.url())), LIST).await.unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { why: Unavailability::Status(500), .. }), "{error}");
    let error = get(&upstream(&format!("{},direct", empty.url())), LIST).await.unwrap_err();
    assert!(matches!(&error, FetchError::NotFound { gone: false, detail, .. } if detail == "not found"));
    assert!(matches!(get(&upstream("direct"), LIST).await, Err(FetchError::NotFound { .. })));
    assert!(matches!(get(&upstream("off"), LIST).await, Err(FetchError::Off)));
}

#[tokio::test]
async fn texts_of_origins_are_made_harmless() {
    let origin = Fake::start(|seen, _| match seen.path.as_str() {
        "/m.example/a/@v/list" => Reply::text(403, "\n\x1b[31mno\x07 entry\nsecond line"),
        _ => Reply::new(403, "<html>secret</html>").header("Content-Type", "text/html"),
    })
    .await;
    let upstream = upstream(&origin.url());
    let text = get(&upstream, LIST).await.unwrap_err().to_string();
    assert!(text.ends_with("answered 403 Forbidden: [31mno  entry"), "{text:?}");
    let text = get(&upstream, INFO).await.unwrap_err().to_string();
    assert!(text.ends_with("answered 403 Forbidden"), "{text:?}");
}

#[tokio::test]
async fn a_login_page_with_status_200_is_refused() {
    let page = "<!DOCTYPE html><title>Sign in</title>";
    let portal = Fake::start(move |_, index| {
        let reply = Reply::ok(page);
        if index % 2 == 0 { reply.header("Content-Type", "text/html") } else { reply }
    })
    .await;
    let good = Fake::start(|_, _| Reply::ok("v1.0.0\n")).await;
    for _ in 0..2 {
        let error = get(&upstream(&portal.url()), LIST).await.unwrap_err();
        assert!(matches!(error, FetchError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains("web page"), "{error}");
    }
    assert!(get(&upstream(&format!("{},{}", portal.url(), good.url())), LIST).await.is_err());
    assert!(get(&upstream(&format!("{}|{}", portal.url(), good.url())), LIST).await.is_ok());
}

#[tokio::test]
async fn info_of_another_version_is_refused() {
    let origin = Fake::start(|_, _| Reply::ok(INFO_BODY.replace("v1.0.0", "v1.0.1"))).await;
    let error = get(&upstream(&origin.url()), INFO).await.unwrap_err();
    assert!(error.to_string().contains("v1.0.1"), "{error}");
}

#[tokio::test]
async fn passing_trouble_is_repeated_and_an_answer_is_not() {
    let recovering = Fake::start(|_, index| match index {
        0 => Reply::new(502, ""),
        1 => Reply::pieces(10, vec![Piece::Send(b"v1".to_vec()), Piece::Reset]),
        _ => Reply::ok("v1.0.0\n"),
    })
    .await;
    assert_eq!(get(&upstream(&recovering.url()), LIST).await.unwrap().body, "v1.0.0\n");
    assert_eq!(recovering.seen().len(), 3);

    for (status, asked) in [(500, 3), (403, 1), (404, 1), (501, 1)] {
        let origin = Fake::start(move |_, _| Reply::new(status, "")).await;
        assert!(get(&upstream(&origin.url()), LIST).await.is_err());
        assert_eq!(origin.seen().len(), asked, "{status}");
    }
}

#[tokio::test]
async fn a_short_body_is_no_list() {
    let origin = Fake::start(|_, _| Reply::pieces(100, vec![Piece::Send(b"v1.0.0\n".to_vec())])).await;
    let error = get(&upstream(&origin.url()), LIST).await.unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { .. }), "{error}");
    assert_eq!(origin.seen().len(), 3);
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for_and_a_long_one_opens_the_breaker() {
    let brief = Fake::start(|_, index| match index {
        0 => Reply::new(429, "").header("Retry-After", "0"),
        _ => Reply::ok("v1.0.0\n"),
    })
    .await;
    assert!(get(&upstream(&brief.url()), LIST).await.is_ok());

    let long = Fake::start(|_, _| Reply::text(429, "slow down").header("Retry-After", "3600")).await;
    let upstream = upstream(&long.url());
    let error = get(&upstream, LIST).await.unwrap_err();
    assert!(
        matches!(error, FetchError::RateLimited { retry_after: Some(pause), .. } if pause == Duration::from_hours(1))
    );
    let error = get(&upstream, INFO).await.unwrap_err();
    // It has not failed: who asks for something else is told the same.
    assert!(
        matches!(error, FetchError::RateLimited { retry_after: Some(left), .. } if left <= Duration::from_mins(1)),
        "{error}"
    );
    assert!(error.to_string().contains("asked not to be asked for"), "{error}");
    assert_eq!(long.seen().len(), 1, "left alone");
}

#[tokio::test]
async fn what_cannot_be_had_for_long_keeps_nobody_from_the_rest() {
    let origin = Fake::start(|seen, _| match seen.path.as_str() {
        "/m.example/a/@v/list" => Reply::text(503, "it is private").header("Retry-After", "3600"),
        _ => Reply::ok(INFO_BODY),
    })
    .await;
    let upstream = upstream(&origin.url());
    let error = get(&upstream, LIST).await.unwrap_err();
    assert!(error.to_string().contains("it is private"), "{error}");
    assert_eq!(origin.seen().len(), 1, "not repeated before its time");
    assert!(get(&upstream, INFO).await.is_ok());
}

#[tokio::test]
async fn an_origin_that_only_fails_is_left_alone_and_probed_later() {
    let origin =
        Fake::start(|_, index| if index < 60 { Reply::new(500, "") } else { Reply::ok("v1.0.0\n") }).await;
    let clock = Arc::new(ManualClock::new(0));
    let options = UpstreamOptions { limits: short_limits(), ..UpstreamOptions::default() };
    let upstream = upstream_with(&origin.url(), options, clock.clone());
    let mut asked = 0;
    for number in 0..40 {
        let path = format!("m.example/a{number}/@v/list");
        assert!(get(&upstream, &path).await.is_err());
        asked = origin.seen().len();
    }
    // Each of the first twenty counts once, however often it was repeated.
    assert!((20..45).contains(&asked), "{asked} requests until the circuit opened");
    // Lets the failing answers run out, as an origin does that comes back.
    while origin.seen().len() < 61 {
        clock.advance(Duration::from_mins(2));
        let path = format!("m.example/b{}/@v/list", origin.seen().len());
        if get(&upstream, &path).await.is_ok() {
            break;
        }
    }
    assert!(get(&upstream, "m.example/c/@v/list").await.is_ok(), "closed again");
}

#[tokio::test]
async fn a_few_modules_that_fail_shut_nobody_out() {
    let origin =
        Fake::start(
            |seen, _| {
                if seen.path.contains("/bad") { Reply::new(500, "") } else { Reply::ok(INFO_BODY) }
            },
        )
        .await;
    let upstream = upstream(&origin.url());
    for number in 0..40 {
        let path = format!("m.example/bad{}/@v/v1.{number}.0.info", number % 7);
        let error = get(&upstream, &path).await.unwrap_err();
        assert!(matches!(error, FetchError::Unavailable { why: Unavailability::Status(500), .. }), "{error}");
    }
    assert!(get(&upstream, INFO).await.is_ok());
}

/// The first to ask when the circuit half opens may want what the origin takes a minute for.
#[tokio::test]
async fn a_slow_answer_keeps_nobody_out_when_the_origin_is_back() {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let origin = Fake::start(move |seen, _| match seen.path.as_str() {
        // Nobody repeats a request that is answered so.
        _ if is_down.load(Ordering::SeqCst) => Reply::new(501, ""),
        "/m.example/slow/@v/list" => Reply::silent(),
        _ => Reply::ok("v1.0.0\n"),
    })
    .await;
    let clock = Arc::new(ManualClock::new(0));
    let options = UpstreamOptions { limits: short_limits(), ..UpstreamOptions::default() };
    let upstream = upstream_with(&origin.url(), options, clock.clone());
    for number in 0..30 {
        assert!(get(&upstream, &format!("m.example/a{number}/@v/list")).await.is_err());
    }
    assert_eq!(origin.seen().len(), 20, "the circuit is open");
    down.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(3));
    let (slow, others) = tokio::join!(get(&upstream, "m.example/slow/@v/list"), async {
        let mut answers = Vec::new();
        for number in 0..10 {
            answers.push(get(&upstream, &format!("m.example/b{number}/@v/list")).await.is_ok());
        }
        answers
    });
    assert!(matches!(slow, Err(FetchError::Timeout { phase: Phase::Head, .. })));
    assert_eq!(others, [true; 10]);
}

#[tokio::test]
async fn each_phase_has_its_own_limit() {
    let silent = Fake::start(|_, _| Reply::silent()).await;
    let error = get(&upstream(&silent.url()), LIST).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { phase: Phase::Head, .. }), "{error}");

    let stalling =
        Fake::start(|_, _| Reply::pieces(9, vec![Piece::Send(b"v1.0".to_vec()), Piece::Stall])).await;
    let error = get(&upstream(&stalling.url()), LIST).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { phase: Phase::Body, .. }), "{error}");

    // Never idle for long, and never done.
    let drip = Fake::start(|_, _| {
        let one = [Piece::Send(b"v".to_vec()), Piece::Wait(Duration::from_millis(20))];
        Reply::pieces(100_000, one.iter().cloned().cycle().take(400).collect())
    })
    .await;
    let error = get(&upstream(&drip.url()), LIST).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { phase: Phase::Body, .. }), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let gone = Fake::start(|_, _| Reply::ok("")).await.url();
    // The fake was dropped with the statement above, and its port is closed.
    let error = get(&upstream(&gone), LIST).await.unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Unavailable { why: Unavailability::Connect | Unavailability::Broken, .. }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn too_large_by_word_or_by_deed() {
    let boasting = Fake::start(|_, _| Reply::pieces(2 << 20, vec![Piece::Stall])).await;
    let error = get(&upstream(&boasting.url()), INFO).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 1_048_576, .. }), "{error}");

    let endless = Fake::start(|_, _| {
        let mut reply = Reply::ok("");
        reply.chunked = true;
        reply.body = vec![Piece::Send(vec![b' '; 64 << 10]); 40];
        reply
    })
    .await;
    let error = get(&upstream(&endless.url()), INFO).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 1_048_576, .. }), "{error}");
    assert_eq!(endless.seen().len(), 1, "not repeated");
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let target = Fake::start(|_, _| Reply::ok("v1.0.0\n")).await;
    let to = target.url();
    let origin = Fake::start(move |seen, _| match seen.path.as_str() {
        "/loop/m.example/a/@v/list" => Reply::new(302, "").header("Location", "/loop/m.example/a/@v/list"),
        "/mail/m.example/a/@v/list" => Reply::new(302, "").header("Location", "mailto:a@b.example"),
        _ => Reply::new(302, "").header("Location", &format!("{to}/elsewhere")),
    })
    .await;
    assert!(get(&upstream(&origin.url()), LIST).await.is_ok());
    let error = get(&upstream(&format!("{}/loop", origin.url())), LIST).await.unwrap_err();
    assert!(matches!(error, FetchError::BadRedirect { .. }), "{error}");
    assert!(error.to_string().contains("more than 10 redirects"), "{error}");
    assert_eq!(origin.seen().iter().filter(|seen| seen.path.starts_with("/loop")).count(), 11);
    let error = get(&upstream(&format!("{}/mail", origin.url())), LIST).await.unwrap_err();
    assert!(!matches!(error, FetchError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn failures_are_remembered_briefly_and_success_clears_them() {
    let origin =
        Fake::start(|_, index| if index < 1 { Reply::new(404, "") } else { Reply::ok("v1.0.0\n") }).await;
    let clock = Arc::new(ManualClock::new(0));
    let options = UpstreamOptions { limits: short_limits(), ..UpstreamOptions::default() };
    let upstream = upstream_with(&origin.url(), options, clock.clone());
    for _ in 0..5 {
        assert!(matches!(get(&upstream, LIST).await, Err(FetchError::NotFound { .. })));
    }
    assert_eq!(origin.seen().len(), 1);
    clock.advance(Duration::from_secs(31));
    assert!(get(&upstream, LIST).await.is_ok());
    assert!(get(&upstream, LIST).await.is_ok());
    assert_eq!(origin.seen().len(), 3);
}

#[tokio::test]
async fn private_modules_are_named_to_nobody() {
    let origin = Fake::start(|_, _| Reply::ok("v1.0.0\n")).await;
    let options = UpstreamOptions {
        private: gomod::GlobPatterns::parse("corp.example/*").unwrap(),
        limits: short_limits(),
    };
    let upstream = upstream_with(&origin.url(), options, Arc::new(SystemClock));
    let error = get(&upstream, "corp.example/secret/@v/list").await.unwrap_err();
    assert!(matches!(error, FetchError::DirectUnavailable));
    assert!(!error.to_string().contains("corp"));
    assert!(origin.seen().is_empty());
    assert!(get(&upstream, LIST).await.is_ok());
}

#[tokio::test]
async fn requests_at_one_origin_are_capped_and_waits_are_bounded() {
    let origin = Fake::start(|_, _| {
        let pause = Piece::Wait(Duration::from_millis(30));
        Reply::pieces(7, vec![pause, Piece::Send(b"v1.0.0\n".to_vec())])
    })
    .await;
    let limits = Limits { places: 2, wait: Duration::from_secs(20), ..short_limits() };
    let options = UpstreamOptions { limits, ..UpstreamOptions::default() };
    let upstream = upstream_with(&origin.url(), options, Arc::new(SystemClock));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let upstream = upstream.clone();
        tasks.spawn(async move { get(&upstream, &format!("m.example/a{number}/@v/list")).await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|ok| ok));
    assert_eq!(origin.out_max(), 2);

    let stuck = Fake::start(|_, _| Reply::silent()).await;
    let limits = Limits { places: 1, waiting_max: 1, wait: Duration::from_millis(50), ..short_limits() };
    let options = UpstreamOptions { limits, ..UpstreamOptions::default() };
    let upstream = upstream_with(&stuck.url(), options, Arc::new(SystemClock));
    let (a, b, c) = tokio::join!(
        get(&upstream, "m.example/a/@v/list"),
        get(&upstream, "m.example/b/@v/list"),
        get(&upstream, "m.example/c/@v/list"),
    );
    let texts = [a, b, c].map(|result| result.unwrap_err().to_string());
    assert!(texts.iter().any(|text| text.contains("waiting for its turn")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("too many requests waiting")), "{texts:?}");
}

/// However many are on their way at once, and whether or not they say how large they are.
#[tokio::test]
async fn texts_for_which_there_is_no_room_wait_for_it() {
    let origin = Fake::start(|_, index| {
        let reply = Reply::ok(vec![b'x'; 300 << 10]);
        Reply { chunked: index % 2 == 0, ..reply }
    })
    .await;
    let limits = Limits { small_bytes: 512 << 10, small_body: Duration::from_secs(30), ..short_limits() };
    let options = UpstreamOptions { limits, ..UpstreamOptions::default() };
    let upstream = upstream_with(&origin.url(), options, Arc::new(SystemClock));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let upstream = upstream.clone();
        tasks.spawn(async move { get(&upstream, &format!("m.example/a{number}/@v/v1.0.0.mod")).await });
    }
    for fetched in tasks.join_all().await {
        assert_eq!(fetched.unwrap().body.len(), 300 << 10);
    }
}

#[tokio::test]
async fn metrics_tell_origins_and_outcomes_and_no_modules() {
    let origin =
        Fake::start(|_, index| if index == 0 { Reply::new(502, "") } else { Reply::ok("v1.0.0\n") }).await;
    let metrics = UpstreamMetrics::default();
    let upstream = Upstream::new(
        origin.url().parse().unwrap(),
        UpstreamOptions { limits: short_limits(), ..UpstreamOptions::default() },
        Clients::new(None).unwrap(),
        Arc::new(SystemClock),
        metrics.clone(),
    )
    .unwrap();
    get(&upstream, LIST).await.unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    metrics.register(registry.sub_registry_with_prefix("up"));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let name = format!("127.0.0.1:{}", origin.address.port());
    for line in [
        format!("up_requests_total{{origin=\"{name}\",kind=\"list\",outcome=\"ok\"}} 1"),
        format!("up_retries_total{{origin=\"{name}\"}} 1"),
        format!("up_resumes_total{{origin=\"{name}\"}} 0"),
        format!("up_received_bytes_total{{origin=\"{name}\"}} 7"),
        format!("up_breaker{{origin=\"{name}\"}} 0"),
        format!("up_head_seconds_count{{origin=\"{name}\"}} 2"),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(!text.contains("m.example"), "{text}");
}

#[tokio::test]
async fn nobody_is_asked_for_a_module_that_cannot_be() {
    let origin = Fake::start(|_, _| Reply::ok("v1.0.0\n")).await;
    let upstream = upstream(&origin.url());
    for path in ["github.com/@v/list", "github.com/owner/@latest", "bitbucket.org/owner/@v/v1.0.0.info"] {
        let error = get(&upstream, path).await.unwrap_err();
        assert!(matches!(error, FetchError::NoRepository), "{path}: {error}");
    }
    assert_eq!(origin.seen().len(), 0);
    get(&upstream, "github.com/owner/repository/@v/list").await.unwrap();
}

#[tokio::test]
async fn a_zip_is_not_a_small_file() {
    let error = get(&upstream("off"), "m.example/a/@v/v1.0.0.zip").await.unwrap_err();
    assert!(matches!(error, FetchError::NotSmall));
}
