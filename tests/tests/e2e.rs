//! The go command's whole way through the proxy, with the checksum database on.

use tests::{Bed, Fault, Gate, GoClient, Module, Proxy, Settings};

/// One version of each shape that a module path and version can have.
fn shapes() -> Vec<Module> {
    vec![
        Module::new("example.com/plain", "v1.2.3"),
        Module::new("example.com/Big/CamelCase", "v0.1.0"),
        Module::new("example.com/pre", "v1.0.0-RC.1"),
        Module::new("example.com/old", "v3.2.1+incompatible").without_go_mod(),
        Module::new("example.com/major/v2", "v2.5.0"),
        Module::new("example.com/commit", "v0.0.0-20240102030405-0123456789ab"),
        Module::new("example.com/after", "v1.2.4-0.20240102030405-0123456789ab"),
        Module::new("gopkg.in/yaml.v3", "v3.0.1"),
        Module::new("gopkg.in/Upper/check.v1", "v1.0.0-20240102030405-abcdefabcdef").without_go_mod(),
        Module::new("example.com/sub/dir_name-x.y~z", "v1.0.0"),
    ]
}

#[test]
fn every_shape_of_module_is_downloaded_verified_and_then_served_without_the_origin() {
    let bed = Bed::new();
    let modules = shapes();
    for module in &modules {
        bed.origin.publish(module);
    }
    let proxy = bed.proxy();
    let client = bed.client(&proxy);
    let specs: Vec<String> = modules.iter().map(Module::spec).collect();
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    client.download(&specs).success();
    for module in &modules {
        for suffix in [".info", ".mod", ".zip"] {
            let path = module.url_path(suffix);
            assert!(bed.origin.count(&path) <= 1, "{path} fetched {} times", bed.origin.count(&path));
        }
        assert_eq!(proxy.get(&module.url_path(".zip")).expect(200).body, module.zip(), "{}", module.spec());
    }

    bed.origin.forget_seen();
    let second = client.fresh();
    second.download(&specs).success();
    assert_eq!(bed.origin.total(), 0, "{:?}", bed.origin.seen());
}

#[test]
fn a_program_builds_through_the_proxy_and_again_when_the_origin_is_gone() {
    let bed = Bed::new();
    let base = bed.module("example.com/base", "v1.0.0");
    let top = Module::new("example.com/top/v2", "v2.0.1").require(&base.path, &base.version);
    bed.origin.publish(&top);
    let proxy = bed.proxy();
    let client = bed.client(&proxy);
    let program = |client: &GoClient| {
        client.program(&[(&top.path, &top.version), (&base.path, &base.version)], &[&top.path, &base.path]);
        client.build().success();
        assert_eq!(client.run_program(), "v2.0.1\nv1.0.0\n");
        assert!(client.read("go.sum").contains(&top.sum_lines()));
    };
    program(&client);

    bed.origin.down();
    program(&client.fresh());

    // Nothing needs the memory of the first process, nor may the network be asked for.
    let proxy = proxy.restart_with(bed.settings().offline());
    let client = bed.client(&proxy);
    program(&client);
    client.download(&["example.com/unseen@v1.0.0"]).failure("while the proxy is not offline");
}

#[test]
fn after_kill_9_in_the_middle_of_a_download_the_next_run_completes() {
    let bed = Bed::new();
    let module = Module::new("example.com/cut", "v1.0.0").filler(3_000_000);
    bed.origin.publish(&module);
    let gate = Gate::new();
    bed.origin.fault_times(
        &module.url_path(".zip"),
        1,
        [Fault::Hold { after: 1_500_000, gate: gate.clone() }],
    );
    let mut proxy = bed.proxy();
    let client = bed.client(&proxy);
    std::thread::scope(|scope| {
        let download = scope.spawn(|| client.download(&[&module.spec()]));
        gate.wait_for(1);
        proxy.kill9();
        gate.open();
        assert!(!download.join().unwrap().ok, "the download cannot have succeeded");
    });

    let proxy = proxy.restart();
    let cached = proxy.get(&format!("/cached-only{}", module.url_path(".zip")));
    assert_eq!(cached.status, 404, "half a zip is not a zip");
    bed.client(&proxy).download(&[&module.spec()]).success();
    assert_eq!(proxy.get(&module.url_path(".zip")).expect(200).body, module.zip());
}

#[test]
fn versions_are_listed_and_queries_resolved() {
    let bed = Bed::new();
    for version in ["v1.0.0", "v1.1.0", "v1.2.0-beta.1"] {
        bed.module("example.com/many", version);
    }
    let commit = Module::new("example.com/many", "v1.1.1-0.20240505050505-fedcba987654");
    bed.origin.publish_unlisted(&commit);
    bed.origin.publish_query("main", &commit);
    bed.origin.publish_query("fedcba987654", &commit);
    bed.sumdb.add(&commit);
    let proxy = bed.proxy();
    let client = bed.client(&proxy);
    let versions = client.run(&["list", "-m", "-versions", "example.com/many"]).success().stdout;
    assert_eq!(versions.trim(), "example.com/many v1.0.0 v1.1.0 v1.2.0-beta.1");
    for (query, want) in [
        ("latest", "v1.1.0"),
        ("v1", "v1.1.0"),
        ("<v1.1.0", "v1.0.0"),
        ("main", commit.version.as_str()),
        ("fedcba987654", commit.version.as_str()),
        ("v1.2.0-beta.1", "v1.2.0-beta.1"),
    ] {
        client.write("go.mod", "module example.com/main\n\ngo 1.21\n");
        client.run(&["get", &format!("example.com/many@{query}")]).success();
        let go_mod = client.read("go.mod");
        assert!(go_mod.contains(&format!("example.com/many {want}")), "{query} chose {go_mod}");
    }
}

#[test]
fn a_module_without_tags_is_known_by_its_latest_commit() {
    let bed = Bed::new();
    let commit = Module::new("example.com/untagged", "v0.0.0-20240505050505-fedcba987654");
    bed.origin.publish_unlisted(&commit);
    bed.origin.know(&commit.path);
    bed.origin.set_latest(&commit);
    bed.sumdb.add(&commit);
    let proxy = bed.proxy();
    let list = proxy.get("/example.com/untagged/@v/list").expect(200);
    assert_eq!(list.text(), "");
    let client = bed.client(&proxy);
    client.run(&["get", "example.com/untagged@latest"]).success();
    assert!(client.read("go.mod").contains(&commit.version));
}

#[test]
fn go_switches_to_a_toolchain_that_the_proxy_serves() {
    let bed = Bed::new();
    let script = "#!/bin/sh\necho the fake toolchain ran\n";
    let toolchain = Module::new("golang.org/toolchain", "v0.0.1-go1.99.1.linux-amd64")
        .without_go_mod()
        .file("bin/go", script)
        .file("bin/gofmt", script)
        .file("pkg/tool/linux_amd64/compile", script)
        .file("lib/wasm/go_wasm_exec", script)
        .file("src/_go.mod", "module std\n")
        .filler(2_000_000);
    bed.origin.publish(&toolchain);
    bed.module("golang.org/toolchain", "v0.0.1-go1.98.0.linux-amd64");
    bed.module("golang.org/toolchain", "v0.0.1-go1.98rc1.darwin-arm64");
    let proxy = bed.proxy();
    let list = proxy.get("/golang.org/toolchain/@v/list").expect(200).text();
    assert_eq!(list.lines().count(), 3, "{list}");
    // Toolchains are verified even by a client that has turned the database off for everything else.
    let client = bed.client(&proxy).with("GONOSUMDB", "*").with("GOTOOLCHAIN", "go1.99.1");
    let output = client.run(&["version"]).success();
    assert_eq!(output.stdout, "the fake toolchain ran\n", "{}", output.stderr);
    let versions = bed.client(&proxy).run(&["list", "-m", "-versions", "go"]).success().stdout;
    assert!(versions.contains("1.98.0") && versions.contains("1.99.1"), "{versions}");
}

#[test]
fn a_directory_in_the_module_caches_layout_seeds_the_proxy() {
    let bed = Bed::new();
    let modules = shapes();
    for module in &modules {
        bed.origin.publish(module);
    }
    let direct = GoClient::new(&bed.origin.url(), &bed.sumdb.key());
    for module in &modules {
        direct.download(&[&module.spec()]).success();
    }
    bed.origin.down();
    let seed = direct.module_cache().join("cache/download");
    let settings = Settings::upstream(&format!("file://{}", seed.display())).flag("--sumdb", "off");
    let proxy = Proxy::start(&settings);
    let client = GoClient::new(&proxy.url(), "off");
    for module in &modules {
        client.download(&[&module.spec()]).success();
        assert_eq!(proxy.get(&module.url_path(".zip")).expect(200).body, module.zip(), "{}", module.spec());
    }
    client.download(&["example.com/plain@v1.2.4"]).failure("404");
    let list = proxy.get("/example.com/major/v2/@v/list").expect(200).text();
    assert_eq!(list, "v2.5.0\n");
}

/// As with the go command's own `file://` entries: only what is there is there.
#[test]
fn a_list_that_a_seed_does_not_have_is_the_next_origins() {
    let bed = Bed::new();
    let (old, new) = (bed.module("example.com/seeded", "v1.0.0"), bed.module("example.com/seeded", "v1.1.0"));
    bed.origin.set_latest(&new);
    let seed = tempfile::tempdir().unwrap();
    let folder = seed.path().join("example.com/seeded/@v");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("v1.0.0.info"), old.info()).unwrap();
    let chain = format!("file://{},{}", seed.path().display(), bed.origin.url());
    let proxy = Proxy::start(&Settings::upstream(&chain).flag("--sumdb", "off"));
    assert_eq!(proxy.get("/example.com/seeded/@v/list").expect(200).text(), "v1.0.0\nv1.1.0\n");
    assert_eq!(proxy.get("/example.com/seeded/@latest").expect(200).body, new.info());
}

/// A module cache has checksums of what is in it; those of anything else are the next origin's. Without a network its own do.
#[test]
fn a_seed_is_verified_with_and_without_the_network_behind_it() {
    let bed = Bed::new();
    let held = bed.module("example.com/held", "v1.0.0");
    let new = bed.module("example.com/new", "v1.0.0");
    let direct = GoClient::new(&bed.origin.url(), &bed.sumdb.key());
    direct.download(&[&held.spec()]).success();
    let seed = direct.module_cache().join("cache/download");
    let chain = format!("file://{},{}", seed.display(), bed.origin.url());
    let settings = Settings::upstream(&chain).flag("--sumdb", &bed.sumdb.key()).allow_all();
    let proxy = Proxy::start(&settings);
    bed.client(&proxy).download(&[&new.spec(), &held.spec()]).success();
    assert_eq!(bed.origin.count(&held.url_path(".zip")), 1, "the seed has it");

    bed.origin.down();
    let proxy = Proxy::start(&settings);
    bed.client(&proxy).download(&[&held.spec()]).success();
    tests::bed::assert_upstream_error(&proxy.get(&new.url_path(".zip")));
}

#[test]
fn cached_only_reads_never_fetch() {
    let bed = Bed::new();
    let module = bed.module("example.com/held", "v1.0.0");
    let proxy = bed.proxy();
    for suffix in [".info", ".mod", ".zip"] {
        let path = module.url_path(suffix);
        let prefixed = proxy.get(&format!("/cached-only{path}"));
        tests::bed::assert_error(&prefixed.expect(404));
        let flagged = proxy.call("GET", &path).header("Disable-Module-Fetch", "true").send().expect(404);
        tests::bed::assert_error(&flagged);
        assert!(flagged.text().contains("ask for it without /cached-only/"), "{}", flagged.text());
    }
    proxy.get("/cached-only/example.com/held/@v/list").expect(404);
    proxy.get("/cached-only/example.com/held/@latest").expect(404);
    assert_eq!(bed.origin.total(), 0, "{:?}", bed.origin.seen());

    let cached = bed.client(&proxy);
    cached.download(&[&module.spec()]).success();
    for suffix in [".info", ".mod", ".zip"] {
        let path = module.url_path(suffix);
        let prefixed = proxy.get(&format!("/cached-only{path}")).expect(200);
        let flagged = proxy.call("GET", &path).header("Disable-Module-Fetch", "true").send().expect(200);
        assert_eq!(prefixed.body, flagged.body);
        assert_eq!(prefixed.body, proxy.get(&path).expect(200).body);
    }
    GoClient::new(&format!("{}/cached-only", proxy.url()), &bed.sumdb.key())
        .download(&[&module.spec()])
        .success();
}

#[test]
fn the_index_tells_what_was_cached_and_when() {
    let bed = Bed::new();
    let (first, second) = (bed.module("example.com/One", "v1.0.0"), bed.module("example.com/two", "v1.0.0"));
    let proxy = bed.proxy();
    assert_eq!(proxy.get("/index").expect(200).text(), "");
    bed.client(&proxy).download(&[&first.spec()]).success();
    bed.client(&proxy).download(&[&second.spec()]).success();
    let entries = |target: &str| -> Vec<serde_json::Value> {
        let text = proxy.get(target).expect(200).text();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = entries("/index");
    let names: Vec<_> = all.iter().map(|entry| entry["Path"].as_str().unwrap()).collect();
    assert_eq!(names, ["example.com/One", "example.com/two"], "unescaped, oldest first");
    assert_eq!(all[0]["Version"], "v1.0.0");
    assert_eq!(all[0].as_object().unwrap().len(), 3, "{}", all[0]);
    assert_eq!(entries("/index?limit=1"), all[..1]);
    let since = all[1]["Timestamp"].as_str().unwrap().replace('+', "%2B");
    assert_eq!(entries(&format!("/index?since={since}")).last(), all.last());
    assert!(!entries(&format!("/index?since={since}")).contains(&all[0]));
    assert_eq!(entries("/index?since=2099-01-01T00:00:00Z"), Vec::<serde_json::Value>::new());
    for bad in ["/index?since=yesterday", "/index?limit=-1", "/index?limit=many"] {
        tests::bed::assert_error(&proxy.get(bad).expect(400));
    }
}

#[test]
fn clients_need_nobody_but_the_proxy_for_the_checksum_database() {
    // The name of a database may hold a path.
    for name in ["sum.test", "sum.test/with/path"] {
        let bed = Bed::named(name);
        let module = bed.module("example.com/verified", "v1.0.0");
        let proxy = bed.proxy();
        // The client would ask https://sum.test itself if the proxy did not answer for it.
        bed.client(&proxy).download(&[&module.spec()]).success();
        bed.origin.down();
        bed.client(&proxy).download(&[&module.spec()]).success();
    }
}

#[test]
fn a_module_that_does_not_exist_lets_the_client_walk_on() {
    let bed = Bed::new();
    let other = Bed::new();
    let module = other.module("example.com/elsewhere", "v1.0.0");
    let proxy = bed.proxy();
    let chain = format!("{},{}", proxy.url(), other.origin.url());
    GoClient::new(&chain, "off").download(&[&module.spec()]).success();
    let alone = GoClient::new(&proxy.url(), "off").download(&[&module.spec()]);
    alone.failure("not found");
}

#[test]
fn the_clients_base_url_may_have_a_trailing_slash() {
    let bed = Bed::new();
    let module = bed.module("example.com/slash", "v1.0.0");
    let proxy = bed.proxy();
    GoClient::new(&format!("{}/", proxy.url()), &bed.sumdb.key()).download(&[&module.spec()]).success();
}
