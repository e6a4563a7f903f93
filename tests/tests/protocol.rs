//! The GOPROXY protocol's fine print, endpoint by endpoint: methods, headers, ranges and paths. What is answered is in `answers`.

use tests::bed::assert_error;
use tests::{Bed, Module, Proxy, Response};

const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// A server that holds one module in every shape of request.
pub(super) fn served() -> (Bed, Proxy, Module) {
    let bed = Bed::new();
    let module = Module::new("example.com/Cap/mod", "v1.1.0").filler(300_000);
    bed.module(&module.path, "v1.0.0");
    bed.origin.publish(&module);
    bed.origin.set_latest(&module);
    let commit = Module::new(&module.path, "v1.1.1-0.20240505050505-fedcba987654");
    bed.origin.publish_unlisted(&commit);
    bed.origin.publish_query("main", &commit);
    bed.sumdb.add(&commit);
    let proxy = bed.proxy();
    (bed, proxy, module)
}

/// Path, content type, and whether the content may never change.
fn endpoints(module: &Module) -> Vec<(String, &'static str, bool)> {
    let base = "/example.com/!cap/mod";
    vec![
        (module.url_path(".info"), "application/json", true),
        (module.url_path(".mod"), "text/plain", true),
        (module.url_path(".zip"), "application/zip", true),
        (format!("{base}/@v/list"), "text/plain", false),
        (format!("{base}/@latest"), "application/json", false),
        (format!("{base}/@v/main.info"), "application/json", false),
        ("/sumdb/sum.test/supported".to_owned(), "text/plain", false),
        ("/sumdb/sum.test/latest".to_owned(), "text/plain", false),
        ("/sumdb/sum.test/lookup/example.com/!cap/mod@v1.1.0".to_owned(), "text/plain", false),
        ("/sumdb/sum.test/tile/8/0/000".to_owned(), "", true),
    ]
}

pub(super) fn max_age(answer: &Response) -> Option<u64> {
    let value = answer.header("cache-control")?;
    value.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
}

#[test]
fn every_endpoint_has_its_type_its_cache_rules_and_its_marks() {
    let (_bed, proxy, module) = served();
    for (path, content_type, immutable) in endpoints(&module) {
        // A large zip that is still streaming in has no tag yet: its hash is not known.
        proxy.get(&path).expect(200);
        let answer = proxy.get(&path).expect(200);
        let found = answer.header("content-type").unwrap_or_default();
        assert!(found.starts_with(content_type), "{path}: {found}");
        let control = answer.expect_header("cache-control");
        if immutable && !path.starts_with("/sumdb") {
            assert_eq!(control, IMMUTABLE, "{path}");
            let etag = answer.expect_header("etag");
            assert!(
                etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10,
                "{path}: {etag} is weak"
            );
            assert_eq!(answer.expect_header("accept-ranges"), "bytes", "{path}");
        } else if !immutable {
            assert!(!control.contains("immutable"), "{path}: {control}");
            // A record that was looked up never changes; only the tree head beside it grows old.
            let most = 3600;
            assert!(max_age(&answer).is_none_or(|seconds| seconds <= most), "{path}: {control}");
        }
        answer.expect_header("x-request-id");
        let cache = answer.expect_header("x-cache");
        assert!(["hit", "miss", "peer", "stale", "none"].contains(&cache), "{path}: {cache}");
        assert!(answer.header("content-length").is_some(), "{path} has no length");
    }
    for suffix in [".info", ".mod", ".zip"] {
        assert_eq!(proxy.get(&module.url_path(suffix)).expect(200).expect_header("x-cache"), "hit");
    }
}

#[test]
fn the_first_answer_is_a_miss_and_the_bytes_are_the_origins() {
    let (_bed, proxy, module) = served();
    for (suffix, body) in [(".info", module.info()), (".mod", module.go_mod()), (".zip", module.zip())] {
        assert_eq!(proxy.get(&module.url_path(suffix)).expect(200).body, body, "{suffix}");
    }
    let lone = Module::new("example.com/Cap/mod", "v1.0.0").url_path(".mod");
    assert_eq!(proxy.get(&lone).expect(200).expect_header("x-cache"), "miss");
    assert_eq!(proxy.get(&lone).expect(200).expect_header("x-cache"), "hit");
}

#[test]
fn head_is_get_without_the_body() {
    let (_bed, proxy, module) = served();
    for (path, ..) in endpoints(&module) {
        proxy.get(&path).expect(200);
        let mut connection = proxy.call("HEAD", &path).open().unwrap();
        let head = connection.read_response("HEAD").unwrap();
        // A body after the head would be read as the next answer's head.
        connection.send(&proxy.call("GET", &path).bytes()).unwrap();
        let get = connection.read_response("GET").unwrap().expect(200);
        let comparable = |answer: &Response| {
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| !["x-request-id", "date", "age", "x-cache"].contains(&name.as_str()));
            headers.sort();
            headers
        };
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(comparable(&head), comparable(&get), "{path}");
        assert_eq!(get.expect_header("content-length"), get.body.len().to_string(), "{path}");
    }
    // On something cold, and on nothing.
    let cold = Module::new("example.com/Cap/mod", "v1.0.0").url_path(".zip");
    let head = proxy.call("HEAD", &cold).send();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.expect_header("content-length"), proxy.get(&cold).expect(200).body.len().to_string());
    assert_eq!(proxy.call("HEAD", "/example.com/none/@v/v1.0.0.info").send().status, 404);
}

#[test]
fn an_etag_that_matches_is_answered_304() {
    let (_bed, proxy, module) = served();
    for suffix in [".info", ".mod", ".zip"] {
        let path = module.url_path(suffix);
        proxy.get(&path).expect(200);
        let etag = proxy.get(&path).expect(200).expect_header("etag").to_owned();
        let ask = |value: &str| proxy.call("GET", &path).header("If-None-Match", value).send();
        for matching in [etag.clone(), format!("W/{etag}"), "*".to_owned(), format!("\"other\", {etag}")] {
            let answer = ask(&matching);
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{path} {matching}");
            assert_eq!(answer.expect_header("etag"), etag);
            assert_eq!(answer.expect_header("cache-control"), IMMUTABLE);
        }
        for other in ["\"other\"".to_owned(), "garbage".to_owned(), etag.trim_matches('"').to_owned()] {
            assert_eq!(ask(&other).status, 200, "{path} {other}");
        }
        for (expected, status) in [(etag.as_str(), 200), ("*", 200), ("\"other\"", 412)] {
            let answer = proxy.call("GET", &path).header("If-Match", expected).send().expect(status);
            let lifetime = if status == 200 { IMMUTABLE } else { "no-store" };
            assert_eq!(answer.expect_header("cache-control"), lifetime, "no cache keeps a 412");
        }
        let lines = proxy.call("GET", &path).header("If-None-Match", "\"other\"");
        lines.header("If-None-Match", &etag).send().expect(304);
        assert_eq!(proxy.get(&path).expect(200).expect_header("etag"), etag, "the same for ever");
    }
}

#[test]
fn ranges_are_cut_from_the_whole() {
    let (_bed, proxy, module) = served();
    let path = module.url_path(".zip");
    let whole = module.zip();
    let size = whole.len();
    let ask = |range: &str| proxy.call("GET", &path).header("Range", range).send();
    // The first of them finds the zip cold.
    for (range, first, last) in [
        ("bytes=0-9".to_owned(), 0, 9),
        ("bytes=262140-262150".to_owned(), 262_140, 262_150),
        ("bytes=-7".to_owned(), size - 7, size - 1),
        (format!("bytes=-{}", size * 2), 0, size - 1),
        ("bytes=100-".to_owned(), 100, size - 1),
        (format!("bytes={}-{}", size - 1, size * 2), size - 1, size - 1),
    ] {
        let answer = ask(&range).expect(206);
        assert_eq!(answer.expect_header("content-range"), format!("bytes {first}-{last}/{size}"), "{range}");
        assert_eq!(answer.expect_header("content-length"), (last - first + 1).to_string(), "{range}");
        assert!(answer.body == whole[first..=last], "{range}");
    }
    for range in [format!("bytes={size}-"), format!("bytes={}-{}", size + 5, size + 9), "bytes=-0".to_owned()]
    {
        let answer = ask(&range).expect(416);
        assert_eq!(answer.expect_header("content-range"), format!("bytes */{size}"), "{range}");
        assert_error(&answer);
    }
    for ignored in [
        "bytes=9-0",
        "bytes=a-b",
        "items=0-1",
        "bytes",
        "bytes=",
        "bytes=--1",
        "bytes=0-18446744073709551616",
    ] {
        let answer = ask(ignored);
        assert!([200, 206, 416].contains(&answer.status), "{ignored}: {}", answer.status);
        assert!(answer.status != 200 || answer.body == whole, "{ignored}");
    }
    let several = ask("bytes=0-1,5-6");
    let multipart =
        several.header("content-type").is_some_and(|kind| kind.starts_with("multipart/byteranges"));
    assert!(several.status == 200 && several.body == whole || several.status == 206 && multipart);
    // A thousand overlapping ranges must not multiply the work.
    let bomb = format!("bytes={}", vec!["0-"; 1000].join(","));
    assert!(ask(&bomb).body.len() <= size * 2);
}

#[test]
fn a_range_holds_only_for_the_bytes_that_the_client_means() {
    let (_bed, proxy, module) = served();
    let path = module.url_path(".zip");
    proxy.get(&path).expect(200);
    let etag = proxy.get(&path).expect(200).expect_header("etag").to_owned();
    let ask = |condition: &str| {
        proxy.call("GET", &path).header("Range", "bytes=0-9").header("If-Range", condition).send().status
    };
    assert_eq!(ask(&etag), 206);
    assert_eq!(ask("\"other\""), 200);
    assert_eq!(ask(&format!("W/{etag}")), 200, "weak tags never match in If-Range");
    assert_eq!(ask("Wed, 21 Oct 2015 07:28:00 GMT"), 200);
    let twice = proxy.call("GET", &path).header("Range", "bytes=0-9").header("If-Range", &etag);
    assert_eq!(
        twice.header("If-Range", "\"other\"").send().status,
        200,
        "two conditions say nothing certain"
    );
    let ranges = proxy.call("GET", &path).header("Range", "bytes=0-9").header("Range", "bytes=5-6");
    assert_eq!(ranges.send().status, 200, "nor do two ranges");
    // What a condition on a time asks for is unknown here: no answer carries Last-Modified (RFC 9110 section 13.1.3).
    let since = ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT");
    assert_eq!(proxy.call("GET", &path).header(since.0, since.1).send().status, 200);
}

#[test]
fn a_range_means_nothing_for_head() {
    let (_bed, proxy, module) = served();
    let (path, size) = (module.url_path(".zip"), module.zip().len().to_string());
    // The first of them finds the zip cold.
    for range in ["bytes=0-9", "bytes=0-9", "bytes=99999999-"] {
        let head = proxy.call("HEAD", &path).header("Range", range).send().expect(200);
        assert_eq!(head.expect_header("content-length"), size, "{range}");
        assert_eq!(head.header("content-range"), None, "{range}");
    }
}

#[test]
fn other_methods_are_refused_by_name() {
    let (bed, proxy, module) = served();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE"] {
        for (path, ..) in endpoints(&module) {
            let answer = proxy.call(method, &path).send().expect(405);
            let allow = answer.expect_header("allow");
            assert!(allow.contains("GET") && allow.contains("HEAD"), "{method} {path}: {allow}");
            assert_error(&answer);
        }
    }
    for method in ["POST", "PUT", "DELETE"] {
        let mut connection = proxy.call(method, &module.url_path(".mod")).body(b"hello").open().unwrap();
        let answer = connection.read_response(method).unwrap().expect(405);
        assert!(answer.expect_header("allow").contains("GET"), "{method}");
        assert_error(&answer);
        assert!(connection.closed(), "{method}: nobody reads the body, nor what comes after it");
    }
    let get = proxy.call("GET", &module.url_path(".mod")).body(b"hello").send().expect(400);
    assert_error(&get);
    assert_eq!(bed.origin.total(), 0);
}

#[test]
fn what_is_not_a_request_is_refused_without_asking_the_origin() {
    let (bed, proxy, _module) = served();
    for target in [
        "/foo",
        "/example.com/a",
        "/example.com/a/",
        "/@v/list",
        "/@latest",
        "/example.com/a/@v",
        "/example.com/a/@v/",
        "/example.com/a/@v/v1.0.0",
        "/example.com/a/@v/v1.0.0.tar",
        "/example.com/a/@v/v1.0.0.ziphash",
        "/example.com/a/@v/.info",
        "/example.com/a/@v/list/",
        "/example.com/a/@latest/",
        "/example.com/a/@v/list.info/x",
        "/example.com/a/@v/latest.info",
        "/example.com/a/@v/upgrade.info",
        "/example.com/a/@v/patch.info",
        "/example.com/a/@v/main.mod",
        "/example.com/a/@v/main.zip",
        "/example.com/a/@v/v1.zip",
        "/example.com/a/@v/v1.0.mod",
        "/example.com/a/@v/v1.0.0+meta.zip",
        "/example.com/a/@v/v2.0.0.zip",
        "/example.com/a/@v/v2.0.0.mod",
        "/example.com/a/v2/@v/v1.0.0.zip",
        "/example.com/a/v1/@v/v1.0.0.zip",
        "/example.com/a/v02/@v/v2.0.0.zip",
        "/gopkg.in/yaml.v1/@v/v2.0.0.zip",
        "/gopkg.in/yaml/@v/v1.0.0.zip",
        "/nodot/a/@v/list",
        "/example.com/.hidden/@v/list",
        "/example.com/a./@v/list",
        "/example.com/con/@v/list",
        "/-example.com/a/@v/list",
        "/example.com/a@v1/@v/list",
        "/sumdb/",
        "/sumdb/sum.test",
        "/sumdb/sum.test/",
        "/sumdb/sum.test/secret",
        "/sumdb/sum.test/lookup/",
        "/sumdb/sum.test/lookup/example.com/a",
        "/sumdb/sum.test/tile/8/0/1",
        "/sumdb/sum.test/tile/0/0/000",
        "/sumdb/sum.test/tile/8/99/000",
        "/sumdb/sum.test/tile/8/0/000.p/256",
        "/sumdb/sum.test/tile/8/0/000.p/0",
        "/sumdb/other.test/supported",
        "/sumdb/169.254.169.254/supported",
        "/cached-only/cached-only/example.com/a/@v/list",
    ] {
        let answer = proxy.get(target);
        assert!([400, 404].contains(&answer.status), "{target}: {} {}", answer.status, answer.text());
        assert_error(&answer);
    }
    let asked: Vec<_> = bed.origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(asked, Vec::<String>::new());
}

#[test]
fn a_query_string_changes_nothing() {
    let (bed, proxy, module) = served();
    for (path, ..) in endpoints(&module) {
        let with = proxy.get(&format!("{path}?go-get=1&x=../..")).expect(200);
        assert_eq!(with.body, proxy.get(&path).expect(200).body, "{path}");
    }
    assert!(bed.origin.seen().iter().all(|seen| !seen.target.contains('?')), "{:?}", bed.origin.seen());
}

#[test]
fn a_zip_is_never_compressed_again() {
    let (_bed, proxy, module) = served();
    for (path, ..) in endpoints(&module) {
        let answer =
            proxy.call("GET", &path).header("Accept-Encoding", "gzip, deflate, br").send().expect(200);
        let encoding = answer.header("content-encoding").unwrap_or("identity");
        assert!(encoding == "identity" || !path.ends_with("zip"), "{path}: {encoding}");
        if encoding != "identity" {
            assert!(answer.expect_header("vary").to_lowercase().contains("accept-encoding"), "{path}");
        }
    }
}

#[test]
fn the_checksum_database_is_passed_on_as_it_is() {
    let (bed, proxy, module) = served();
    let answer = |path: &str| proxy.get(&format!("/sumdb/sum.test/{path}"));
    let lookup = answer("lookup/example.com/!cap/mod@v1.1.0").expect(200).text();
    assert!(lookup.contains(&module.sum_lines()), "{lookup}");
    assert!(lookup.contains("\n\u{2014} sum.test "), "{lookup}");
    for path in ["tile/8/0/000", "tile/8/0/001.p/10", "tile/8/1/000.p/1", "tile/8/data/000"] {
        assert_eq!(answer(path).expect(200).body, bed.sumdb.answer(path).1, "{path}");
    }
    let before = bed.origin.count("/sumdb/sum.test/tile/8/0/000");
    answer("tile/8/0/000").expect(200);
    assert_eq!(bed.origin.count("/sumdb/sum.test/tile/8/0/000"), before, "a full tile is kept");
}

#[test]
fn health_is_told_on_both_ports() {
    let (_bed, proxy, _module) = served();
    for path in ["/healthz", "/readyz"] {
        proxy.get(path).expect(200);
        proxy.admin_get(path).expect(200);
    }
    assert_ne!(proxy.get("/metrics").status, 200, "metrics are not for clients");
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let (_bed, proxy, module) = served();
    let targets: Vec<String> = endpoints(&module)
        .into_iter()
        .map(|(path, ..)| path)
        .filter(|path| !path.contains("sumdb"))
        .collect();
    let mut connection = tests::raw_http::Connection::open(proxy.address(), None).unwrap();
    let pipelined: Vec<u8> = targets.iter().flat_map(|path| proxy.call("GET", path).bytes()).collect();
    connection.send(&pipelined).unwrap();
    for path in &targets {
        let answer = connection.read_response("GET").unwrap().expect(200);
        assert_eq!(answer.body, proxy.get(path).expect(200).body, "{path}");
    }
    let old = b"GET /healthz HTTP/1.0\r\n\r\n";
    let mut connection = tests::raw_http::Connection::open(proxy.address(), None).unwrap();
    connection.send(old).unwrap();
    assert_eq!(connection.read_response("GET").unwrap().status, 200);
    assert!(connection.closed(), "HTTP/1.0 without keep-alive closes");
}
