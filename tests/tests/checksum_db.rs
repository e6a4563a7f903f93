//! A checksum database that is down or lies: verified content stays, new content is refused, a fork is an alarm.

use tests::bed::assert_not_served;
use tests::process::eventually;
use tests::{Bed, Fault, Gate, GoClient, Module, Proxy, Settings, Tamper};

/// A server that has verified one module, and a second module that it has not.
fn half_verified() -> (Bed, Proxy, Module, Module) {
    let bed = Bed::new();
    let (known, new) = (bed.module("example.com/known", "v1.0.0"), bed.module("example.com/new", "v1.0.0"));
    let proxy = Proxy::start(&bed.settings().allow_all());
    bed.client(&proxy).download(&[&known.spec()]).success();
    (bed, proxy, known, new)
}

#[test]
fn each_lie_is_refused_and_what_was_verified_is_still_served() {
    for lie in [
        Tamper::ForgedRecord,
        Tamper::FlippedTile,
        Tamper::Fork,
        Tamper::WrongKey,
        Tamper::Down,
        Tamper::Empty,
        Tamper::Unrelated,
    ] {
        let (bed, proxy, known, new) = half_verified();
        bed.sumdb.tamper(lie);
        // Grown, so that new tiles and a new head are needed.
        bed.sumdb.pad(400);
        for suffix in [".mod", ".zip"] {
            assert_not_served(&proxy.get(&new.url_path(suffix)));
            assert_eq!(proxy.get(&format!("/cached-only{}", new.url_path(suffix))).status, 404, "{lie:?}");
            proxy.get(&known.url_path(suffix)).expect(200);
        }
        bed.client(&proxy).download(&[&known.spec()]).success();
        // A client that does not verify gets nothing unverified either.
        GoClient::new(&proxy.url(), "off").download(&[&new.spec()]).failure("example.com/new");
    }
}

#[test]
fn a_liar_is_believed_again_when_it_tells_the_truth() {
    for lie in [Tamper::ForgedRecord, Tamper::FlippedTile, Tamper::Down, Tamper::Empty, Tamper::Unrelated] {
        let (bed, proxy, _known, new) = half_verified();
        bed.sumdb.tamper(lie);
        // Grown, so that new tiles and a new head are needed.
        bed.sumdb.pad(400);
        assert_not_served(&proxy.get(&new.url_path(".zip")));
        bed.sumdb.tamper(Tamper::Honest);
        eventually(&format!("service after {lie:?}"), || {
            (proxy.get(&new.url_path(".zip")).status == 200).then_some(())
        });
        bed.client(&proxy).download(&[&new.spec()]).success();
    }
}

/// The database shows another history, and `growth` more records than before.
fn assert_fork_is_an_alarm(growth: usize) {
    let (bed, proxy, _known, new) = half_verified();
    let alarm = |proxy: &Proxy| proxy.metric("goproxy_sumdb_fork_alarm", "");
    assert_eq!(alarm(&proxy), Some(0.0));
    // The head that was believed is kept on disk.
    let proxy = proxy.restart();
    bed.sumdb.tamper(Tamper::Fork);
    bed.sumdb.pad(growth);
    assert_not_served(&proxy.get(&new.url_path(".zip")));
    eventually("the alarm", || (alarm(&proxy) == Some(1.0)).then_some(()));
    eventually("an error that reaches a human", || proxy.log().contains("\"ERROR\"").then_some(()));
    // Going back to the first tree does not wipe out that there were two.
    bed.sumdb.tamper(Tamper::Honest);
    let mut proxy = proxy.restart();
    assert_eq!(alarm(&proxy), Some(1.0));
    assert_not_served(&proxy.get(&new.url_path(".zip")));

    // Only an operator does, and while the server runs not even he can.
    let fork = |proxy: &Proxy, arguments: &[&str]| {
        let output = std::process::Command::new(tests::program::executable())
            .args(["sumdb", "fork"])
            .arg(format!("--data-dir={}", proxy.data_dir().display()))
            .arg(format!("--sumdb={}", bed.sumdb.key()))
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(fork(&proxy, &["--clear"]), (3, String::new()));
    proxy.kill9();
    let (code, shown) = fork(&proxy, &[]);
    assert_eq!((code, shown.matches("go.sum database tree\n").count()), (0, 2), "{shown}");
    let (code, cleared) = fork(&proxy, &["--clear"]);
    assert!(code == 0 && cleared.contains("cleared"), "{cleared}");
    assert!(fork(&proxy, &[]).1.contains("no fork"));
    let proxy = proxy.restart();
    assert_eq!(alarm(&proxy), Some(0.0));
    assert!(proxy.get(&new.url_path(".zip")).expect(200).body == new.zip());
}

#[test]
fn a_fork_is_an_alarm_that_outlives_a_restart() {
    assert_fork_is_an_alarm(0);
}

#[test]
fn a_fork_that_has_grown_is_an_alarm_too() {
    assert_fork_is_an_alarm(400);
}

/// Grown so little that the second head leads to the same tiles, which are held as verified under the first one.
#[test]
fn a_fork_that_contradicts_tiles_that_are_held_is_an_alarm_too() {
    assert_fork_is_an_alarm(100);
}

#[test]
fn a_database_that_the_origin_does_not_serve_is_read_from_its_own_url() {
    let bed = Bed::new();
    let module = bed.module("example.com/apart", "v1.0.0");
    let modules_only = tests::Origin::start();
    modules_only.publish(&module);
    let url = format!("{}/sumdb/{}", bed.origin.url(), bed.sumdb.name());
    let settings =
        Settings::upstream(&modules_only.url()).flag("--sumdb", &format!("{} {url}", bed.sumdb.key()));
    let proxy = Proxy::start(&settings);
    bed.client(&proxy).download(&[&module.spec()]).success();
    assert!(bed.origin.count_suffix("lookup/example.com/apart@v1.0.0") == 1);
    assert_eq!(bed.origin.count(&module.url_path(".zip")), 0);
}

#[test]
fn modules_that_are_excepted_are_neither_verified_nor_looked_up() {
    let bed = Bed::new();
    let private = Module::new("corp.example.com/secret", "v1.0.0");
    bed.origin.publish_without_record(&private);
    let settings = bed.settings().flag("--no-sumdb", "corp.example.com,*.internal");
    let proxy = Proxy::start(&settings);
    let client = bed.client(&proxy).with("GONOSUMDB", "corp.example.com");
    client.download(&[&private.spec()]).success();
    let lookup = proxy.get("/sumdb/sum.test/lookup/corp.example.com/secret@v1.0.0");
    assert!(lookup.status >= 400, "{}", lookup.status);
    let leaked: Vec<_> = bed.origin.seen().into_iter().filter(|seen| seen.path.contains("lookup")).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    // A build that forgot GONOSUMDB is told so.
    let told = bed.client(&proxy).download(&[&private.spec()]);
    assert!(!told.ok);
    assert!(
        format!("{}{}", told.stdout, told.stderr).contains("GONOSUMDB"),
        "{}{}",
        told.stdout,
        told.stderr
    );
}

#[test]
fn an_older_signed_head_that_holds_the_record_is_good_enough() {
    let (bed, proxy, _known, new) = half_verified();
    bed.sumdb.tamper(Tamper::OldHead);
    bed.client(&proxy).download(&[&new.spec()]).success();
}

#[test]
fn a_version_without_a_record_is_refused() {
    let bed = Bed::new();
    let module = Module::new("example.com/unrecorded", "v1.0.0");
    bed.origin.publish_without_record(&module);
    let proxy = Proxy::start(&bed.settings().allow_all());
    for suffix in [".mod", ".zip"] {
        let answer = proxy.get(&module.url_path(suffix));
        assert_ne!(answer.status, 200);
        tests::bed::assert_error(&answer);
    }
}

/// The origin stops in the middle of each zip until its gate opens. The database answers when the zip is that far, or
/// it might refuse the version before its zip was asked for.
#[test]
fn a_zip_that_nobody_will_vouch_for_is_not_fetched_to_its_end() {
    for down in [false, true] {
        let bed = Bed::new();
        let small = Module::new("example.com/small", "v1.0.0");
        let large = Module::new("example.com/large", "v1.0.0").filler(1_500_000);
        let proxy = Proxy::start(&bed.settings().allow_all());
        if down {
            bed.sumdb.tamper(Tamper::Down);
        }
        for (module, after) in [(&small, 100), (&large, 600_000)] {
            bed.origin.publish_without_record(module);
            let path = module.url_path(".zip");
            let (zip, lookup) = (Gate::new(), Gate::new());
            bed.origin.fault(&path, [Fault::Hold { after, gate: zip.clone() }]);
            let record = format!("/sumdb/sum.test/lookup/{}", module.spec());
            bed.origin.fault(&record, [Fault::HoldHead(lookup.clone())]);
            let answer = std::thread::scope(|scope| {
                let answer = scope.spawn(|| proxy.get(&path));
                // A database that is down for long is not asked again at once.
                eventually("the zip is on its way, or there is an answer", || {
                    (zip.arrived() > 0 || answer.is_finished()).then_some(())
                });
                lookup.open();
                answer.join().expect("an answer")
            });
            assert_not_served(&answer);
            if after == 100 {
                assert_eq!(answer.status, if down { 503 } else { 403 }, "{}", answer.text());
            }
            assert!(zip.arrived() == 1 || (down && zip.arrived() == 0), "asked {} times", zip.arrived());
            zip.open();
        }
    }
}

#[test]
fn a_go_mod_that_is_not_there_is_told_before_the_database_has_answered() {
    let bed = Bed::new();
    let proxy = bed.proxy();
    let gate = Gate::new();
    bed.origin.fault("/sumdb/sum.test/lookup/example.com/nowhere@v1.0.0", [Fault::HoldHead(gate.clone())]);
    proxy.get("/example.com/nowhere/@v/v1.0.0.mod").expect(404);
    gate.open();
}

#[test]
fn what_nobody_vouched_for_is_checked_when_the_database_is_back() {
    let bed = Bed::new();
    let (good, bad) = (bed.module("example.com/good", "v1.0.0"), bed.module("example.com/bad", "v1.0.0"));
    let (path, evil) = (bad.url_path(".zip"), bad.clone().file("evil.go", "package bad\n"));
    let proxy = Proxy::start(&bed.settings().flag("--sumdb-unavailable", "serve").allow_all());
    bed.sumdb.tamper(Tamper::Down);
    bed.origin.set_file(&path, evil.zip());
    proxy.get(&good.url_path(".zip")).expect(200);
    assert!(proxy.get(&path).expect(200).body == evil.zip(), "served although nobody vouches for it");

    bed.origin.set_file(&path, bad.zip());
    bed.sumdb.tamper(Tamper::Honest);
    let mut others = 0;
    eventually("what was wrong is set aside", || {
        // Each has to be looked up, by which it shows that the database is back.
        others += 1;
        let other = bed.module(&format!("example.com/other{others}"), "v1.0.0");
        proxy.get(&other.url_path(".zip")).expect(200);
        (proxy.get(&format!("/cached-only{path}")).status == 404).then_some(())
    });
    assert!(proxy.get(&path).expect(200).body == bad.zip());
    bed.client(&proxy).download(&[&good.spec(), &bad.spec()]).success();
    assert_eq!(proxy.get(&good.url_path(".zip")).expect_header("x-cache"), "hit");
}

#[test]
fn a_zip_that_is_vouched_for_says_nothing_of_the_go_mod_that_came_before() {
    let bed = Bed::new();
    let bad = bed.module("example.com/bad", "v1.0.0");
    let path = bad.url_path(".mod");
    let evil = "module example.com/bad\n\nrequire evil.example/x v1.0.0\n";
    // About one the database cannot be asked for as long as this lasts, and it comes before the other.
    let stuck = bed.module("example.com/a/stuck", "v1.0.0");
    let lookup = "/sumdb/sum.test/lookup/example.com/a/stuck@v1.0.0";
    bed.origin.fault(lookup, [Fault::Status(403)]);
    let proxy = Proxy::start(&bed.settings().flag("--sumdb-unavailable", "serve").allow_all());
    proxy.get(&stuck.url_path(".zip")).expect(200);
    bed.sumdb.tamper(Tamper::Down);
    bed.origin.set_file(&path, evil);
    assert_eq!(proxy.get(&path).expect(200).text(), evil, "served although nobody vouches for it");

    bed.origin.set_file(&path, bad.go_mod());
    bed.sumdb.tamper(Tamper::Honest);
    let mut others = 0;
    eventually("the database answers again", || {
        others += 1;
        let other = bed.module(&format!("example.com/other{others}"), "v1.0.0");
        proxy.get(&other.url_path(".zip")).expect(200);
        // Until it does, nobody vouches for the zip either, and its go.mod is another one.
        proxy.get(&bad.url_path(".zip"));
        (proxy.get(&path).expect(200).text() != evil).then_some(())
    });
    assert_eq!(proxy.get(&path).expect(200).body, bad.go_mod());
    assert_eq!(
        proxy.get(&format!("/cached-only{}", stuck.url_path(".zip"))).status,
        200,
        "nothing contradicts it"
    );
    bed.client(&proxy).download(&[&bad.spec()]).success();
}
