//! What is in memory is answered by a shortcut past the HTTP library. Whatever stands around such a request on its
//! connection, and however the bytes are cut, each request gets its own answer, in order, and the same as without it.

use std::time::Duration;
use tests::chance::{Chance, rounds};
use tests::raw_http::{Call, Connection, Response};
use tests::{Bed, Module, Proxy};

/// Bytes of zips that are in memory: one that is copied behind its head, one that is sent from where it is, one that is too long.
const ZIPS_BYTES: [(&str, usize); 3] =
    [("example.com/short", 0), ("example.com/middle", 30_000), ("example.com/long", 100_000)];

/// A server that has these modules in memory, and answers without a log line.
fn served() -> (Bed, Proxy, [Module; 3]) {
    let bed = Bed::new();
    let modules = ZIPS_BYTES.map(|(path, bytes)| Module::new(path, "v1.0.0").filler(bytes));
    for module in &modules {
        bed.origin.publish(module);
    }
    let proxy = bed.proxy();
    for module in &modules {
        for kind in [".info", ".mod", ".zip"] {
            proxy.get(&module.url_path(kind)).expect(200);
        }
    }
    proxy.get("/example.com/short/@v/list").expect(200);
    (bed, proxy, modules)
}

/// What an answer says, but for what is of this one answer alone.
fn said(answer: &Response) -> Said {
    let mut headers = answer.headers.clone();
    for (name, value) in &mut headers {
        if ["date", "x-request-id", "age"].contains(&name.as_str()) {
            assert!(!value.is_empty(), "{name}");
            value.clear();
        }
    }
    headers.sort();
    (answer.status, headers, answer.body.clone())
}

/// Status, headers and body.
type Said = (u16, Vec<(String, String)>, Vec<u8>);

/// One thing to ask, and what must be answered.
struct Ask {
    bytes: Vec<u8>,
    method: &'static str,
    expected: Said,
}

/// Method, path and header fields.
type Form<'a> = (&'static str, &'a str, &'a [(&'a str, &'a str)]);

/// So many of what is asked come first that a shortcut is taken for.
const IN_MEMORY: usize = 5;

fn asks(proxy: &Proxy, [module, middle, long]: &[Module; 3]) -> Vec<Ask> {
    let etag = proxy.get(&module.url_path(".mod")).expect_header("etag").to_owned();
    let (info, go_mod, zip) = (module.url_path(".info"), module.url_path(".mod"), module.url_path(".zip"));
    let (middle, long) = (middle.url_path(".zip"), long.url_path(".zip"));
    let known = [("If-None-Match", etag.as_str())];
    let part = [("Range", "bytes=1-3")];
    let list: [Form<'_>; IN_MEMORY + 8] = [
        ("GET", &info, &[]),
        ("GET", &go_mod, &[]),
        ("GET", "/example.com/short/@v/list", &[]),
        ("GET", &zip, &[]),
        ("GET", &middle, &[]),
        ("GET", &long, &[]),
        ("GET", &middle, &part),
        ("GET", &go_mod, &known),
        ("GET", &go_mod, &part),
        ("HEAD", &info, &[]),
        ("HEAD", &middle, &[]),
        ("GET", "/healthz", &[]),
        ("GET", "/example.com/no-such/@v/v1.0.0.info", &[]),
    ];
    list.into_iter()
        .map(|(method, path, headers)| {
            let call =
                headers.iter().fold(Call::new(proxy.address(), method, path), |call, (name, value)| {
                    call.header(name, value)
                });
            let bytes = call.bytes();
            // With a field that no shortcut knows.
            Ask { bytes, method, expected: said(&call.header("X-Anything", "a").send()) }
        })
        .collect()
}

#[test]
fn a_shortcut_says_what_the_long_way_says() {
    let (_bed, proxy, modules) = served();
    for ask in asks(&proxy, &modules) {
        let mut connection = Connection::open(proxy.address(), None).unwrap();
        for _ in 0..3 {
            connection.send(&ask.bytes).unwrap();
            assert_eq!(said(&connection.read_response(ask.method).unwrap()), ask.expected);
        }
    }
}

#[test]
fn answers_keep_the_order_of_requests_however_they_are_sent() {
    let (_bed, proxy, modules) = served();
    let asks = asks(&proxy, &modules);
    let seed = Chance::seed();
    println!("SEED={seed}");
    let mut chance = Chance::new(seed);
    for round in 0..rounds(200) {
        let mut connection = Connection::open(proxy.address(), None).unwrap();
        connection.stream().socket().set_nodelay(true).unwrap();
        // In some rounds mostly what is in memory, in some everything.
        let of = if round % 2 == 0 { IN_MEMORY } else { asks.len() };
        let mut waiting = Vec::new();
        for _ in 0..=chance.below(20) {
            let of = if chance.below(8) == 0 { asks.len() } else { of };
            let number = chance.below(of);
            waiting.push((number, asks[number].bytes.clone()));
        }
        // Some one by one, some together, some cut in the middle.
        let mut sent = 0;
        while sent < waiting.len() {
            let together = (1 + chance.below(4)).min(waiting.len() - sent);
            let batch = &waiting[sent..sent + together];
            let bytes: Vec<u8> = batch.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
            if chance.below(3) == 0 {
                let cut = chance.below(bytes.len());
                connection.send(&bytes[..cut]).unwrap();
                std::thread::yield_now();
                connection.send(&bytes[cut..]).unwrap();
            } else {
                connection.send(&bytes).unwrap();
            }
            for (at, (number, _)) in batch.iter().enumerate() {
                let ask = &asks[*number];
                let answer = connection.read_response(ask.method);
                let answer =
                    answer.unwrap_or_else(|error| panic!("seed {seed}, round {round}, {at}: {error}"));
                assert!(
                    said(&answer) == ask.expected,
                    "seed {seed}, round {round}, request {at}: {answer:?}"
                );
            }
            sent += together;
        }
    }
}

#[test]
fn a_body_is_no_request() {
    let (_bed, proxy, [module, ..]) = served();
    let inner = Call::new(proxy.address(), "GET", &module.url_path(".mod")).bytes();
    for announced in ["Content-Length: LENGTH", "Transfer-Encoding: chunked", "Content-Length: 0, LENGTH"] {
        for method in ["POST", "GET", "HEAD"] {
            let announced = announced.replace("LENGTH", &inner.len().to_string());
            let head =
                format!("{method} {} HTTP/1.1\r\nHost: a\r\n{announced}\r\n\r\n", module.url_path(".info"));
            for at_once in [true, false] {
                let mut connection = Connection::open(proxy.address(), None).unwrap();
                connection.stream().socket().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let mut first = head.clone().into_bytes();
                if at_once {
                    first.extend_from_slice(&inner);
                }
                connection.send(&first).unwrap();
                let refused = connection.read_response(method).unwrap();
                assert_eq!(refused.status / 100, 4, "{method} {announced}");
                if !at_once {
                    // Closed by now, perhaps.
                    let _ = connection.send(&inner);
                }
                let more = connection.read_response("GET").map(|answer| answer.status);
                assert!(!more.as_ref().is_ok_and(|status| *status == 200), "{method} {announced}: {more:?}");
            }
        }
    }
}

#[test]
fn who_does_not_read_is_sent_no_more_than_fits() {
    let (_bed, proxy, [short, middle, _]) = served();
    // Of many small files each is copied, of a zip nothing is.
    for (path, many) in [(short.url_path(".mod"), 1000), (middle.url_path(".zip"), 200)] {
        let one = Call::new(proxy.address(), "GET", &path).bytes();
        let expected = said(&proxy.get(&path));
        let before = proxy.resident_bytes();
        let mut connection = Connection::open(proxy.address(), None).unwrap();
        let sent = send_until_full(&mut connection, &one.repeat(many), one.len());
        assert!(sent > one.len() * many, "{sent} bytes: too few to block anybody");
        assert!(
            proxy.resident_bytes() < before + (16 << 20),
            "answers are held for a client that does not read"
        );
        for _ in 0..(sent / one.len()).min(10 * many) {
            let answer = connection.read_response("GET").unwrap();
            assert!(said(&answer) == expected, "{path}");
        }
    }
}

/// Sends `many`, requests of `one` bytes each, over and over until neither side's buffers take any more; the bytes that were sent.
fn send_until_full(connection: &mut Connection, many: &[u8], one: usize) -> usize {
    let socket = connection.stream().socket().try_clone().unwrap();
    socket.set_nonblocking(true).unwrap();
    let (mut sent, mut full) = (0, 0);
    while full < 20 {
        match std::io::Write::write(&mut &socket, &many[sent % one..]) {
            Ok(count) => (sent, full) = (sent + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                full += 1;
                // waits for: a server that has stopped reading, which nothing announces
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    socket.set_nonblocking(false).unwrap();
    sent
}
