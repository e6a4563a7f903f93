//! What origins do wrong on the way: the client gets whole and right bytes or a clean error, never a short 200 and
//! never a 404 that is none.

use std::time::Duration;
use tests::bed::{assert_error, assert_not_served, assert_upstream_error, shapes};
use tests::go_client::GoClient;
use tests::process::eventually;
use tests::{Bed, Fault, Gate, Module, Proxy, Settings};

fn settings(bed: &Bed) -> Settings {
    Settings::new(&bed.origin).allow_all()
}

#[test]
fn a_body_that_breaks_off_once_is_completed() {
    for (fault, ranges) in [
        (Fault::Truncate(700_000), true),
        (Fault::Reset(700_000), true),
        (Fault::Truncate(700_000), false),
        (Fault::Reset(1), false),
        (Fault::Truncate(0), true),
    ] {
        let bed = Bed::new();
        let module = bed.large_module("example.com/broken");
        bed.origin.know_ranges(ranges);
        bed.origin.fault_times(&module.url_path(".zip"), 1, [fault]);
        let proxy = Proxy::start(&settings(&bed));
        assert!(proxy.get(&module.url_path(".zip")).expect(200).body == module.zip());
        assert_eq!(bed.origin.count(&module.url_path(".zip")), 2);
    }
}

#[test]
fn a_body_that_always_breaks_off_is_an_error_that_is_not_kept() {
    for fault in [Fault::Truncate(600_000), Fault::Reset(600_000), Fault::ContentLength(9_000_000)] {
        let bed = Bed::new();
        let module = bed.large_module("example.com/broken");
        let path = module.url_path(".zip");
        bed.origin.fault(&path, [fault, Fault::NoRange]);
        let proxy = Proxy::start(&settings(&bed));
        assert_not_served(&proxy.get(&path));
        assert_eq!(proxy.get(&format!("/cached-only{path}")).status, 404);
        let asked = bed.origin.count(&path);
        assert!(asked <= 10, "{asked} requests for one");
        bed.origin.heal();
        let healed = eventually("the healed origin is asked", || {
            Some(proxy.get(&path)).filter(|answer| answer.status == 200 && answer.complete)
        });
        assert!(healed.body == module.zip());
    }
}

#[test]
fn a_body_without_a_length_is_as_good() {
    for fault in [Fault::Chunked, Fault::UntilClose] {
        let bed = Bed::new();
        let module = bed.large_module("example.com/chunked");
        bed.origin.fault("*", [fault]);
        let proxy = Proxy::start(&settings(&bed));
        assert!(proxy.get(&module.url_path(".zip")).expect(200).body == module.zip());
        assert_eq!(proxy.get(&module.url_path(".mod")).expect(200).body, module.go_mod());
        assert_eq!(proxy.get("/example.com/chunked/@v/list").expect(200).text(), "v1.0.0\n");
    }
}

#[test]
fn a_slow_body_is_waited_for() {
    let bed = Bed::new();
    let module = Module::new("example.com/drip", "v1.0.0").filler(200_000);
    bed.origin.publish(&module);
    bed.origin
        .fault(&module.url_path(".zip"), [Fault::Drip { bytes: 10_000, every: Duration::from_millis(20) }]);
    bed.origin.fault(&module.url_path(".mod"), [Fault::Delay(Duration::from_millis(300))]);
    let proxy = bed.proxy();
    assert!(proxy.get(&module.url_path(".zip")).expect(200).body == module.zip());
    assert_eq!(proxy.get(&module.url_path(".mod")).expect(200).body, module.go_mod());
}

/// Waiting for a silent origin takes as long as its timeout: with `SOAK=1` only.
#[test]
fn a_silent_origin_is_given_up_in_bounded_time() {
    if std::env::var_os("SOAK").is_none() {
        return;
    }
    let bed = Bed::new();
    let module = bed.large_module("example.com/stall");
    let never = Gate::new();
    bed.origin.fault(&module.url_path(".zip"), [Fault::Hold { after: 1000, gate: never.clone() }]);
    bed.origin.fault(&module.url_path(".info"), [Fault::HoldHead(never)]);
    let proxy = Proxy::start(&settings(&bed));
    std::thread::scope(|scope| {
        for suffix in [".zip", ".info"] {
            let (proxy, module) = (&proxy, &module);
            scope.spawn(move || {
                let mut connection = proxy.call("GET", &module.url_path(suffix)).open().unwrap();
                let patience = Some(Duration::from_mins(4));
                connection.stream().socket().set_read_timeout(patience).unwrap();
                assert_not_served(&connection.read_response("GET").unwrap());
            });
        }
    });
}

#[test]
fn trouble_at_the_origin_is_never_not_found() {
    for fault in [
        Fault::Status(500),
        Fault::Status(502),
        Fault::Status(503),
        Fault::Status(504),
        Fault::Html,
        Fault::RedirectLoop,
        Fault::Redirect("ftp://127.0.0.1/x".to_owned()),
        Fault::Redirect("http://127.0.0.1:1/x".to_owned()),
        Fault::Reset(0),
        Fault::Status(400),
        Fault::Status(401),
        Fault::Status(418),
        Fault::Status(204),
        Fault::Status(206),
    ] {
        let bed = Bed::new();
        let module = bed.module("example.com/trouble", "v1.0.0");
        bed.origin.set_latest(&module);
        bed.origin.fault("*", [fault]);
        let proxy = Proxy::start(&settings(&bed));
        for path in shapes(&module) {
            let answer = proxy.get(&path);
            assert!(![200, 404, 410].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
            assert_error(&answer);
        }
        // None of it outlives the trouble.
        bed.origin.heal();
        for path in shapes(&module) {
            eventually(&format!("{path} is served again"), || (proxy.get(&path).status == 200).then_some(()));
        }
    }
}

#[test]
fn a_single_failure_is_retried_unseen() {
    let bed = Bed::new();
    let module = bed.module("example.com/retry", "v1.0.0");
    bed.origin.set_latest(&module);
    for path in shapes(&module) {
        bed.origin.fault_times(&path, 1, [Fault::Status(503)]);
    }
    let proxy = Proxy::start(&settings(&bed));
    for path in shapes(&module) {
        proxy.get(&path).expect(200);
        assert!(bed.origin.count(&path) <= 2, "{path}");
    }
}

#[test]
fn an_origin_that_is_down_is_not_hammered() {
    let bed = Bed::new();
    bed.origin.fault("*", [Fault::Status(500)]);
    let proxy = Proxy::start(&settings(&bed));
    let clients = 60;
    for number in 0..clients {
        let module = Module::new("example.com/down", &format!("v1.0.{number}"));
        assert_upstream_error(&proxy.get(&module.url_path(".mod")));
    }
    let asked = bed.origin.total();
    assert!(
        asked <= clients * 3 / 2,
        "{asked} requests for {clients}: the retry budget or the breaker is missing"
    );
}

#[test]
fn not_found_is_asked_once_for_a_while() {
    let bed = Bed::new();
    for status in [404, 410] {
        let module = Module::new("example.com/absent", &format!("v1.0.{status}"));
        for path in shapes(&module).iter().take(3) {
            bed.origin.fault(path, [Fault::Status(status)]);
        }
    }
    let proxy = Proxy::start(&settings(&bed));
    for status in [404, 410] {
        let module = Module::new("example.com/absent", &format!("v1.0.{status}"));
        for path in shapes(&module) {
            for _ in 0..5 {
                let answer = proxy.get(&path);
                assert!([404, 410].contains(&answer.status));
                assert_error(&answer);
            }
            assert_eq!(bed.origin.count(&path), 1, "{path}");
        }
    }
}

/// Somebody asked for a version before there was one.
#[test]
fn what_an_origin_names_is_asked_for_though_it_was_not_found_a_moment_ago() {
    let bed = Bed::new();
    bed.module("example.com/early", "v1.0.0");
    let proxy = Proxy::start(&settings(&bed).flag("--list-ttl", "1ms"));
    let (tagged, commit) = (
        Module::new("example.com/early", "v1.1.0"),
        Module::new("example.com/early/commits", "v0.0.0-20240102030405-0123456789ab"),
    );
    for module in [&tagged, &commit] {
        for path in shapes(module).iter().take(3) {
            proxy.get(path).expect(404);
        }
        bed.origin.publish(module);
        proxy.get(&module.url_path(".zip")).expect(404);
    }
    let client = GoClient::new(&proxy.url(), "off");
    client.run(&["list", "-m", "-versions", "example.com/early"]).success();
    client.run(&["get", "example.com/early@latest"]).success();
    assert!(client.read("go.mod").contains("v1.1.0"));
    let named = proxy.get("/example.com/early/commits/@latest").expect(200).text();
    assert!(named.contains(&commit.version), "{named}");
    for path in shapes(&commit).iter().take(3) {
        proxy.get(path).expect(200);
    }
}

#[test]
fn too_many_requests_is_obeyed() {
    let bed = Bed::new();
    let module = bed.module("example.com/limited", "v1.0.0");
    bed.origin.fault("*", [Fault::too_many_requests(30)]);
    let proxy = Proxy::start(&settings(&bed));
    let answer = proxy.get(&module.url_path(".mod"));
    assert!([429, 503].contains(&answer.status), "{}", answer.status);
    assert!(answer.expect_header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    assert_error(&answer);
    let asked = bed.origin.total();
    for number in 0..20 {
        let other = Module::new("example.com/limited", &format!("v1.1.{number}"));
        let answer = proxy.get(&other.url_path(".mod"));
        assert!([429, 503].contains(&answer.status), "{}", answer.status);
        assert!(
            answer.expect_header("retry-after").parse().is_ok_and(|seconds: u32| (1..=30).contains(&seconds))
        );
    }
    assert_eq!(bed.origin.total(), asked, "asked again within the time the origin named");
}

#[test]
fn a_short_wait_that_the_origin_asks_for_is_taken() {
    let bed = Bed::new();
    let module = bed.module("example.com/soon", "v1.0.0");
    bed.origin.fault_times(&module.url_path(".mod"), 1, [Fault::too_many_requests(1)]);
    let proxy = Proxy::start(&settings(&bed));
    eventually("the module is served", || (proxy.get(&module.url_path(".mod")).status == 200).then_some(()));
}

#[test]
fn a_fetch_outlives_the_client_who_began_it() {
    let bed = Bed::new();
    let module = bed.large_module("example.com/left");
    let path = module.url_path(".zip");
    let gate = Gate::new();
    bed.origin.fault(&path, [Fault::Hold { after: 700_000, gate: gate.clone() }]);
    let proxy = bed.proxy();
    let mut first = proxy.call("GET", &path).open().unwrap();
    first.read_head("GET").unwrap();
    gate.wait_for(1);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut connection = proxy.call("GET", &path).open().unwrap();
            let head = connection.read_head("GET").unwrap();
            let tests::raw_http::Length::Known(length) = head.length else { panic!("no length") };
            connection.read_known(length)
        });
        drop(first);
        gate.open();
        let (body, whole) = waiter.join().unwrap();
        assert!(whole && body == module.zip());
    });
    assert_eq!(bed.origin.count(&path), 1);

    // And when nobody is left to wait.
    let module = bed.large_module("example.com/alone");
    let path = module.url_path(".zip");
    let gate = Gate::new();
    bed.origin.fault(&path, [Fault::Hold { after: 700_000, gate: gate.clone() }]);
    let mut only = proxy.call("GET", &path).open().unwrap();
    only.read_head("GET").unwrap();
    gate.wait_for(1);
    drop(only);
    gate.open();
    eventually("the zip is stored", || {
        (proxy.get(&format!("/cached-only{path}")).status == 200).then_some(())
    });
    assert_eq!(bed.origin.count(&path), 1);
}
