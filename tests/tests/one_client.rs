//! What one client may take of what all share (row 53 of the faults: a scan of what nobody has asked for).

use std::net::Ipv4Addr;

use tests::process::eventually;
use tests::raw_http::Connection;
use tests::{Bed, Fault, Gate, Module, Proxy};

const SCANNER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Begins to ask for `path` as the scanner.
fn scan(proxy: &Proxy, path: &str) -> Connection {
    let mut connection = Connection::open_from(SCANNER, proxy.address()).unwrap();
    connection.send(&proxy.call("GET", path).bytes()).unwrap();
    connection
}

/// Modules whose `.mod` waits at the gate.
fn cold(bed: &Bed, count: usize, gate: &Gate) -> Vec<Module> {
    let module = |number| {
        let module = bed.module(&format!("example.com/scan/m{number}"), "v1.0.0");
        bed.origin.fault(&module.url_path(".mod"), [Fault::HoldHead(gate.clone())]);
        module
    };
    (0..count).map(module).collect()
}

#[test]
fn who_asks_for_all_that_is_cold_leaves_places_at_the_origin_to_others() {
    let (bed, gate) = (Bed::new(), Gate::new());
    let scanned = cold(&bed, 60, &gate);
    let wanted = bed.module("example.com/wanted", "v1.0.0");
    let proxy = Proxy::start(&bed.settings().flag("--max-fetches", "8"));
    let mut waiting: Vec<_> = scanned.iter().map(|module| scan(&proxy, &module.url_path(".mod"))).collect();
    // All that it gets while none is answered.
    gate.wait_for(6);
    for ext in [".info", ".mod", ".zip"] {
        proxy.get(&wanted.url_path(ext)).expect(200);
    }
    assert_eq!(gate.arrived(), 6);
    // It waits for its turns, and is refused nothing.
    gate.open();
    for (module, connection) in scanned.iter().zip(&mut waiting) {
        assert_eq!(connection.read_response("GET").unwrap().expect(200).body, module.go_mod());
    }
}

#[test]
fn who_has_most_of_all_answers_under_way_is_the_one_who_is_refused_more() {
    let (bed, gate) = (Bed::new(), Gate::new());
    let scanned = cold(&bed, 7, &gate);
    let wanted = bed.module("example.com/wanted", "v1.0.0");
    let proxy = Proxy::start(&bed.settings().flag("--max-requests-in-flight", "8"));
    let mut waiting: Vec<_> =
        scanned[..6].iter().map(|module| scan(&proxy, &module.url_path(".mod"))).collect();
    gate.wait_for(6);
    let refused = scan(&proxy, &scanned[6].url_path(".mod")).read_response("GET").unwrap();
    assert_eq!(refused.status, 503);
    refused.expect_header("retry-after");
    proxy.get(&wanted.url_path(".zip")).expect(200);
    gate.open();
    for connection in &mut waiting {
        connection.read_response("GET").unwrap().expect(200);
    }
    assert_eq!(scan(&proxy, &scanned[6].url_path(".mod")).read_response("GET").unwrap().status, 200);
}

#[test]
fn who_waits_for_a_turn_keeps_nobody_from_the_checksum_database() {
    let (bed, gate) = (Bed::new(), Gate::new());
    let modules: Vec<_> =
        (0..11).map(|number| bed.module(&format!("example.com/scan/m{number}"), "v1.0.0")).collect();
    let (listed, looked_up) = modules.split_at(6);
    let list = |module: &Module| format!("/{}/@v/list", module.path);
    for module in listed {
        bed.origin.fault(&list(module), [Fault::HoldHead(gate.clone())]);
    }
    let wanted = bed.module("example.com/wanted", "v1.0.0");
    let proxy = Proxy::start(&bed.settings().flag("--max-fetches", "8"));
    let mut waiting: Vec<_> = listed.iter().map(|module| scan(&proxy, &list(module))).collect();
    // All that it may have at once; what it asks for now finds out first who answers for the database.
    gate.wait_for(6);
    waiting.extend(looked_up.iter().map(|module| scan(&proxy, &module.url_path(".mod"))));
    eventually("all are being answered", || {
        proxy.metric("goproxy_http_in_flight", "").filter(|count| *count > 10.5)
    });
    for ext in [".mod", ".zip"] {
        proxy.get(&wanted.url_path(ext)).expect(200);
    }
    gate.open();
    for connection in &mut waiting {
        connection.read_response("GET").unwrap().expect(200);
    }
}
