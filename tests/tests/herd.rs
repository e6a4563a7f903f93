//! Many clients at once on one thing that is not there yet.

use std::time::{Duration, Instant};

use tests::{Bed, Fault, Gate, Module, Proxy, Settings};

/// Clients; with `SOAK=1` as many as the bound of memory is promised for.
fn clients() -> usize {
    if std::env::var_os("SOAK").is_some() { 1000 } else { 200 }
}

#[test]
fn a_herd_on_one_cold_zip_is_one_fetch_that_streams_to_all() {
    let bed = Bed::new();
    let size = 20_000_000;
    let module = Module::new("example.com/herd", "v1.0.0").filler(size);
    bed.origin.publish(&module);
    let path = module.url_path(".zip");
    let gate = Gate::new();
    bed.origin.fault(&path, [Fault::Hold { after: size / 2, gate: gate.clone() }]);
    let proxy = bed.proxy();
    proxy.get("/healthz").expect(200);
    let before = proxy.resident_bytes();
    let expected = tests::module::sha256_hex(&module.zip());
    let count = clients();
    let begun = Gate::new();

    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = proxy.call("GET", &path).open().unwrap();
                    let head = connection.read_head("GET").unwrap();
                    let mut first = [0; 1];
                    assert_eq!(connection.read_some(&mut first).unwrap(), 1);
                    begun.pass();
                    let tests::raw_http::Length::Known(length) = head.length else { panic!("no length") };
                    digest(&mut connection, first[0], length)
                })
            })
            .collect();
        // Everybody has a first byte although the origin has sent only half.
        begun.wait_for(count);
        gate.wait_for(1);
        assert_eq!(gate.arrived(), 1, "origin requests");
        begun.open();
        gate.open();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
    assert_eq!(bed.origin.count(&path), 1);
    let peak = proxy.peak_resident_bytes();
    let bound = if count > 200 { 400 << 20 } else { 160 << 20 };
    assert!(peak < bound, "{} MiB at its peak, {} MiB before", peak >> 20, before >> 20);
}

/// SHA-256 of a body of `length` bytes whose first is known; an empty text when it is cut.
fn digest(connection: &mut tests::raw_http::Connection, first: u8, length: u64) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&[first]);
    let mut left = length - 1;
    let mut piece = vec![0; 32 * 1024];
    while left > 0 {
        let want = piece.len().min(left as usize);
        match connection.read_some(&mut piece[..want]) {
            Ok(0) | Err(_) => return String::new(),
            Ok(count) => {
                context.update(&piece[..count]);
                left -= count as u64;
            }
        }
    }
    tests::module::hex(context.finish().as_ref())
}

#[test]
fn a_herd_on_each_small_thing_is_one_request_each() {
    let bed = Bed::new();
    let module = bed.module("example.com/small", "v1.0.0");
    bed.origin.set_latest(&module);
    let paths = [
        module.url_path(".info"),
        module.url_path(".mod"),
        module.url_path(".zip"),
        "/example.com/small/@v/list".to_owned(),
        "/example.com/small/@latest".to_owned(),
        "/example.com/absent/@v/list".to_owned(),
    ];
    let proxy = bed.proxy();
    for path in &paths {
        let gate = Gate::new();
        bed.origin.fault(path, [Fault::HoldHead(gate.clone())]);
        let start = Gate::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..32)
                .map(|_| {
                    scope.spawn(|| {
                        let mut connection = proxy.call("GET", path).open().unwrap();
                        start.pass();
                        connection.read_response("GET").unwrap().status
                    })
                })
                .collect();
            start.wait_for(32);
            start.open();
            if !path.ends_with(".mod") && !path.ends_with(".zip") {
                gate.wait_for(1);
            }
            gate.open();
            let want = if path.contains("absent") { 404 } else { 200 };
            for thread in threads {
                assert_eq!(thread.join().unwrap(), want, "{path}");
            }
        });
        assert_eq!(bed.origin.count(path), 1, "{path}");
    }
}

#[test]
fn hits_do_not_queue_behind_misses() {
    let bed = Bed::new();
    let hit = bed.module("example.com/hit", "v1.0.0");
    let proxy = Proxy::start(&Settings::new(&bed.origin).allow_all());
    proxy.get(&hit.url_path(".mod")).expect(200);
    let gate = Gate::new();
    std::thread::scope(|scope| {
        for number in 0..200 {
            let module = bed.module("example.com/miss", &format!("v1.0.{number}"));
            bed.origin.fault(&module.url_path(".mod"), [Fault::HoldHead(gate.clone())]);
            let proxy = &proxy;
            scope.spawn(move || {
                let mut connection = proxy.call("GET", &module.url_path(".mod")).open().unwrap();
                let _ = connection.read_response("GET");
            });
        }
        gate.wait_for(1);
        for _ in 0..100 {
            proxy.get(&hit.url_path(".mod")).expect(200);
        }
        gate.open();
    });
}

#[test]
fn a_client_that_reads_slowly_holds_up_nobody() {
    let bed = Bed::new();
    let module = Module::new("example.com/slowly", "v1.0.0").filler(8_000_000);
    bed.origin.publish(&module);
    let path = module.url_path(".zip");
    let proxy = bed.proxy();
    // Ten clients that read nothing after the head, on the cold zip, so that they share its fetch.
    let mut stuck = Vec::new();
    for _ in 0..10 {
        let mut connection = proxy.call("GET", &path).open().unwrap();
        connection.read_head("GET").unwrap();
        stuck.push(connection);
    }
    assert_eq!(proxy.get(&path).expect(200).body, module.zip());
    // They still get all of it when they wake up.
    for mut connection in stuck {
        let (body, whole) = connection.read_known(module.zip().len() as u64);
        assert!(whole, "{} of {} bytes", body.len(), module.zip().len());
        assert!(body == module.zip());
    }
    assert_eq!(bed.origin.count(&path), 1);
}

/// Longer than a client may take nothing.
const SLOWLY: Duration = Duration::from_secs(45);

/// What the kernel holds for a client is megabytes where it has taken much, as on the way to a balancer; that it wants no more for a while does
/// not mean that the client takes nothing.
#[test]
fn a_client_that_takes_little_at_a_time_is_not_cut_off_and_one_that_takes_nothing_is() {
    const TAKEN: usize = 2_000;
    let bed = Bed::new();
    let module = Module::new("example.com/steadily", "v1.0.0").filler(24_000_000);
    bed.origin.publish(&module);
    let path = module.url_path(".zip");
    let proxy = bed.proxy();
    let [mut connection, mut stuck] = [(); 2].map(|()| {
        let mut connection = proxy.call("GET", &path).open().unwrap();
        connection.read_head("GET").unwrap();
        connection
    });
    let (mut body, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < SLOWLY {
        let (piece, _) = connection.read_known(TAKEN as u64);
        assert_eq!(piece.len(), TAKEN, "cut off after {:?}", begun.elapsed());
        body.extend(piece);
        // waits for: nothing but time, of which the client takes much
        std::thread::sleep(Duration::from_millis(100));
    }
    let (rest, whole) = connection.read_known((module.zip().len() - body.len()) as u64);
    body.extend(rest);
    assert!(whole && body == module.zip(), "{} of {} bytes", body.len(), module.zip().len());
    // Who took nothing in all that time was.
    let (rest, whole) = stuck.read_known(module.zip().len() as u64);
    assert!(!whole, "{} bytes waited for who took none", rest.len());
    assert_eq!(proxy.metric("goproxy_http_connections_closed_total", "reason=\"slow_reader\""), Some(1.0));
}
