//! Chains of origins in GOPROXY's syntax, and the ways to an origin: redirects, TLS, broken wires.

use std::time::Duration;
use tests::bed::{assert_error, assert_not_served, assert_upstream_error, shapes};
use tests::fault_proxy::{FaultProxy, Spoil};
use tests::process::eventually;
use tests::{Bed, Fault, Gate, Module, Origin, Proxy, Settings};

#[test]
fn a_damaged_zip_is_refused_and_the_next_origin_asked() {
    for separator in [",", "|"] {
        let (bad, good) = (Bed::new(), Bed::new());
        let module = good.large_module("example.com/damaged");
        bad.origin.publish(&module);
        bad.origin.fault(&module.url_path(".zip"), [Fault::FlipBit(700_000), Fault::NoRange]);
        let chain = format!("{}{separator}{}", bad.origin.url(), good.origin.url());
        let proxy = Proxy::start(&Settings::upstream(&chain).flag("--sumdb", &good.sumdb.key()).allow_all());
        let path = module.url_path(".zip");
        let served = eventually("the good origin's zip", || {
            let answer = proxy.get(&path);
            assert!(![404, 410].contains(&answer.status));
            Some(answer).filter(|answer| answer.status == 200 && answer.complete)
        });
        assert!(served.body == module.zip());
        assert!(bad.origin.count(&path) >= 1 && good.origin.count(&path) >= 1);
    }
}

/// Of a small zip nothing leaves before its end.
#[test]
fn a_zip_that_breaks_off_is_asked_of_the_next_origin_after_a_bar() {
    for (separator, second_has_it) in [("|", true), ("|", false), (",", true)] {
        let (broken, second) = (Origin::start(), Origin::start());
        let module = Module::new("example.com/cut", "v1.0.0").filler(30_000);
        broken.publish(&module);
        if second_has_it {
            second.publish(&module);
        }
        let path = module.url_path(".zip");
        broken.fault(&path, [Fault::Truncate(10_000)]);
        let chain = format!("{}{separator}{}", broken.url(), second.url());
        let proxy = Proxy::start(&Settings::upstream(&chain).flag("--sumdb", "off").allow_all());
        let answer = proxy.get(&path);
        assert_eq!(second.count(&path), usize::from(separator == "|"), "{separator}");
        if separator == "|" && second_has_it {
            assert!(answer.expect(200).body == module.zip());
        } else {
            assert_upstream_error(&answer);
            assert!(answer.text().contains(&broken.address().to_string()), "{}", answer.text());
        }
    }
}

#[test]
fn a_large_zip_of_which_nothing_has_left_is_asked_of_the_next_origin() {
    let (broken, good) = (Bed::new(), Bed::new());
    let module = good.large_module("example.com/withheld");
    broken.origin.publish(&module);
    let path = module.url_path(".zip");
    broken.origin.fault(&path, [Fault::Truncate(700_000)]);
    // Nobody reads along before it is known what the zip must be.
    let lookup = Gate::new();
    let record = format!("/sumdb/sum.test/lookup/{}", module.spec());
    broken.origin.fault(&record, [Fault::HoldHead(lookup.clone())]);
    let chain = format!("{}|{}", broken.origin.url(), good.origin.url());
    let proxy = Proxy::start(&Settings::upstream(&chain).flag("--sumdb", &good.sumdb.key()).allow_all());
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| proxy.get(&path));
        eventually("the second origin is asked, or there is an answer", || {
            (good.origin.count(&path) > 0 || answer.is_finished()).then_some(())
        });
        lookup.open();
        answer.join().expect("an answer")
    });
    assert!(answer.expect(200).body == module.zip());
    assert_eq!(good.origin.count(&path), 1);
}

/// Whoever reads along sees it end; whoever asks next does not meet the same.
#[test]
fn an_origin_that_broke_off_under_readers_is_asked_last() {
    let (broken, second) = (Origin::start(), Origin::start());
    let module = Module::new("example.com/released", "v1.0.0").filler(1_500_000);
    broken.publish(&module);
    let path = module.url_path(".zip");
    broken.fault(&path, [Fault::Truncate(700_000)]);
    let chain = format!("{}|{}", broken.url(), second.url());
    let proxy = Proxy::start(&Settings::upstream(&chain).flag("--sumdb", "off").allow_all());
    assert_not_served(&proxy.get(&path));
    // It is asked all the same when nobody else has the zip.
    let asked = broken.count(&path);
    eventually("the first origin is asked again", || {
        assert_not_served(&proxy.get(&path));
        (broken.count(&path) > asked).then_some(())
    });
    second.publish(&module);
    let asked_second = second.count(&path);
    let served = eventually("the second origin's zip", || {
        Some(proxy.get(&path)).filter(|answer| answer.status == 200 && answer.complete)
    });
    assert!(served.body == module.zip());
    assert_eq!(second.count(&path), asked_second + 1);
}

/// What is known to be bad is not sent again while another origin may have the zip.
#[test]
fn an_origin_that_broke_off_is_asked_before_those_that_sent_bad_zips() {
    let (bad, worse, broken) = (Bed::new(), Bed::new(), Bed::new());
    let module = Module::new("example.com/wary", "v1.0.0").filler(30_000);
    let path = module.url_path(".zip");
    for bed in [&bad, &worse, &broken] {
        bed.origin.publish(&module);
    }
    bad.origin.fault(&path, [Fault::FlipBit(10_000)]);
    worse.origin.fault(&path, [Fault::FlipBit(10_000)]);
    broken.origin.fault(&path, [Fault::Truncate(10_000)]);
    let chain = format!("{}|{}|{}|off", bad.origin.url(), worse.origin.url(), broken.origin.url());
    let proxy = Proxy::start(&Settings::upstream(&chain).flag("--sumdb", &bad.sumdb.key()).allow_all());
    assert_upstream_error(&proxy.get(&path));
    assert!(broken.origin.count(&path) > 0, "it was not its turn");
    broken.origin.heal();
    let served = eventually("the zip of the one that is whole now", || {
        Some(proxy.get(&path)).filter(|answer| answer.status == 200)
    });
    assert!(served.body == module.zip());
    assert_eq!((bad.origin.count(&path), worse.origin.count(&path)), (1, 1));
}

#[test]
fn a_go_mod_that_is_refused_is_asked_of_the_next_origin() {
    for separator in [",", "|"] {
        let (bad, good) = (Bed::new(), Bed::new());
        let module = good.module("example.com/swapped", "v1.0.0");
        bad.origin.publish(&module);
        let path = module.url_path(".mod");
        bad.origin.set_file(&path, "module example.com/swapped\n\nrequire example.com/evil v1.0.0\n");
        let chain = format!("{}{separator}{}", bad.origin.url(), good.origin.url());
        let settings = Settings::upstream(&chain).flag("--sumdb", &bad.sumdb.key()).allow("refused a go.mod");
        let proxy = Proxy::start(&settings);
        assert_eq!(proxy.get(&path).expect(200).body, module.go_mod());
        assert_eq!((bad.origin.count(&path), good.origin.count(&path)), (1, 1));
        // Who lies about one file of a version is not asked for the other.
        let zip = module.url_path(".zip");
        assert!(proxy.get(&zip).expect(200).body == module.zip());
        assert_eq!((bad.origin.count(&zip), good.origin.count(&zip)), (0, 1));
    }
}

#[test]
fn a_go_mod_that_every_origin_has_wrong_is_refused_after_a_few() {
    let beds: Vec<Bed> = (0..5).map(|_| Bed::new()).collect();
    let module = beds[0].module("example.com/everywhere", "v1.0.0");
    let path = module.url_path(".mod");
    for bed in &beds {
        bed.origin.publish(&module);
        bed.origin.set_file(&path, "module example.com/everywhere // swapped\n");
    }
    let chain: Vec<String> = beds.iter().map(|bed| bed.origin.url()).collect();
    let settings = Settings::upstream(&chain.join(",")).flag("--sumdb", &beds[0].sumdb.key());
    let proxy = Proxy::start(&settings.allow("refused a go.mod"));
    let answer = proxy.get(&path);
    assert_upstream_error(&answer);
    assert!(answer.text().contains("go.mod"), "{}", answer.text());
    let asked: usize = beds.iter().map(|bed| bed.origin.count(&path)).sum();
    assert_eq!(asked, 3);
}

#[test]
fn a_comma_walks_on_when_nothing_is_there_and_a_bar_at_any_error() {
    let broken = || vec![Fault::Answer(200, Vec::new(), b"{}".to_vec()), Fault::Reset(1)];
    // (the first origin's faults, separator, whether the second one is asked, status)
    let cases = [
        (Vec::new(), ",", true, 200),
        (Vec::new(), "|", true, 200),
        (vec![Fault::Status(404)], ",", true, 200),
        (vec![Fault::Status(410)], ",", true, 200),
        (vec![Fault::Status(500)], ",", false, 502),
        (vec![Fault::Status(500)], "|", true, 200),
        (vec![Fault::Status(403)], ",", false, 403),
        (vec![Fault::Status(403)], "|", true, 200),
        (vec![Fault::Html], ",", false, 502),
        (vec![Fault::Html], "|", true, 200),
        (broken(), ",", false, 502),
        (broken(), "|", true, 200),
    ];
    for (number, (faults, separator, second_asked, status)) in cases.into_iter().enumerate() {
        let (first, second) = (Origin::start(), Origin::start());
        let module = Module::new("example.com/chain", "v1.0.0");
        second.publish(&module);
        second.set_latest(&module);
        if !faults.is_empty() {
            first.fault("*", faults);
        }
        let chain = format!("{}{separator}{}", first.url(), second.url());
        let proxy = Proxy::start(&Settings::upstream(&chain).flag("--sumdb", "off").allow_all());
        for path in shapes(&module) {
            let answer = proxy.get(&path);
            assert_eq!(answer.status, status, "case {number}, {path}: {}", answer.text());
            assert!(first.count(&path) >= 1 || !second_asked || number > 3, "case {number}, {path}");
            assert_eq!(second.count(&path) > 0, second_asked, "case {number}, {path}");
        }
    }
}

#[test]
fn off_ends_a_chain() {
    let origin = Origin::start();
    let module = Module::new("example.com/last", "v1.0.0");
    let proxy = Proxy::start(&Settings::upstream(&format!("{},off", origin.url())).flag("--sumdb", "off"));
    assert_error(&proxy.get(&module.url_path(".info")));
    let proxy = Proxy::start(&Settings::upstream("off").flag("--sumdb", "off"));
    let answer = proxy.get(&module.url_path(".info"));
    assert!(answer.status >= 400);
    assert_error(&answer);
}

#[test]
fn where_nobody_is_asked_what_was_heard_is_given_on() {
    let bed = Bed::new();
    let module = bed.module("example.com/heard", "v1.0.0");
    bed.origin.publish_query("main", &module);
    let (list, latest) = ("/example.com/heard/@v/list", "/example.com/heard/@latest");
    let settings = |chain: &str| Settings::upstream(chain).flag("--sumdb", "off").flag("--list-ttl", "1ms");
    let proxy = Proxy::start(&settings(&bed.origin.url()));
    for path in [list, latest, "/example.com/heard/@v/main.info", &module.url_path(".zip")] {
        proxy.get(path).expect(200);
    }
    let proxy = proxy.restart_with(settings("off"));
    for path in [list, latest, "/example.com/heard/@v/main.info"] {
        assert_eq!(proxy.get(path).expect(200).expect_header("x-cache"), "stale", "{path}");
    }
    // It says nothing of what there is, so no cache may keep it.
    let absent = proxy.get("/example.com/unheard/@latest").expect(404);
    assert_eq!(absent.expect_header("cache-control"), "no-store");
}

#[test]
fn faults_below_http_are_met_like_those_above() {
    let bed = Bed::new();
    let module = bed.large_module("example.com/wire");
    let wire = FaultProxy::start(bed.origin.address());
    let proxy = Proxy::start(&Settings::upstream(&wire.url()).flag("--sumdb", "off").allow_all());
    wire.spoil(Spoil::Reset(400_000));
    let answer = proxy.get(&module.url_path(".zip"));
    assert!(answer.status != 200 || !answer.complete || answer.body == module.zip());
    assert_ne!(answer.status, 404);
    wire.spoil(Spoil::Drip(100_000, Duration::from_millis(1)));
    let whole = eventually("the zip comes through", || {
        Some(proxy.get(&module.url_path(".zip"))).filter(|answer| answer.status == 200 && answer.complete)
    });
    assert!(whole.body == module.zip());
}

#[test]
fn redirects_are_followed_but_never_down_to_plain_http() {
    let authority = tests::tls::Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write(directory.path());
    let (secure, plain) = (Origin::start_tls(authority.issue().server()), Origin::start());
    let module = Module::new("example.com/moved", "v1.0.0");
    plain.publish(&module);
    secure.publish(&module);
    let settings = |origin: &Origin| {
        let ca = ca.to_string_lossy();
        Settings::upstream(&origin.url()).flag("--sumdb", "off").flag("--upstream-ca", &ca).allow_all()
    };
    let path = module.url_path(".mod");

    secure.fault(&path, [Fault::Redirect(format!("{}{path}", plain.url()))]);
    let proxy = Proxy::start(&settings(&secure));
    assert_upstream_error(&proxy.get(&path));
    assert_eq!(plain.total(), 0, "followed from https to http");
    proxy.get(&module.url_path(".zip")).expect(200);

    plain.fault(&path, [Fault::Redirect(format!("{}/elsewhere", plain.url()))]);
    plain.set_file("/elsewhere", module.go_mod());
    let proxy = Proxy::start(&settings(&plain));
    assert_eq!(proxy.get(&path).expect(200).body, module.go_mod());
}

#[test]
fn an_origin_whose_certificate_nobody_vouches_for_is_not_believed() {
    let authority = tests::tls::Authority::new();
    let origin = Origin::start_tls(authority.issue().server());
    let module = Module::new("example.com/untrusted", "v1.0.0");
    origin.publish(&module);
    let proxy = Proxy::start(&Settings::new(&origin).allow_all());
    assert_upstream_error(&proxy.get(&module.url_path(".mod")));
    assert_eq!(origin.total(), 0);
}
