//! The HTTP edge under attack: slow, huge, ambiguous and hasty clients are cut off, and others do not notice.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tests::raw_h2::{self, END_HEADERS, END_STREAM, H2Client, RawH2, frame};
use tests::raw_http::Connection;
use tests::{Bed, Fault, Gate, Module, Proxy, Settings};

/// The server closes a head that does not come to its end after about this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

fn served() -> (Bed, Proxy, Module) {
    let bed = Bed::new();
    let module = bed.module("example.com/edge", "v1.0.0");
    let proxy = bed.proxy();
    proxy.get(&module.url_path(".mod")).expect(200);
    (bed, proxy, module)
}

/// Sends bytes on a new connection and returns the status of the first answer, if one came, and whether the server
/// closed after it.
fn attack(proxy: &Proxy, bytes: &[u8]) -> (Option<u16>, bool) {
    let mut connection = Connection::open(proxy.address(), None).unwrap();
    connection.stream().socket().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may close while we still send.
    let _ = connection.send(bytes);
    let answer = connection.read_response("GET").ok();
    if let Some(answer) = answer.as_ref().filter(|answer| answer.status >= 400) {
        // Also what is no request at all has an answer like all others.
        assert_eq!(answer.expect_header("content-type"), "text/plain; charset=utf-8");
        assert!(!answer.expect_header("x-request-id").is_empty());
        assert_eq!(answer.expect_header("x-cache"), "none");
        assert!((1..=2).contains(&answer.text().lines().count()), "{:?}", answer.text());
    }
    (answer.map(|answer| answer.status), connection.closed())
}

#[test]
fn a_head_that_does_not_end_is_cut_off_and_others_are_served() {
    let (_bed, proxy, module) = served();
    let begun = Instant::now();
    let mut slow: Vec<Connection> = (0..20)
        .map(|number| {
            let mut connection = Connection::open(proxy.address(), None).unwrap();
            connection.send(&b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: "[..number.max(1)]).unwrap();
            connection.stream().socket().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            connection
        })
        .collect();
    while !slow.is_empty() {
        assert!(begun.elapsed() < HEAD_TIMEOUT * 2, "{} of 20 slow connections still live", slow.len());
        proxy.get(&module.url_path(".mod")).expect(200);
        slow.retain_mut(|connection| {
            // A byte now and then does not buy time.
            let _ = connection.stream().write_all(b"a");
            let mut byte = [0; 512];
            match connection.stream().read(&mut byte) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        });
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "cut off before a slow but honest client could finish");
}

#[test]
fn oversized_heads_are_refused() {
    let (_bed, proxy, _module) = served();
    let long = "a".repeat(1 << 20);
    let many: String = (0..10_000)
        .map(|number| number.to_string())
        .fold(String::new(), |text, n| text + "X-" + &n + ": y\r\n");
    for (name, head, refusals) in [
        ("a URI of 1 MiB", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), [414, 431, 400]),
        ("a header of 1 MiB", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), [431, 400, 431]),
        ("10000 headers", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), [431, 400, 431]),
        ("a method of 1 MiB", format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"), [400, 431, 414]),
    ] {
        let (status, closed) = attack(&proxy, head.as_bytes());
        assert!(status.is_none_or(|status| refusals.contains(&status)), "{name}: {status:?}");
        assert!(closed, "{name}: the connection stays open");
    }
    proxy.get("/healthz").expect(200);
    assert!(proxy.peak_resident_bytes() < 200 << 20);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of heads")]
fn ambiguous_requests_are_refused_and_the_connection_closed() {
    let (bed, proxy, module) = served();
    let path = module.url_path(".mod");
    // What is smuggled would be answered 200 if it were read as a request of its own.
    let smuggled = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let chunked = format!("0\r\n\r\n{smuggled}");
    let cases: Vec<(&str, String)> = vec![
        (
            "CL and TE",
            format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
            ),
        ),
        (
            "TE and CL",
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunked}"
            ),
        ),
        (
            "two lengths",
            format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n{smuggled}"
            ),
        ),
        (
            "a list of lengths",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 9\r\n\r\n{smuggled}"),
        ),
        (
            "a signed length",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello{smuggled}"),
        ),
        (
            "a length in hex",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello{smuggled}"),
        ),
        (
            "folded header",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 9\r\n\r\n{smuggled}"),
        ),
        (
            "folded encoding",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n{chunked}"),
        ),
        ("bare LF", format!("GET {path} HTTP/1.1\nHost: a\n\n{smuggled}")),
        ("bare LF in a header", format!("GET {path} HTTP/1.1\r\nHost: a\nX: y\r\n\r\n{smuggled}")),
        ("bare CR in a header", format!("GET {path} HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n{smuggled}")),
        (
            "space before the colon",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello{smuggled}"),
        ),
        ("space in the name", format!("GET {path} HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n{smuggled}")),
        (
            "an odd encoding",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n{chunked}"),
        ),
        (
            "chunked twice",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n{chunked}"),
        ),
        (
            "chunked, then identity",
            format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n{chunked}"
            ),
        ),
        (
            "chunked in HTTP/1.0",
            format!("GET {path} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        ),
        (
            "a GET with a body",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello{smuggled}"),
        ),
        (
            "a GET with a chunked body",
            format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{chunked}"
            ),
        ),
        (
            "a GET with a request as its body",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
        ),
        ("a NUL in a header", format!("GET {path} HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n{smuggled}")),
        ("an unknown version", format!("GET {path} HTTP/9.9\r\nHost: a\r\n\r\n{smuggled}")),
        ("no version", format!("GET {path}\r\nHost: a\r\n\r\n{smuggled}")),
        ("garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03 garbage\r\n\r\n".to_owned()),
    ];
    for (name, bytes) in cases {
        let (status, closed) = attack(&proxy, bytes.as_bytes());
        assert!(status.is_none_or(|status| status >= 400), "{name}: {status:?}");
        assert!(closed, "{name}: the connection stays open");
    }
    // An empty body is none.
    let (status, _) = attack(
        &proxy,
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    );
    assert_eq!(status, Some(200));
    assert_eq!(bed.origin.count(&path), 1);
}

#[test]
fn what_follows_a_refused_request_is_not_read() {
    let (_bed, proxy, module) = served();
    let path = module.url_path(".mod");
    let mut connection = Connection::open(proxy.address(), None).unwrap();
    let smuggled = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let first =
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    connection.send(first.as_bytes()).unwrap();
    let answer = connection.read_response("GET").unwrap();
    assert!(answer.status >= 400);
    assert!(connection.read_response("GET").is_err(), "a second answer on a connection that is to be closed");
}

#[test]
fn a_host_is_needed_once() {
    let (_bed, proxy, module) = served();
    let path = module.url_path(".mod");
    let status = |version: &str, hosts: &str| {
        let head = format!("GET {path} HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
        attack(&proxy, head.as_bytes()).0
    };
    // RFC 9112 section 3.2, word for word.
    assert_eq!(status("1.1", ""), Some(400));
    for version in ["1.0", "1.1"] {
        assert_eq!(status(version, "Host: a\r\nHost: b\r\n"), Some(400), "{version}");
        assert_eq!(status(version, "Host: a\r\nHost: a\r\n"), Some(400), "{version}");
        assert_eq!(status(version, "Host: a\r\n"), Some(200), "{version}");
        assert_eq!(status(version, "Host:\r\n"), Some(200), "{version}");
    }
    assert_eq!(status("1.0", ""), Some(200));
}

#[test]
fn a_host_is_a_host() {
    let (_bed, proxy, module) = served();
    let path = module.url_path(".mod");
    for (host, expected) in [
        ("proxy.example.com", 200),
        ("proxy.example.com:8081", 200),
        ("[::1]:8081", 200),
        ("a b", 400),
        ("a/b", 400),
        ("<script>", 400),
        ("me:secret@proxy.example.com", 400),
        ("proxy.example.com:x", 400),
        ("[::1", 400),
        ("\u{fc}.example", 400),
    ] {
        for version in ["1.0", "1.1"] {
            let head = format!("GET {path} HTTP/{version}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            assert_eq!(attack(&proxy, head.as_bytes()).0, Some(expected), "{host} {version}");
        }
    }
    let whole = format!("GET http://me@a.example{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(attack(&proxy, whole.as_bytes()).0, Some(400));
    // `:status` of the answer over HTTP/2, by its place in the static table: 8 is 200, 12 is 400.
    for (authority, expected) in [("a.example:8081", 0x88), ("me@a.example", 0x8c)] {
        let mut raw = RawH2::open(proxy.address()).unwrap();
        let block = raw_h2::get_block_at(authority, &path);
        raw.send(frame::HEADERS, END_HEADERS | END_STREAM, 1, &block).unwrap();
        let head = std::iter::repeat_with(|| raw.read().unwrap()).find(|frame| frame.kind == frame::HEADERS);
        assert_eq!(head.and_then(|head| head.payload.first().copied()), Some(expected), "{authority}");
    }
}

#[test]
fn what_begins_as_http2_and_stops_there_costs_next_to_nothing() {
    let (_bed, proxy, _module) = served();
    let crowd: Vec<Connection> = (0..200)
        .map(|_| {
            let mut connection = Connection::open(proxy.address(), None).unwrap();
            connection.send(b"PRI").unwrap();
            connection
        })
        .collect();
    // waits for: two seconds of such connections; looked at every few milliseconds they cost a tenth of that and more.
    std::thread::sleep(Duration::from_secs(1));
    let before = proxy.processor_time();
    std::thread::sleep(Duration::from_secs(2));
    let spent = proxy.processor_time().saturating_sub(before);
    assert!(spent < Duration::from_millis(100), "{spent:?}");
    drop(crowd);
}

#[test]
fn targets_that_are_no_paths_are_refused_or_read_as_their_path() {
    let (_bed, proxy, module) = served();
    let path = module.url_path(".mod");
    for (method, target, expected) in [
        ("GET", format!("http://elsewhere.example{path}"), 200),
        ("GET", format!("{path}?ignored=1"), 200),
        ("CONNECT", "example.com:443".to_owned(), 405),
        ("OPTIONS", "*".to_owned(), 405),
        ("GET", "*".to_owned(), 400),
        ("GET", "example.com:80".to_owned(), 400),
        ("GET", path.replace("/@v/", "%2f@v/"), 400),
        ("GET", path.replace("/@v/", "%00/@v/"), 400),
        ("GET", path.replace("/@v/", "/%2e%2e/@v/"), 400),
        ("GET", path.replace("example", "%65xample"), 200),
        ("GET", path.replace("example", "%45xample"), 404),
        ("GET", path.replace("example", "Example"), 404),
        ("GET", format!("/{path}"), 404),
    ] {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let (status, closed) = attack(&proxy, head.as_bytes());
        assert_eq!((status, closed), (Some(expected), true), "{method} {target}");
    }
    // An offer to change the protocol is not taken up.
    let upgrade = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    );
    assert_eq!(attack(&proxy, upgrade.as_bytes()), (Some(200), true));
}

#[test]
fn requests_that_come_all_at_once_are_answered_in_order() {
    let (_bed, proxy, module) = served();
    let mut connection = Connection::open(proxy.address(), None).unwrap();
    let calls = [module.url_path(".mod"), "/healthz".to_owned(), "/example.com/none/@v/list".to_owned()];
    let heads: Vec<u8> = calls.iter().flat_map(|path| proxy.call("GET", path).bytes()).collect();
    connection.send(&heads.repeat(50)).unwrap();
    for _ in 0..50 {
        for expected in [200, 200, 404] {
            assert_eq!(connection.read_response("GET").unwrap().status, expected);
        }
    }
}

#[test]
fn http2_works_with_prior_knowledge_and_multiplexes() {
    let (_bed, proxy, module) = served();
    let client = H2Client::open(proxy.address(), None);
    for _ in 0..50 {
        let answer = client.get(&module.url_path(".mod")).unwrap();
        assert_eq!(answer.head.status, 200);
        assert_eq!(answer.body.to_vec(), module.go_mod());
        assert!(answer.head.headers.contains_key("x-request-id"));
    }
    let zip = client.get(&module.url_path(".zip")).unwrap();
    assert_eq!(zip.body.to_vec(), module.zip());
    assert_eq!(client.get("/example.com/Upper/@v/list").unwrap().head.status.as_u16() / 100, 4);
}

#[test]
fn streams_that_are_reset_at_once_end_the_connection() {
    let bed = Bed::new();
    let module = bed.module("example.com/reset", "v1.0.0");
    let proxy = Proxy::start(&bed.settings().allow("reset"));
    let mut raw = RawH2::open(proxy.address()).unwrap();
    let block = raw_h2::get_block(&module.url_path(".zip"));
    let cancel = 8_u32.to_be_bytes();
    let mut ended = false;
    for number in 0..20_000_u32 {
        let stream = number * 2 + 1;
        let mut bytes = raw_h2::encode(frame::HEADERS, END_HEADERS | END_STREAM, stream, &block);
        bytes.extend_from_slice(&raw_h2::encode(frame::RST_STREAM, 0, stream, &cancel));
        if raw.send_bytes(&bytes).is_err() {
            ended = true;
            break;
        }
    }
    // The rest of the answer tells: a GOAWAY, or the end of the connection.
    raw.socket().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    while !ended {
        match raw.read() {
            Ok(frame) if frame.kind == frame::GOAWAY => ended = true,
            Ok(_) => {}
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "still open");
                ended = true;
            }
        }
    }
    proxy.get(&module.url_path(".mod")).expect(200);
    assert!(proxy.peak_resident_bytes() < 200 << 20);
}

#[test]
fn an_endless_header_block_ends_the_connection() {
    let (_bed, proxy, module) = served();
    let mut raw = RawH2::open(proxy.address()).unwrap();
    let block = raw_h2::get_block(&module.url_path(".mod"));
    raw.send(frame::HEADERS, END_STREAM, 1, &block).unwrap();
    let filler: Vec<u8> = (0..100).flat_map(|_| [&[0x00, 1, b'x', 100][..], &[b'y'; 100]].concat()).collect();
    let continuation = raw_h2::encode(frame::CONTINUATION, 0, 1, &filler);
    let ended = (0..20_000).any(|_| raw.send_bytes(&continuation).is_err());
    assert!(ended, "200 MB of headers were taken");
    proxy.get(&module.url_path(".mod")).expect(200);
    assert!(proxy.peak_resident_bytes() < 200 << 20);
}

#[test]
fn floods_of_control_frames_do_not_pile_up() {
    let (_bed, proxy, module) = served();
    let mut raw = RawH2::open(proxy.address()).unwrap();
    raw.socket().set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    // Their answers are never read.
    let pings = raw_h2::encode(frame::PING, 0, 0, &[0; 8]).repeat(100);
    let settings = raw_h2::encode(frame::SETTINGS, 0, 0, &[]).repeat(100);
    for _ in 0..5_000 {
        if raw.send_bytes(&pings).is_err() || raw.send_bytes(&settings).is_err() {
            break;
        }
    }
    proxy.get(&module.url_path(".mod")).expect(200);
    assert!(proxy.peak_resident_bytes() < 200 << 20, "{} MiB", proxy.peak_resident_bytes() >> 20);
}

#[test]
fn idle_connections_cost_little_and_too_many_are_bounded() {
    let bed = Bed::new();
    let module = bed.module("example.com/idle", "v1.0.0");
    let proxy = Proxy::start(&Settings::new(&bed.origin).flag("--max-connections", "64").allow_all());
    proxy.get(&module.url_path(".mod")).expect(200);
    let before = proxy.resident_bytes();
    let mut idle: Vec<Connection> = (0..60)
        .map(|_| {
            let mut connection = proxy.call("GET", "/healthz").open().unwrap();
            connection.read_response("GET").unwrap();
            connection
        })
        .collect();
    proxy.get(&module.url_path(".mod")).expect(200);
    assert!(proxy.resident_bytes() - before < 30 << 20);
    // More than the limit wait (or are refused); they are served when others go.
    let waiting: Vec<_> = (0..20).map(|_| proxy.call("GET", "/healthz").open()).collect();
    assert!(proxy.open_descriptors() < 64 + 60, "{} descriptors", proxy.open_descriptors());
    idle.clear();
    drop(waiting);
    proxy.get(&module.url_path(".mod")).expect(200);
}

#[test]
fn one_client_cannot_keep_the_others_out() {
    let (greedy, modest) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let bed = Bed::new();
    let module = bed.large_module("example.com/crowded");
    let path = module.url_path(".zip");
    let gate = Gate::new();
    bed.origin.fault(&path, [Fault::Hold { after: 700_000, gate: gate.clone() }]);
    let proxy = Proxy::start(&bed.settings().flag("--max-connections", "64"));
    let idle = |client| {
        let mut connection = Connection::open_from(client, proxy.address()).unwrap();
        connection.send(&proxy.call("GET", "/healthz").bytes()).unwrap();
        connection.read_response("GET").unwrap();
        connection
    };
    // The oldest are not the greedy one's, and one of its own is being answered.
    let mut kept = idle(modest);
    let mut running = Connection::open_from(greedy, proxy.address()).unwrap();
    running.send(&proxy.call("GET", &path).bytes()).unwrap();
    let head = running.read_head("GET").unwrap();
    let crowd: Vec<Connection> = (0..62).map(|_| idle(greedy)).collect();
    assert_eq!(proxy.metric("goproxy_http_connections_closed_total", "made_room"), Some(0.0));
    let begun = Instant::now();
    for _ in 0..20 {
        // Each on a connection of its own.
        proxy.get("/healthz").expect(200);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let made_room = proxy.metric("goproxy_http_connections_closed_total", "made_room").unwrap();
    assert!((1.0..=20.0).contains(&made_room), "{made_room}");
    kept.send(&proxy.call("GET", "/healthz").bytes()).unwrap();
    assert_eq!(kept.read_response("GET").unwrap().status, 200);
    gate.open();
    let tests::raw_http::Length::Known(length) = head.length else { panic!("no length") };
    let (body, whole) = running.read_known(length);
    assert!(whole && body == module.zip());
    drop(crowd);
}

#[test]
fn a_node_that_is_busy_is_not_down() {
    let bed = Bed::new();
    let module = bed.large_module("example.com/busy");
    let path = module.url_path(".zip");
    let gate = Gate::new();
    bed.origin.fault(&path, [Fault::Hold { after: 700_000, gate: gate.clone() }]);
    let proxy = Proxy::start(&bed.settings().flag("--max-requests-in-flight", "1"));
    let mut running = proxy.call("GET", &path).open().unwrap();
    running.read_head("GET").unwrap();
    let shed = proxy.get(&module.url_path(".mod"));
    assert_eq!(shed.status, 503);
    shed.expect_header("retry-after");
    for health in ["/healthz", "/readyz"] {
        proxy.get(health).expect(200);
    }
    assert_eq!(proxy.get("/example.com/healthz").status, 503, "only what is a health check");
    gate.open();
}

#[test]
fn nobody_is_told_to_wait_for_what_waiting_does_not_bring() {
    let bed = Bed::new();
    let proxy = Proxy::start(&bed.settings().flag("--private", "corp.example.com"));
    let answer = proxy.get("/corp.example.com/secret/@v/v1.0.0.zip");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), None);
}

#[test]
fn a_proxy_behind_a_proxy_is_not_shut_out_for_one_private_module() {
    let bed = Bed::new();
    let module = bed.module("example.com/public", "v1.0.0");
    let first = Proxy::start(&bed.settings().flag("--private", "corp.example.com"));
    let second = Proxy::start(&Settings::upstream(&first.url()).flag("--sumdb", "off"));
    assert_ne!(second.get("/corp.example.com/secret/@v/v1.0.0.info").status, 200);
    assert_eq!(second.get(&module.url_path(".mod")).expect(200).body, module.go_mod());
}
