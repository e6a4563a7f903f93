//! What somebody who asks for all sorts of modules that nobody has asked for costs those who ask for what is held.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::chance::is_soak;
use tests::cores::Cores;
use tests::raw_http::Connection;
use tests::{Call, Fault, Module, Node, Origin};

use crate::alone;

/// What is held, and how often it is asked for, in a long run and in an ordinary one.
const HELD: usize = 100;
const REQUESTS: usize = 20_000;
const FEW_REQUESTS: usize = 1_000;
/// What nobody has asked for, how long its origin takes, and how much of it is asked for at a time.
const COLD: usize = 4_000;
const FAR: Duration = Duration::from_millis(200);
const AT_ONCE: usize = 32;
/// Quiet and noisy times, in a long run.
const TURNS: usize = 7;
/// The 99th percentile against that of a quiet time.
const P99_RATIO_MAX: f64 = 1.5;

/// Row 77.
#[test]
fn who_asks_for_much_that_is_not_held_costs_the_others_little() {
    let _turn = alone();
    let cores = Cores::two();
    let origin = Origin::start();
    let cluster = crate::shipped_data_nodes(3, &origin);
    let modules = |name: &str, count: usize| -> Vec<String> {
        let published = |number| {
            let module = Module::new(&format!("example.com/{name}{number}"), "v1.0.0");
            origin.publish(&module);
            module.url_path(".mod")
        };
        (0..count).map(published).collect()
    };
    let (held, cold) = (modules("held", HELD), modules("cold", COLD));
    let address = cluster.data[0].http();
    for path in &held {
        Call::new(address, "GET", path).send().expect(200);
    }
    for path in &cold {
        origin.fault(path, [Fault::Delay(FAR)]);
    }
    // The node that is asked has a core to itself, as it has a machine elsewhere; the others, the origin and whoever asks
    // for much share the other one.
    if let Some(cores) = &cores {
        cores.first_is_for(cluster.data[0].pid());
        for pid in cluster.control.iter().chain(&cluster.data[1..]).map(Node::pid) {
            cores.second_is_for(pid);
        }
    }
    let requests = if is_soak() { REQUESTS } else { FEW_REQUESTS };
    let ask_for_held = || {
        let mut connection = Connection::open(address, None).unwrap();
        let mut times: Vec<_> = (0..requests)
            .map(|number| {
                let begun = Instant::now();
                ask(&mut connection, &held[number % held.len()]);
                begun.elapsed()
            })
            .collect();
        times.sort();
        times
    };
    let times = || cores.as_ref().map_or_else(ask_for_held, |cores| cores.on_first(ask_for_held));
    drop(times());
    let next = AtomicUsize::new(0);
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100];
    // In turns, since the machine has good and bad seconds.
    let turns = if is_soak() { TURNS } else { 1 };
    let (mut ratios, mut longest) = (Vec::new(), Duration::ZERO);
    for _ in 0..turns {
        let quiet = times();
        let noisy = while_others_ask(address, &cold, &next, times);
        ratios.push(p99(&noisy).as_secs_f64() / p99(&quiet).as_secs_f64());
        longest = longest.max(p99(&noisy));
        println!(
            "what is held: p50 {:?} and {:?}, p99 {:?} and {:?} while others were asked for, {AT_ONCE} at a time",
            quiet[quiet.len() / 2],
            noisy[noisy.len() / 2],
            p99(&quiet),
            p99(&noisy),
        );
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    println!("p99 against that of a quiet time: {ratio:.2} ({ratios:.2?})");
    // Far less than what is not held takes: it does not wait behind that.
    assert!(longest < FAR / 2, "{longest:?}");
    if crate::is_asked_for() {
        assert!(ratio <= P99_RATIO_MAX, "{ratio}");
    }
}

/// Takes times while somebody asks for what is not held, for longer than one answer from far away takes.
fn while_others_ask(
    address: SocketAddr,
    cold: &[String],
    next: &AtomicUsize,
    times: impl Fn() -> Vec<Duration>,
) -> Vec<Duration> {
    let (first, is_over) = (next.load(Ordering::Relaxed), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mut connection = Connection::open(address, None).unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    let Some(path) = cold.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    ask(&mut connection, path);
                }
            });
        }
        let noisy = loop {
            let noisy = times();
            assert!(next.load(Ordering::Relaxed) < COLD, "there is nothing left to ask for");
            if next.load(Ordering::Relaxed) > first + 4 * AT_ONCE {
                break noisy;
            }
        };
        is_over.store(true, Ordering::Relaxed);
        noisy
    })
}

fn ask(connection: &mut Connection, path: &str) {
    let ask = format!("GET {path} HTTP/1.1\r\nhost: proxy\r\n\r\n");
    connection.send(ask.as_bytes()).unwrap();
    connection.read_response("GET").unwrap().expect(200);
}
