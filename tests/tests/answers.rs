//! The GOPROXY protocol's fine print, answer by answer: lists, `.info`s and queries, and what is told where there is nothing. How it is
//! sent is in `protocol`.

use std::time::Duration;

use tests::bed::{assert_error, assert_upstream_error};
use tests::wall_clock::HOUR_S;
use tests::{Bed, Fault, Module, Proxy, Tamper, WallClock};

use super::protocol::{max_age, served};

#[test]
fn a_list_is_shaped() {
    let bed = Bed::new();
    let proxy = bed.proxy();
    let list = |module: &str, upstream: &str| {
        bed.origin.set_file(&format!("/{module}/@v/list"), upstream);
        proxy.get(&format!("/{module}/@v/list")).expect(200).text()
    };
    let mixed = "v1.10.0\nv1.9.0\nv0.0.0-20240102030405-0123456789ab\nv1.2.3-pre.1 2024-01-02T03:04:05Z\nnonsense\n\
                 v2.0.0\nv3.0.0+incompatible\nv1.9.0\n\nv1\nv1.2.3\r\nv1.2.4-0.20240102030405-0123456789ab\nv1.0.0+meta\n\
                 v2.0.1-0.20240102030405-0123456789ab+incompatible\n";
    assert_eq!(
        list("example.com/mixed", mixed),
        "v1.2.3-pre.1\nv1.2.3\nv1.9.0\nv1.10.0\nv3.0.0+incompatible\n"
    );
    assert_eq!(
        list("example.com/two/v2", "v2.0.0\nv1.0.0\nv2.0.0-a\nv3.0.0+incompatible\n"),
        "v2.0.0-a\nv2.0.0\n"
    );
    assert_eq!(list("gopkg.in/yaml.v2", "v2.1.0\nv3.0.0\nv2.0.0"), "v2.0.0\nv2.1.0\n");
    assert_eq!(list("example.com/empty", ""), "");
    let toolchains = "v0.0.1-go1.21.0.linux-amd64\nv0.0.1-go1.9.2rc2.windows-386\n";
    let listed = list("golang.org/toolchain", toolchains);
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

/// A copy of a module cache behind a web server lists commits and has no `@latest`; the go command is content with it.
#[test]
fn the_newest_commit_is_latest_where_nothing_is_tagged() {
    let bed = Bed::new();
    let commit = |version: &str| Module::new("example.com/commits", version);
    let newer = commit("v0.0.0-20250505050505-000000000000");
    let older = commit("v0.0.0-20240505050505-ffffffffffff");
    bed.origin.publish(&newer);
    bed.origin.publish(&older);
    let (list, latest) = ("/example.com/commits/@v/list", "/example.com/commits/@latest");
    let proxy = bed.proxy();
    assert_eq!(proxy.get(list).expect(200).text(), "");
    assert_eq!(proxy.get(latest).expect(200).body, newer.info());
    assert_eq!(bed.origin.count(&newer.url_path(".zip")), 0, "nobody asked for this version");
    let client = bed.client(&proxy);
    client.run(&["get", "example.com/commits@latest"]).success();
    assert!(client.read("go.mod").contains(&newer.version));

    // A tag goes before all of them.
    let tagged = bed.module("example.com/tagged", "v0.0.1");
    bed.origin.publish(&Module::new("example.com/tagged", "v0.0.2-0.20250505050505-000000000000"));
    assert_eq!(proxy.get("/example.com/tagged/@latest").expect(200).body, tagged.info());
    for absent in ["/example.com/none/@latest", "/example.com/empty/@latest"] {
        bed.origin.know("example.com/empty");
        assert_error(&proxy.get(absent).expect(404));
    }

    // What is held is what there is where nothing may be fetched.
    let proxy = bed.proxy();
    bed.client(&proxy).download(&[&older.spec()]).success();
    let proxy = proxy.restart_with(bed.settings().offline());
    assert_eq!(proxy.get(list).expect(200).text(), "");
    assert_eq!(proxy.get(latest).expect(200).body, older.info());
    let client = bed.client(&proxy);
    client.run(&["get", "example.com/commits@latest"]).success();
    assert!(client.read("go.mod").contains(&older.version));
}

#[test]
fn an_info_is_kept_byte_for_byte() {
    let bed = Bed::new();
    let origin = r#","Origin":{"VCS":"git","URL":"https://example.com/kept","Hash":"0123","Ref":"refs/tags/v1.0.0"} ,  "Unknown":[1, 2.50]"#;
    let module = Module::new("example.com/kept", "v1.0.0").info_extra(origin);
    bed.origin.publish(&module);
    let proxy = bed.proxy();
    assert_eq!(proxy.get(&module.url_path(".info")).expect(200).body, module.info());
    let shown = bed.client(&proxy).run(&["mod", "download", "-json", &module.spec()]).success().stdout;
    assert!(shown.contains("https://example.com/kept"), "{shown}");
}

#[test]
fn an_info_must_tell_of_the_version_that_was_asked_for() {
    let bed = Bed::new();
    let (one, two) = (bed.module("example.com/swap", "v1.0.0"), bed.module("example.com/swap", "v1.0.1"));
    bed.origin.fault(&one.url_path(".info"), [Fault::Body(two.info())]);
    let proxy = tests::Proxy::start(&bed.settings().allow_all());
    assert_upstream_error(&proxy.get(&one.url_path(".info")));
    for (number, body) in
        ["", "{}", "null", "[]", r#"{"Version":"main"}"#, r#"{"Version":7}"#, "{\"Version\":\"v1.0.0\""]
            .into_iter()
            .enumerate()
    {
        let odd = bed.module("example.com/odd", &format!("v1.0.{number}"));
        bed.origin.fault(&odd.url_path(".info"), [Fault::Body(body.as_bytes().to_vec())]);
        assert_upstream_error(&proxy.get(&odd.url_path(".info")));
    }
}

#[test]
fn a_query_is_answered_for_a_short_time_and_its_version_kept_for_ever() {
    let (bed, proxy, module) = served();
    let answer = proxy.get("/example.com/!cap/mod/@v/main.info").expect(200);
    assert!(answer.text().contains("v1.1.1-0.20240505050505-fedcba987654"));
    assert!(
        max_age(&answer).is_some_and(|seconds| seconds <= 300)
            || answer.expect_header("cache-control").contains("no-")
    );
    proxy.get("/example.com/!cap/mod/@v/main.info").expect(200);
    assert_eq!(bed.origin.count("/example.com/!cap/mod/@v/main.info"), 1);
    let canonical = Module::new(&module.path, "v1.1.1-0.20240505050505-fedcba987654");
    bed.client(&proxy).download(&[&canonical.spec()]).success();
    for absent in ["/example.com/!cap/mod/@v/gone.info", "/example.com/!cap/mod/@v/0000000.info"] {
        assert_error(&proxy.get(absent).expect(404));
    }
}

/// An origin that is slow hides nothing for longer than minutes, and of a branch nothing at all.
#[test]
fn what_is_old_is_not_given_because_an_origin_is_slow() {
    let (bed, clock) = (Bed::new(), WallClock::right());
    let mut settings = bed.settings().allow_all();
    for (name, value) in clock.environment() {
        settings = settings.env(name, &value);
    }
    let first = bed.module("example.com/moving", "v1.0.0");
    bed.origin.set_latest(&first);
    bed.origin.publish_query("main", &first);
    let [list, latest, branch] =
        ["@v/list", "@latest", "@v/main.info"].map(|end| format!("/example.com/moving/{end}"));
    let proxy = Proxy::start(&settings);
    for path in [&list, &latest, &branch] {
        assert!(proxy.get(path).expect(200).text().contains("v1.0.0"), "{path}");
    }
    let second = bed.module("example.com/moving", "v1.1.0");
    bed.origin.set_latest(&second);
    bed.origin.publish_query("main", &second);
    for path in [&list, &latest, &branch] {
        bed.origin.fault(path, [Fault::Delay(Duration::from_millis(3500))]);
    }
    let given = |proxy: &Proxy, path: &str| {
        let answer = proxy.get(path).expect(200);
        (answer.text().contains("v1.1.0"), answer.expect_header("x-cache").to_owned())
    };
    // Minutes old.
    clock.step(5 * 60);
    let proxy = proxy.restart();
    assert_eq!(given(&proxy, &list), (false, "stale".to_owned()));
    assert_eq!(given(&proxy, &branch), (true, "miss".to_owned()));
    clock.step(HOUR_S);
    let proxy = proxy.restart();
    assert_eq!(given(&proxy, &latest), (true, "miss".to_owned()));
}

/// The go command sends it as `%25`, and that is its one spelling.
#[test]
fn a_branch_may_have_a_percent_sign_in_its_name() {
    let (bed, proxy, module) = served();
    let commit = Module::new(&module.path, "v1.1.1-0.20240505050505-fedcba987654");
    bed.origin.publish_query("50%-off", &commit);
    let path = "/example.com/!cap/mod/@v/50%25-off.info";
    assert_eq!(proxy.get(path).expect(200).body, commit.info());
    assert_eq!(proxy.get(path).expect(200).expect_header("x-cache"), "hit");
    assert_eq!(bed.origin.count("/example.com/!cap/mod/@v/50%-off.info"), 1);
    for other in ["50%-off", "50%2525-off", "50%25%2doff", "50%252doff", "50%25%32%64off"] {
        let answer = proxy.get(&format!("/example.com/!cap/mod/@v/{other}.info"));
        let same = answer.status == 200 && answer.header("x-cache") == Some("hit");
        assert!(
            same == (other == "50%25%2doff") && (same || answer.status == 400),
            "{other}: {}",
            answer.status
        );
    }
    let client = bed.client(&proxy);
    client.run(&["get", "example.com/Cap/mod@50%-off"]).success();
    assert!(client.read("go.mod").contains(&commit.version));
}

#[test]
fn what_is_not_there_is_404_in_words_that_go_shows() {
    let (_bed, proxy, _module) = served();
    for target in [
        "/example.com/none/@v/list",
        "/example.com/none/@latest",
        "/example.com/none/@v/v1.0.0.info",
        "/example.com/none/@v/v1.0.0.mod",
        "/example.com/none/@v/v1.0.0.zip",
        "/sumdb/sum.test/lookup/example.com/none@v1.0.0",
        "/sumdb/sum.test/tile/8/0/x999/999",
        "/sumdb/sum.test/tile/8/0/002.p/200",
    ] {
        let answer = proxy.get(target).expect(404);
        assert_error(&answer);
        assert!(max_age(&answer).is_none_or(|seconds| seconds <= 600), "{target}: {:?}", answer.headers);
    }
    let text = proxy.get("/example.com/none/@v/v1.0.0.info").text();
    assert!(text.starts_with("not found:") && text.contains("example.com/none@v1.0.0"), "{text}");
}

#[test]
fn gone_stays_gone_and_forbidden_is_not_missing() {
    let bed = Bed::new();
    let (gone, refused) =
        (bed.module("example.com/gone", "v1.0.0"), bed.module("example.com/refused", "v1.0.0"));
    for suffix in [".info", ".mod", ".zip"] {
        bed.origin.fault(&gone.url_path(suffix), [Fault::Status(410)]);
        bed.origin.fault(&refused.url_path(suffix), [Fault::Status(403)]);
    }
    let proxy = Proxy::start(&bed.settings().allow_all());
    for suffix in [".info", ".mod", ".zip"] {
        let answer = proxy.get(&gone.url_path(suffix));
        assert!([404, 410].contains(&answer.status), "{}", answer.status);
        assert_error(&answer);
        let answer = proxy.get(&refused.url_path(suffix));
        assert!(![200, 404, 410].contains(&answer.status), "{}", answer.status);
        assert_error(&answer);
    }
}

/// A large zip is sent on while it arrives, but an answer that has begun has no words for why it ends.
#[test]
fn a_large_zip_that_nobody_vouches_for_is_refused_in_words() {
    for (down, status, said) in [(false, 403, "--no-sumdb"), (true, 503, "try again in a moment")] {
        let bed = Bed::new();
        let module = Module::new("example.com/unrecorded", "v1.0.0").filler(1_500_000);
        bed.origin.publish_without_record(&module);
        let proxy = Proxy::start(&bed.settings().allow_all());
        if down {
            bed.sumdb.tamper(Tamper::Down);
        }
        // Slower than the zip.
        let record = format!("/sumdb/sum.test/lookup/{}", module.spec());
        bed.origin.fault(&record, [Fault::Delay(Duration::from_millis(300))]);
        for _ in 0..2 {
            let answer = proxy.get(&module.url_path(".zip")).expect(status);
            assert_error(&answer);
            assert!(answer.text().contains(said), "{}", answer.text());
        }
    }
}
