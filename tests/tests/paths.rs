//! Path tricks and cache poisoning: one canonical value decides what is looked up, stored and asked for.

use tests::raw_http::Connection;
use tests::{Bed, Module, Proxy, Response, Settings};

/// A published module with capitals, and a server that does not verify, so that only what clients ask for reaches
/// the origin. The module's only canonical paths are those of `url_path`.
fn served() -> (Bed, Proxy, Module) {
    let bed = Bed::new();
    let module = bed.module("example.com/Cap/mod", "v1.0.0");
    let proxy = Proxy::start(&Settings::new(&bed.origin));
    (bed, proxy, module)
}

/// Sends a target of arbitrary bytes. `None` when the server closed without an answer.
fn raw(proxy: &Proxy, target: &[u8]) -> Option<Response> {
    let mut connection = Connection::open(proxy.address(), None).unwrap();
    let mut request = b"GET ".to_vec();
    request.extend_from_slice(target);
    request.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.send(&request).ok()?;
    connection.read_response("GET").ok()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of paths")]
fn tricky_paths_are_refused_and_never_reach_the_origin() {
    let (bed, proxy, _module) = served();
    let long_element = format!("/example.com/{}/@v/list", "a".repeat(5000));
    let deep = format!("/example.com{}/@v/list", "/a".repeat(2000));
    let tricks: &[&[u8]] = &[
        b"/example.com/../example.com/!cap/mod/@v/list",
        b"/example.com/!cap/mod/@v/../@v/list",
        b"/example.com/!cap/mod/@v/%2e%2e/v1.0.0.info",
        b"/example.com/!cap/mod/@v/..%2fv1.0.0.info",
        b"/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        b"/..%2f..%2f..%2fetc/passwd/@v/list",
        b"/.%2e/example.com/a/@v/list",
        b"/example.com/./!cap/mod/@v/list",
        b"/example.com//!cap/mod/@v/list",
        b"//example.com/!cap/mod/@v/list",
        b"/example.com/!cap/mod/@v//list",
        b"/example.com/!cap/mod//@v/list",
        b"/example.com/!cap/mod/@v/list%00",
        b"/example.com/!cap/mod%00/@v/list",
        b"/example.com/!cap/mod/@v/v1.0.0%00.info",
        b"/example.com/!cap/mod/@v/v1.0.0.info%0a",
        b"/example.com/!cap/mod/@v/v1.0.0%0d%0aX:y.info",
        b"/example.com\\!cap\\mod/@v/list",
        b"/example.com/..\\..\\mod/@v/list",
        b"/example.com/%5c..%5cmod/@v/list",
        b"/example.com/%2543ap/mod/@v/list",
        b"/example.com/%252e%252e/mod/@v/list",
        b"/example.com/%2521cap/mod/@v/list",
        b"/example.com/!cap/mod/@v/v1.0.0%252einfo",
        b"/example.com/%c3%a4/@v/list",
        b"/example.com/\xc3\xa4/@v/list",
        b"/example.com/%c0%ae%c0%ae/@v/list",
        b"/example.com/%c1%a1/@v/list",
        b"/example.com/%ff/@v/list",
        b"/example.com/%e2%84%aa/@v/list",
        b"/example.com/Cap/mod/@v/list",
        b"/example.com/%43ap/mod/@v/list",
        b"/EXAMPLE.com/a/@v/list",
        b"/example.com/!1/@v/list",
        b"/example.com/!!cap/mod/@v/list",
        b"/example.com/!Cap/mod/@v/list",
        b"/example.com/cap!/mod/@v/list",
        b"/example.com/a!/@v/list",
        b"/example.com/!/@v/list",
        b"/example.com/a/@v/V1.0.0.info",
        b"/example.com/!cap/mod/@v/v1.0.0.INFO",
        b"/example.com/!cap/mod/@V/list",
        b"/example.com/!cap/mod/@v/LIST",
        b"/example.com/!cap/mod/@Latest",
        b"/example.com/!cap/mod/@v/feature%2fx.info",
        b"/example.com/!cap/mod/@v/a/b.info",
        b"/example.com/a%20b/@v/list",
        b"/example.com/a%3fb/@v/list",
        b"/example.com/a%23b/@v/list",
        b"/example.com/a;b/@v/list",
        b"/example.com/a:b/@v/list",
        b"/example.com/~a~1/@v/list",
        b"/example.com/%/@v/list",
        b"/example.com/%4/@v/list",
        b"/example.com/%zz/@v/list",
        b"/example.com/!cap/mod/@v/v1.0.0.info/../v1.0.0.zip",
        b"/example.com/!cap/mod/@v/v1.0.0 .info",
        b"/sumdb/sum.test/../../example.com/a/@v/list",
        b"/sumdb/sum.test/lookup/../supported",
        b"/sumdb/sum.test/lookup/example.com/Cap/mod@v1.0.0",
        b"/sumdb/sum.test/lookup/%2e%2e%2f%2e%2e",
        b"/sumdb/sum.test/tile/8/0/%2e%2e/000",
        b"/sumdb/sum.test/tile/8/0/x000/../000",
        b"/sumdb/%2e%2e/supported",
        b"/cached-only/../example.com/a/@v/list",
        b"/cached-only//example.com/a/@v/list",
        long_element.as_bytes(),
        deep.as_bytes(),
    ];
    for target in tricks {
        let shown = String::from_utf8_lossy(target);
        let shown = &shown[..shown.len().min(80)];
        let Some(answer) = raw(&proxy, target) else { continue };
        assert!([400, 404, 414].contains(&answer.status), "{shown}: {} {}", answer.status, answer.text());
        assert!(answer.complete, "{shown}");
        assert!(!answer.text().contains("root:"), "{shown}");
    }
    let asked: Vec<_> = bed.origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(asked, Vec::<String>::new());
    proxy.get("/healthz").expect(200);
}

#[test]
fn both_spellings_of_the_bang_are_one_thing() {
    let (bed, proxy, module) = served();
    let literal = module.url_path(".mod");
    let encoded = literal.replace('!', "%21");
    assert_ne!(literal, encoded);
    assert_eq!(proxy.get(&encoded).expect(200).body, module.go_mod());
    assert_eq!(proxy.get(&literal).expect(200).expect_header("x-cache"), "hit");
    assert_eq!(bed.origin.count(&literal), 1);
    proxy.get("/example.com/%21cap/mod/@v/list").expect(200);
    proxy.get("/example.com/!cap/mod/@v/list").expect(200);
    assert_eq!(bed.origin.count("/example.com/!cap/mod/@v/list"), 1);
}

#[test]
fn other_spellings_of_a_good_path_are_the_same_thing_or_refused() {
    let (bed, proxy, module) = served();
    let canonical = module.url_path(".mod");
    proxy.get(&canonical).expect(200);
    bed.origin.forget_seen();
    let spellings = [
        canonical.replace("example", "%65xample"),
        canonical.replacen("/!cap", "%2f!cap", 1),
        canonical.replace(".mod", "%2emod"),
        canonical.replace("/@v/", "/%40v/"),
        canonical.replace("/@v/", "/%40%76%2F"),
        canonical.replace("!cap", "%21%63ap"),
        canonical.clone() + "?",
        canonical.clone() + "?a=b",
    ];
    for spelling in spellings {
        let answer = proxy.get(&spelling);
        let same =
            answer.status == 200 && answer.body == module.go_mod() && answer.header("x-cache") == Some("hit");
        assert!(same || [400, 404].contains(&answer.status), "{spelling}: {}", answer.status);
    }
    assert_eq!(bed.origin.total(), 0, "a spelling is no key of its own: {:?}", bed.origin.seen());
}

#[test]
fn a_plus_is_a_plus() {
    let bed = Bed::new();
    let module = Module::new("example.com/old", "v3.2.1+incompatible").without_go_mod();
    bed.origin.publish(&module);
    let proxy = Proxy::start(&Settings::new(&bed.origin));
    let literal = module.url_path(".mod");
    assert_eq!(proxy.get(&literal).expect(200).body, module.go_mod());
    assert_eq!(proxy.get(&literal.replace('+', "%2B")).expect(200).expect_header("x-cache"), "hit");
    assert_ne!(proxy.get(&literal.replace('+', "%20")).status, 200);
    assert_eq!(bed.origin.count(&literal), 1);
}

#[test]
fn nothing_in_a_request_but_its_path_decides_what_is_stored() {
    let bed = Bed::new();
    let proxy = Proxy::start(&Settings::new(&bed.origin));
    let poisons: &[(&str, &str)] = &[
        ("Host", "evil.test"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Prefix", "/evil"),
        ("Forwarded", "host=evil.test"),
        ("X-Original-URL", "/example.com/other/@v/list"),
        ("X-Rewrite-URL", "/example.com/other/@v/list"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Range", "bytes=0-3"),
        ("If-None-Match", "*"),
        ("If-Modified-Since", "Wed, 21 Oct 2065 07:28:00 GMT"),
        ("Accept-Encoding", "gzip"),
        ("Accept", "text/html"),
        ("Accept-Language", "tlh"),
        ("Cookie", "session=1"),
        ("Authorization", "Basic c2VjcmV0OnNlY3JldA=="),
        ("Connection", "X-Secret"),
        ("Cache-Control", "no-store"),
        ("Pragma", "no-cache"),
    ];
    for (number, (name, value)) in poisons.iter().enumerate() {
        let module = bed.module("example.com/poison", &format!("v1.0.{number}"));
        for (suffix, body) in [(".info", module.info()), (".mod", module.go_mod()), (".zip", module.zip())] {
            let path = module.url_path(suffix);
            // The poisoned request comes first, on cold content.
            let poisoned = proxy.call("GET", &path).header(name, value).send();
            assert!([200, 206, 304].contains(&poisoned.status), "{name}: {}", poisoned.status);
            let clean = proxy.get(&path).expect(200);
            assert_eq!(clean.body, body, "{name} spoiled {path}");
            assert_eq!(clean.header("content-encoding"), None, "{name}");
        }
    }
    for seen in bed.origin.seen() {
        for (name, value) in &seen.headers {
            assert!(
                !value.contains("evil") && !value.contains("c2VjcmV0"),
                "{name}: {value} reached the origin"
            );
            assert!(
                !["cookie", "authorization", "range", "x-secret"].contains(&name.as_str()),
                "{name}: {value}"
            );
            assert!(!name.starts_with("x-forwarded") && name != "forwarded", "{name}: {value}");
        }
        assert_eq!(seen.header("host"), Some(bed.origin.address().to_string().as_str()));
    }
}

#[test]
fn an_absolute_target_leads_nowhere_else() {
    let (bed, proxy, module) = served();
    let evil = tests::Origin::start();
    let target = format!("{}{}", evil.url(), module.url_path(".mod"));
    let answer = raw(&proxy, target.as_bytes());
    assert!(answer.is_none_or(|answer| [200, 400, 404].contains(&answer.status)));
    for target in ["169.254.169.254:80", "*", "example.com:443"] {
        // At most the page that stands at `/`.
        let answer = raw(&proxy, target.as_bytes());
        let own = |answer: Response| answer.status >= 400 || answer.body == proxy.get("/").body;
        assert!(answer.is_none_or(own), "{target}");
    }
    let connect = proxy.call("CONNECT", &evil.address().to_string()).try_send();
    assert!(connect.is_err() || connect.is_ok_and(|answer| answer.status >= 400));
    assert_eq!(evil.total(), 0);
    assert!(bed.origin.total() <= 3);
}
