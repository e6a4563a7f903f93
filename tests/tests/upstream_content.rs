//! What origins send that they should not: other bytes than before, than the database knows, or than the limits
//! permit; and what is old.

use tests::bed::{assert_not_served, assert_upstream_error, shapes};
use tests::process::eventually;
use tests::{Bed, Fault, Gate, GoClient, Module, Proxy, Settings};

fn settings(bed: &Bed) -> Settings {
    Settings::new(&bed.origin).allow_all()
}

#[test]
fn a_resumed_body_that_belongs_to_other_bytes_is_not_glued_together() {
    let bed = Bed::new();
    let module = bed.large_module("example.com/glue");
    let other = Module::new("example.com/glue", "v1.0.0").filler(1_500_001);
    let path = module.url_path(".zip");
    let gate = Gate::new();
    bed.origin.fault_times(
        &path,
        1,
        [Fault::Hold { after: 700_000, gate: gate.clone() }, Fault::Reset(700_000)],
    );
    let proxy = Proxy::start(&settings(&bed));
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| proxy.get(&path));
        gate.wait_for(1);
        bed.origin.publish(&other);
        gate.open();
        let answer = answer.join().unwrap();
        let whole = answer.status == 200 && answer.complete;
        assert!(!whole || answer.body == other.zip(), "half of one zip and half of another");
    });
    let after = proxy.get(&path);
    assert!(after.status != 200 || !after.complete || after.body == other.zip());
}

#[test]
fn an_old_list_is_better_than_none_and_says_its_age() {
    let bed = Bed::new();
    let module = bed.module("example.com/aged", "v1.0.0");
    bed.origin.set_latest(&module);
    bed.origin.publish_query("main", &module);
    let paths = ["/example.com/aged/@v/list", "/example.com/aged/@latest", "/example.com/aged/@v/main.info"];
    // Nothing is fresh longer than it takes to answer.
    let settings = settings(&bed).flag("--list-ttl", "1ms");
    let proxy = Proxy::start(&settings);
    let fresh: Vec<_> = paths.iter().map(|path| proxy.get(path).expect(200).body).collect();
    bed.origin.down();
    let check = |proxy: &Proxy| {
        for (path, body) in paths.iter().zip(&fresh) {
            let stale = eventually("a stale answer", || {
                Some(proxy.get(path).expect(200)).filter(|answer| answer.header("x-cache") == Some("stale"))
            });
            assert_eq!(&stale.body, body, "{path}");
            stale.expect_header("age").parse::<u64>().unwrap();
        }
    };
    check(&proxy);
    let proxy = proxy.restart();
    check(&proxy);

    bed.origin.up();
    bed.module("example.com/aged", "v1.1.0");
    eventually("the list is new again", || proxy.get(paths[0]).text().contains("v1.1.0").then_some(()));
}

#[test]
fn a_list_is_asked_for_once_in_its_lifetime() {
    let bed = Bed::new();
    let module = bed.module("example.com/listed", "v1.0.0");
    bed.origin.set_latest(&module);
    let proxy = bed.proxy();
    for path in ["/example.com/listed/@v/list", "/example.com/listed/@latest"] {
        for _ in 0..20 {
            proxy.get(path).expect(200);
        }
        assert_eq!(bed.origin.count(path), 1, "{path}");
    }
}

#[test]
fn a_version_that_is_tagged_anew_keeps_its_first_bytes() {
    let bed = Bed::new();
    let first = Module::new("example.com/retag", "v1.0.0").file("a.go", "package retag\n");
    let second = Module::new("example.com/retag", "v1.0.0")
        .file("b.go", "package retag\n")
        .require("example.com/x", "v1.0.0");
    bed.origin.publish(&first);
    let proxy = Proxy::start(&settings(&bed));
    for suffix in [".info", ".mod", ".zip"] {
        proxy.get(&first.url_path(suffix)).expect(200);
    }
    bed.origin.publish(&second);
    let proxy = proxy.restart();
    assert_eq!(proxy.get(&first.url_path(".zip")).expect(200).body, first.zip());
    assert_eq!(proxy.get(&first.url_path(".mod")).expect(200).body, first.go_mod());

    // Only the go.mod was seen before the tag moved: the new zip does not go with it.
    let first = Module::new("example.com/half", "v1.0.0");
    let second = Module::new("example.com/half", "v1.0.0").require("example.com/x", "v1.0.0");
    bed.origin.publish(&first);
    proxy.get(&first.url_path(".mod")).expect(200);
    bed.origin.publish(&second);
    let zip = proxy.get(&first.url_path(".zip"));
    assert!(zip.status != 200 || zip.body == first.zip(), "a zip whose go.mod is not the one served");
    assert_eq!(proxy.get(&first.url_path(".mod")).expect(200).body, first.go_mod());
}

#[test]
fn a_zip_that_the_database_does_not_know_so_is_refused() {
    let bed = Bed::new();
    for (path, filler) in [("example.com/small", 10), ("example.com/large", 2_000_000)] {
        let module = Module::new(path, "v1.0.0").filler(filler);
        bed.sumdb.add_with_wrong_h1(&module);
        bed.origin.publish_without_record(&module);
        let proxy = Proxy::start(&bed.settings().allow_all());
        let answer = proxy.get(&module.url_path(".zip"));
        assert_not_served(&answer);
        if filler < 1000 {
            assert_upstream_error(&answer);
            assert!(answer.text().contains(&module.spec()), "{}", answer.text());
        }
        assert_eq!(proxy.get(&format!("/cached-only{}", module.url_path(".zip"))).status, 404);
        assert_eq!(refused(&proxy), ["1", "0"], "{path}");
    }
}

/// How many zips and how many go.mod files were refused, as the metric says it.
fn refused(proxy: &Proxy) -> [String; 2] {
    ["zip", "go_mod"].map(|what| {
        let label = format!("what=\"{what}\"");
        proxy.metric("goproxy_serve_refused_content_total", &label).expect("from the start").to_string()
    })
}

#[test]
fn a_zip_that_was_refused_is_not_fetched_once_for_each_who_asks() {
    let bed = Bed::new();
    let module = Module::new("example.com/forged", "v1.0.0").filler(2_000_000);
    bed.sumdb.add_with_wrong_h1(&module);
    bed.origin.publish_without_record(&module);
    let proxy = Proxy::start(&bed.settings().allow_all());
    let path = module.url_path(".zip");
    assert_not_served(&proxy.get(&path));
    // Until then one may join the fetch that is just being given up.
    eventually("it is refused at once", || (proxy.get(&path).status == 502).then_some(()));
    for _ in 0..10 {
        let answer = proxy.get(&path);
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert_upstream_error(&answer);
        assert!(answer.text().contains(&module.spec()), "{}", answer.text());
    }
    assert_eq!(bed.origin.count(&path), 1);
    // Its go.mod is what it should be.
    assert_eq!(proxy.get(&module.url_path(".mod")).expect(200).body, module.go_mod());
}

#[test]
fn a_go_mod_that_the_database_does_not_know_so_is_refused() {
    let bed = Bed::new();
    let module = Module::new("example.com/gomod", "v1.0.0");
    bed.sumdb.add(&Module::new("example.com/gomod", "v1.0.0").require("example.com/x", "v1.0.0"));
    bed.origin.publish_without_record(&module);
    let proxy = Proxy::start(&bed.settings().allow_all());
    assert_upstream_error(&proxy.get(&module.url_path(".mod")));
    assert_eq!(proxy.get(&format!("/cached-only{}", module.url_path(".mod"))).status, 404);
    assert_ne!(refused(&proxy)[1], "0");
}

/// Without a checksum database nobody else would notice, and it would be kept for ever.
#[test]
fn a_go_mod_that_nobody_vouches_for_has_to_be_one() {
    let bed = Bed::new();
    let proxy = Proxy::start(&settings(&bed));
    let texts: [&[u8]; 5] =
        [b"", b"{\"error\":\"sign in\"}\n", b"Please sign in\n", b"modul", b"// only a comment\n"];
    for (number, text) in texts.into_iter().enumerate() {
        let module = bed.module("example.com/page", &format!("v1.{number}.0"));
        let path = module.url_path(".mod");
        bed.origin.set_file(&path, text);
        let answer = proxy.get(&path);
        assert_upstream_error(&answer);
        assert!(answer.text().contains("go.mod"), "{}", answer.text());
        assert_eq!(proxy.get(&format!("/cached-only{path}")).status, 404);
        // It heals as soon as the origin does.
        bed.origin.publish(&module);
        assert_eq!(proxy.get(&path).expect(200).body, module.go_mod());
    }
    // Old files have their own ideas of what a go.mod is, and of encodings.
    let odd = bed.module("example.com/odd", "v1.0.0");
    let latin = b"\n// caf\xe9\nmodule \"example.com/Other\"\r\n\nrequire x v0\n".to_vec();
    bed.origin.set_file(&odd.url_path(".mod"), latin.clone());
    assert_eq!(proxy.get(&odd.url_path(".mod")).expect(200).body, latin);
}

#[test]
fn an_info_that_the_go_command_cannot_read_is_refused() {
    let bed = Bed::new();
    let proxy = Proxy::start(&settings(&bed));
    let deep = format!("{{\"Version\":\"v1.1.0\",\"Origin\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let unreadable = [
        "{\"Version\":\"v1.0.0\",\"Time\":\"yesterday\"}",
        &deep,
        "{\"Version\":\"v1.2.0\",\"Time\":\"2020-01-02 03:04:05Z\"}",
        "{\"Version\":\"v1.3.0\",\"Origin\":\"git\"}",
    ];
    for (number, text) in unreadable.into_iter().enumerate() {
        let module = bed.module("example.com/info", &format!("v1.{number}.0"));
        let path = module.url_path(".info");
        bed.origin.set_file(&path, text);
        assert_upstream_error(&proxy.get(&path));
        assert_eq!(proxy.get(&format!("/cached-only{path}")).status, 404);
    }
}

/// A build asks for no `.info`: what its origin has lost since has to be usable all the same, and so has what may not be asked for.
#[test]
fn a_version_without_an_info_is_answered_by_what_is_held() {
    let bed = Bed::new();
    let module = bed.module("example.com/built", "v1.9.0");
    let pseudo = bed.module("example.com/built", "v1.9.1-0.20210102030405-abcdefabcdef");
    let proxy = bed.proxy();
    proxy.get("/example.com/built/@v/list").expect(200);
    for module in [&module, &pseudo] {
        for suffix in [".mod", ".zip"] {
            proxy.get(&module.url_path(suffix)).expect(200);
        }
        // Which is the same to the go command.
        let lost = if module == &pseudo { 410 } else { 404 };
        bed.origin.fault(&module.url_path(".info"), [Fault::Status(lost)]);
    }
    let check = |proxy: &Proxy| {
        let info = proxy.get(&module.url_path(".info")).expect(200);
        assert_eq!(info.text(), r#"{"Version":"v1.9.0"}"#);
        assert!(!info.expect_header("cache-control").contains("immutable"));
        assert!(proxy.get(&pseudo.url_path(".info")).expect(200).text().contains("2021-01-02T03:04:05Z"));
    };
    check(&proxy);
    let client = bed.client(&proxy);
    client.run(&["list", "-m", "example.com/built@latest"]).success();
    let proxy = proxy.restart_with(bed.settings().switch("--offline"));
    check(&proxy);
    // What its origin says of it takes that place once it can be asked again.
    let proxy = proxy.restart_with(bed.settings());
    bed.origin.heal();
    proxy.get("/example.com/none/@v/v1.0.0.info").expect(404);
    let info = eventually("the origin's own", || {
        let info = proxy.get(&module.url_path(".info")).expect(200);
        info.text().contains("Time").then_some(info)
    });
    assert!(info.expect_header("cache-control").contains("immutable"));
}

/// The go command takes the highest version that is listed, and does not step down when it does not get it.
#[test]
fn where_nothing_is_fetched_what_is_listed_is_what_is_held() {
    let bed = Bed::new();
    let [held, newer] = ["v1.0.0", "v1.1.0"].map(|version| bed.module("example.com/cut", version));
    bed.origin.set_latest(&newer);
    let proxy = bed.proxy();
    let (list, latest) = ("/example.com/cut/@v/list", "/example.com/cut/@latest");
    assert_eq!(proxy.get(list).expect(200).text(), "v1.0.0\nv1.1.0\n");
    assert_eq!(proxy.get(latest).expect(200).body, newer.info());
    bed.client(&proxy).download(&[&held.spec()]).success();
    let check = |proxy: &Proxy, prefix: &str| {
        assert_eq!(proxy.get(&format!("{prefix}{list}")).expect(200).text(), "v1.0.0\n");
        assert_eq!(proxy.get(&format!("{prefix}{latest}")).expect(200).body, held.info());
        let client = GoClient::new(&format!("{}{prefix}", proxy.url()), &bed.sumdb.key());
        client.run(&["get", "example.com/cut@latest"]).success();
        assert!(client.read("go.mod").contains("v1.0.0"));
    };
    check(&proxy, "/cached-only");
    assert_eq!(proxy.get(list).expect(200).text(), "v1.0.0\nv1.1.0\n", "who may fetch sees all of it");
    let proxy = proxy.restart_with(bed.settings().offline());
    check(&proxy, "");
}

/// A client that has the `.mod` in its cache asks for the zip alone. What is held then has to be usable by whoever has nothing.
#[test]
fn a_go_mod_that_nobody_asked_for_is_taken_from_the_zip() {
    let bed = Bed::new();
    let module = bed.module("example.com/built", "v1.9.0");
    let proxy = bed.proxy();
    proxy.get("/example.com/built/@v/list").expect(200);
    proxy.get(&module.url_path(".zip")).expect(200);
    for suffix in [".info", ".mod"] {
        bed.origin.fault(&module.url_path(suffix), [Fault::Status(404)]);
    }
    let check = |proxy: &Proxy| {
        let go_mod = proxy.get(&module.url_path(".mod")).expect(200);
        assert_eq!(go_mod.body, module.go_mod());
        assert!(!go_mod.expect_header("cache-control").contains("immutable"));
        bed.client(proxy).run(&["mod", "download", "example.com/built@latest"]).success();
    };
    check(&proxy);
    let proxy = proxy.restart_with(bed.settings().switch("--offline"));
    check(&proxy);
    proxy.get("/example.com/built/@v/v1.0.0.mod").expect(404);
}

/// A proxy may serve a go.mod that is not in the zip, as for modules from before modules, and the checksum database has its hash.
#[test]
fn a_go_mod_in_the_zip_that_nobody_vouches_for_is_not_there() {
    let bed = Bed::new();
    let module =
        Module::new("example.com/other", "v1.9.0").without_go_mod().require("example.com/more", "v1.0.0");
    bed.origin.publish(&module);
    let proxy = bed.proxy();
    proxy.get(&module.url_path(".zip")).expect(200);
    bed.origin.fault(&module.url_path(".mod"), [Fault::Status(404)]);
    proxy.get(&module.url_path(".mod")).expect(404);
    proxy.get(&module.url_path(".zip")).expect(200);
}

/// A `HEAD` has no end that could be held back until the zip is known to be right.
#[test]
fn head_of_a_bad_zip_is_what_get_would_be() {
    let bed = Bed::new();
    let module = bed.large_module("example.com/bad");
    bed.origin.fault(&module.url_path(".zip"), [Fault::FlipBit(700_000), Fault::NoRange]);
    let proxy = Proxy::start(&settings(&bed));
    let head = proxy.call("HEAD", &module.url_path(".zip")).send();
    assert_eq!((head.status, head.body.len()), (502, 0));
}

#[test]
fn the_text_of_an_error_is_not_shown_when_it_is_encoded() {
    let bed = Bed::new();
    let proxy = Proxy::start(&settings(&bed));
    let headers = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    bed.origin.fault("*", [Fault::Answer(404, headers, b"\x1f\x8bscrambled".to_vec())]);
    let answer = proxy.get("/example.com/nowhere/@v/v1.0.0.mod").expect(404);
    assert!(!answer.text().contains("scrambled"), "{}", answer.text());
}

#[test]
fn answers_that_are_too_large_or_odd_are_refused() {
    let bed = Bed::new();
    let proxy = Proxy::start(&settings(&bed));
    proxy.get("/healthz").expect(200);
    let mut lines = String::new();
    for number in 0..1_000_000 {
        lines += "v1.0.";
        lines += &number.to_string();
        lines.push('\n');
    }
    bed.origin.set_file("/example.com/large/@v/list", lines);
    let module = bed.module("example.com/large", "v1.0.0");
    bed.origin.set_file("/example.com/large/@latest", vec![b' '; 3 << 20]);
    bed.origin.set_file(&module.url_path(".info"), vec![b' '; 3 << 20]);
    bed.origin.set_file(
        &module.url_path(".mod"),
        [b"module example.com/large\n".to_vec(), vec![b'\n'; 17 << 20]].concat(),
    );
    for path in shapes(&module).iter().filter(|path| !path.ends_with(".zip")) {
        assert_upstream_error(&proxy.get(path));
    }
    assert!(proxy.peak_resident_bytes() < 220 << 20, "{} MiB", proxy.peak_resident_bytes() >> 20);

    let odd = bed.module("example.com/odd", "v1.0.0");
    // A login page that calls itself plain text.
    let page = "<!DOCTYPE html>\n<html><body>Please log in</body></html>\n";
    for path in shapes(&odd) {
        bed.origin.set_file(&path, page);
    }
    for path in shapes(&odd) {
        let answer = proxy.get(&path);
        assert!(answer.status != 200, "{path} is a login page");
        assert_upstream_error(&answer);
    }
    let odd = bed.module("example.com/odd", "v1.1.0");
    bed.origin.set_file(&odd.url_path(".info"), r#"{"Version":"v1.0.0","Time":"the day before yesterday"}"#);
    let answer = proxy.get(&odd.url_path(".info"));
    assert!([200, 502].contains(&answer.status), "{}", answer.status);
}
