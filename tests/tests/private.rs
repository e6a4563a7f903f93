//! Private prefixes: never named to an origin or a database, and never 404 or 410, which would send the go command,
//! and with it the name, to the next proxy.

use tests::bed::{assert_error, shapes};
use tests::go_client::GoClient;
use tests::log_scan::above_debug;
use tests::process::eventually;
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
            let moves = path.ends_with("/list") || path.ends_with("/@latest");
            assert_eq!(control.contains("immutable"), !moves, "{path}: {control}");
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

/// The go command asks for every prefix of a package's path, and fails when it hears of a longer one that it is unavailable.
#[test]
fn a_package_of_a_private_module_is_found_by_its_path() {
    let bed = Bed::new();
    let lib = Module::new("git.example.com/Team/lib", "v1.0.0")
        .file("sub/sub.go", "package sub\n\nconst Version = \"sub\"\n")
        .file("cmd/x/main.go", "package main\n\nfunc main() { println(\"x\") }\n");
    let second = Module::new("git.example.com/Team/major/v2", "v2.0.0");
    bed.origin.publish(&lib);
    bed.origin.publish(&second);
    let settings = bed.settings().allow_all();
    let proxy = Proxy::start(&settings);
    bed.client(&proxy).download(&[&lib.spec(), &second.spec()]).success();
    let proxy = proxy.restart_with(settings.flag("--private", "git.example.com/*"));
    bed.origin.forget_seen();
    let longer = |path: &str| format!("/git.example.com/!team/{path}");
    eventually("the server knows that it is alone", || {
        (proxy.get(&longer("lib/sub/@v/list")).status == 404).then_some(())
    });
    for path in ["lib/cmd/x/@v/v1.0.0.info", "lib/sub/@latest", "lib/v2/@v/list", "major/v3/@v/list"] {
        let answer = proxy.get(&longer(path)).expect(404);
        assert_error(&answer);
        assert_eq!(answer.expect_header("cache-control"), "no-store", "{path}");
        let around = if path.starts_with("lib") { "Team/lib is" } else { "Team/major/v2 is" };
        assert!(answer.text().contains(around), "{}", answer.text());
    }
    // What is asked for when the module is known, and what lies within nothing that is here.
    for path in [
        "lib/sub/@v/v1.0.0.mod",
        "lib/sub/@v/v1.0.0.zip",
        "lib/@v/v9.9.9.info",
        "lib/@v/main.info",
        "other/@v/list",
        "library/@v/list",
        "major/@v/list",
    ] {
        assert_eq!(proxy.get(&longer(path)).status, 503, "{path}");
    }

    // Whoever is second in line hears of none of them.
    let next = Bed::new();
    let proxies = format!("{},{}", proxy.url(), next.origin.url());
    let client = || GoClient::new(&proxies, &bed.sumdb.key()).with("GONOSUMDB", "git.example.com");
    let go = client();
    go.program(&[], &["git.example.com/Team/lib/sub"]);
    go.run(&["mod", "tidy"]).success();
    assert!(go.read("go.mod").contains("git.example.com/Team/lib v1.0.0"), "{}", go.read("go.mod"));
    go.build().success();
    assert_eq!(go.run_program(), "sub\n");
    let go = client();
    go.run(&["get", "git.example.com/Team/lib/sub@latest"]).success();
    assert!(go.read("go.mod").contains("git.example.com/Team/lib v1.0.0"), "{}", go.read("go.mod"));
    client().run(&["install", "git.example.com/Team/lib/cmd/x@v1.0.0"]).success();
    client().run(&["get", "git.example.com/Team/lib/none"]).failure("does not contain package");
    let named = |bed: &Bed| {
        let seen = bed.origin.seen().into_iter().map(|seen| seen.path);
        seen.filter(|path| path.contains("!team")).collect::<Vec<_>>()
    };
    assert_eq!(named(&next), Vec::<String>::new());
    assert_eq!(named(&bed), Vec::<String>::new());
    assert_not_logged(&proxy, "lib/sub");
}
