//! Private prefixes: never named to an origin or a database, and never 404 or 410, which would send the go command,
//! and with it the name, to the next proxy.

use tests::bed::{assert_error, shapes};
use tests::log_scan::above_debug;
use tests::{Bed, Module, Proxy};

#[test]
fn private_modules_are_named_to_nobody_and_never_said_not_to_exist() {
    let bed = Bed::new();
    let private = Module::new("corp.example.com/Team/secret", "v1.0.0");
    bed.origin.publish(&private);
    bed.origin.set_latest(&private);
    let public = bed.module("example.com/public", "v1.0.0");
    let settings = bed.settings().flag("--private", "corp.example.com,*.internal.example.com/x").allow_all();
    let proxy = Proxy::start(&settings);
    let mut paths = shapes(&private);
    paths.push("/corp.example.com/!team/secret/@v/main.info".to_owned());
    paths.push("/corp.example.com/absent/@v/v1.0.0.mod".to_owned());
    paths.push("/a.internal.example.com/x/y/@v/list".to_owned());
    for path in &paths {
        let answer = proxy.get(path);
        assert!([403, 503].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        assert_error(&answer);
    }
    let lookup = proxy.get("/sumdb/sum.test/lookup/corp.example.com/!team/secret@v1.0.0");
    assert!(lookup.status >= 400);
    let named: Vec<_> =
        bed.origin.seen().into_iter().filter(|seen| seen.path.contains("corp.example")).collect();
    assert!(named.is_empty(), "{named:?}");
    assert!(!proxy.admin_get("/metrics").text().contains("corp.example.com"));
    assert_not_logged(&proxy, "secret");
    assert_not_logged(&proxy, "absent");
    bed.client(&proxy).download(&[&public.spec()]).success();
}

/// Fails the test if a line above DEBUG has this text.
#[track_caller]
fn assert_not_logged(proxy: &Proxy, text: &str) {
    assert_eq!(above_debug(&proxy.log(), text), None);
}

#[test]
fn what_is_held_of_a_private_module_is_for_its_client_alone() {
    let bed = Bed::new();
    let (secret, public) =
        (bed.module("corp.example.com/Team/secret", "v1.0.0"), bed.module("example.com/public", "v1.0.0"));
    bed.origin.set_latest(&secret);
    bed.origin.set_latest(&public);
    let settings = bed.settings().flag("--access-log", "all").allow_all();
    let proxy = Proxy::start(&settings);
    for module in [&secret, &public] {
        for path in shapes(module) {
            let answer = proxy.get(&path).expect(200);
            assert!(answer.expect_header("cache-control").starts_with("public, max-age="), "{path}");
        }
    }
    // Nobody said yet that it is private.
    let mut proxy = proxy;
    proxy.kill9();
    proxy.forget_log();
    let proxy = proxy.restart_with(settings.flag("--private", "corp.example.com/Team"));
    // From the store, then from memory.
    for _ in 0..2 {
        for path in shapes(&secret) {
            let answer = proxy.get(&path).expect(200);
            let control = answer.expect_header("cache-control").to_owned();
            assert!(
                control.starts_with("private, max-age=") && !control.contains("public"),
                "{path}: {control}"
            );
            let etag = answer.expect_header("etag").to_owned();
            let same = proxy.call("GET", &path).header("If-None-Match", &etag).send().expect(304);
            assert_eq!(same.expect_header("cache-control"), control, "{path}");
        }
        for path in shapes(&public) {
            let answer = proxy.get(&path).expect(200);
            assert!(answer.expect_header("cache-control").starts_with("public, max-age="), "{path}");
        }
    }
    // What is no request names it as well, and the go command must not carry the name on.
    for path in [
        "/corp.example.com/!team/secret/@v/v1.0.0.tar",
        "/corp.example.com/!team/secret",
        "/corp.example.com%2f!team/secret/@v/list",
        "/cached-only/corp.example.com/!team/secret/@v/v9.9.9.info",
        "/sumdb/sum.test/lookup/corp.example.com/!team/secret@v1.0.0",
    ] {
        let answer = proxy.get(path);
        assert!([400, 403, 503].contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.expect_header("cache-control"), "no-store", "{path}");
    }
    proxy.call("POST", &secret.url_path(".mod")).send().expect(405);
    assert_not_logged(&proxy, "secret");
    assert!(proxy.log().contains("(private)"), "a private request is logged, but not by its name");
}
