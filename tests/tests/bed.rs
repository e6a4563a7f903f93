//! The bed against itself: the real go command must be content with the fake origin and database.

use tests::{Fault, Gate, GoClient, Module, Origin, SumDb, Tamper};

fn bed() -> (Origin, SumDb) {
    let sumdb = SumDb::new("sum.test");
    sumdb.pad(300);
    let origin = Origin::with_sumdb(&sumdb);
    (origin, sumdb)
}

#[test]
fn go_builds_from_the_fake_origin_with_the_fake_checksum_database() {
    let (origin, sumdb) = bed();
    let base = Module::new("example.com/Base/lib", "v1.2.3").without_go_mod();
    let top = Module::new("example.com/top/v2", "v2.0.1").require(&base.path, &base.version);
    origin.publish(&base);
    origin.publish(&top);
    let client = GoClient::new(&origin.url(), &sumdb.key());
    client.program(&[(&top.path, &top.version), (&base.path, &base.version)], &[&top.path, &base.path]);
    client.build().success();
    assert_eq!(client.run_program(), "v2.0.1\nv1.2.3\n");
    let sums = client.read("go.sum");
    assert!(sums.contains(&base.sum_lines()) && sums.contains(&top.sum_lines()), "{sums}");
    assert_eq!(origin.count(&top.url_path(".zip")), 1);
    assert_eq!(origin.count_suffix("lookup/example.com/!base/lib@v1.2.3"), 1);
}

#[test]
fn go_refuses_each_lie_of_the_database() {
    for (lie, said) in [
        (Tamper::ForgedRecord, "cannot authenticate record data"),
        (Tamper::FlippedTile, "inconsistent tile"),
        (Tamper::WrongKey, "invalid signature"),
        (Tamper::Down, "500"),
        (Tamper::Empty, "malformed"),
    ] {
        let (origin, sumdb) = bed();
        let module = Module::new("example.com/lied", "v1.0.0");
        origin.publish(&module);
        sumdb.pad(3);
        sumdb.tamper(lie);
        let client = GoClient::new(&origin.url(), &sumdb.key());
        let output = client.download(&[&module.spec()]);
        assert!(!output.ok, "{lie:?} was believed");
        let all = format!("{}{}", output.stdout, output.stderr);
        assert!(all.contains(said), "{lie:?}: {all}");
    }
}

#[test]
fn go_sees_a_fork_when_it_has_seen_the_other_tree() {
    let (origin, sumdb) = bed();
    let (one, two) = (Module::new("example.com/one", "v1.0.0"), Module::new("example.com/two", "v1.0.0"));
    origin.publish(&one);
    origin.publish(&two);
    let client = GoClient::new(&origin.url(), &sumdb.key());
    client.download(&[&one.spec()]).success();
    sumdb.tamper(Tamper::Fork);
    client.download(&[&two.spec()]).failure("SECURITY ERROR");
}

#[test]
fn go_refuses_a_zip_that_the_database_does_not_know_so() {
    let (origin, sumdb) = bed();
    let module = Module::new("example.com/swapped", "v1.0.0");
    sumdb.add_with_wrong_h1(&module);
    origin.publish_without_record(&module);
    GoClient::new(&origin.url(), &sumdb.key()).download(&[&module.spec()]).failure("checksum mismatch");
}

#[test]
fn faults_are_seen_as_scripted() {
    let origin = Origin::start();
    let module = Module::new("example.com/faulty", "v1.0.0").filler(50_000);
    origin.publish(&module);
    let zip = module.url_path(".zip");
    let get = || tests::Call::new(origin.address(), "GET", &zip).send();
    let whole = get().expect(200);
    assert_eq!(whole.body, module.zip());

    origin.fault_times(&zip, 1, [Fault::Truncate(1000)]);
    let cut = get();
    assert!(!cut.complete && cut.body.len() == 1000);
    origin.fault_times(&zip, 1, [Fault::Reset(1000)]);
    assert!(!get().complete);
    origin.fault_times(&zip, 1, [Fault::Chunked]);
    assert_eq!(get().expect(200).body, whole.body);
    origin.fault_times(&zip, 1, [Fault::FlipBit(-1)]);
    assert_ne!(get().expect(200).body, whole.body);
    origin.fault_times(&zip, 1, [Fault::too_many_requests(3)]);
    assert_eq!(get().expect(429).expect_header("retry-after"), "3");
    let range = tests::Call::new(origin.address(), "GET", &zip).header("Range", "bytes=100-199").send();
    assert_eq!(range.expect(206).body, whole.body[100..200]);

    let gate = Gate::new();
    origin.fault_times(&zip, 1, [Fault::Hold { after: 4, gate: gate.clone() }]);
    std::thread::scope(|scope| {
        let held = scope.spawn(get);
        gate.wait_for(1);
        assert!(!held.is_finished());
        gate.open();
        assert_eq!(held.join().unwrap().expect(200).body, whole.body);
    });
    assert_eq!(origin.count(&zip), 8);
}

#[test]
fn an_origin_that_is_down_comes_back_on_its_port() {
    let origin = Origin::start();
    origin.set_file("/a", b"a".to_vec());
    let get = || tests::Call::new(origin.address(), "GET", "/a").try_send();
    assert_eq!(get().unwrap().status, 200);
    origin.down();
    get().unwrap_err();
    origin.up();
    assert_eq!(get().unwrap().status, 200);
}

#[test]
fn the_fault_proxy_spoils_connections() {
    use std::time::Duration;
    use tests::fault_proxy::{FaultProxy, Spoil};
    let origin = Origin::start();
    origin.set_file("/a", vec![b'a'; 100_000]);
    let proxy = FaultProxy::start(origin.address());
    let get = || tests::Call::new(proxy.address(), "GET", "/a").try_send();
    let whole = |spoil| {
        proxy.spoil(spoil);
        get().is_ok_and(|answer| answer.complete && answer.body.len() == 100_000)
    };
    assert!(whole(Spoil::Nothing));
    assert!(whole(Spoil::Delay(Duration::from_millis(1))));
    assert!(whole(Spoil::Drip(8000, Duration::from_millis(1))));
    assert!(!whole(Spoil::Truncate(5000)));
    assert!(!whole(Spoil::Reset(5000)));
    assert_eq!(proxy.connections(), 5);
}

#[test]
fn the_origin_speaks_tls() {
    let authority = tests::tls::Authority::new();
    let origin = Origin::start_tls(authority.issue().server());
    origin.set_file("/a", b"secret".to_vec());
    let answer = tests::Call::new(origin.address(), "GET", "/a").tls(&authority.client(&[])).send();
    assert_eq!(answer.expect(200).body, b"secret");
}
