//! What it costs that a node is asked that does not hold what is asked for, in processor time of all data nodes against that of an owner's answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tests::chance::is_soak;
use tests::process::eventually;
use tests::raw_http::Connection;
use tests::usage::processor_time;
use tests::{Call, Cluster, Module, Node, Origin};

use crate::alone;

/// Versions of each of the modules, and modules.
const SMALL: usize = 4_000;
const ZIPS: usize = 300;
const MODULES: usize = 8;
const ZIP_BYTES: usize = 1 << 20;
/// An ordinary run looks at so much less.
const FEWER: usize = 50;
/// Clients that ask at once, each on a connection of its own.
const CLIENTS: usize = 4;
/// An owner is asked so often for the same, so that there is something to measure.
const ROUNDS: usize = 5;
/// What an answer may cost of a node that does not hold it, as a multiple of an owner's.
const SMALL_RATIO_MAX: f64 = 2.5;
const ZIP_RATIO_MAX: f64 = 1.5;

#[test]
fn an_answer_of_a_node_that_does_not_hold_it_costs_little_more() {
    let _turn = alone();
    let origin = Origin::start();
    let cluster = crate::shipped_data_nodes(4, &origin);
    let few = if is_soak() { 1 } else { FEWER };
    let small = Shelf::stock(&cluster, &origin, "small", SMALL / few, 100, ".mod");
    let ratio = small.compare(&cluster, "small files");
    let zips = Shelf::stock(&cluster, &origin, "large", (ZIPS / few).max(MODULES), ZIP_BYTES, ".zip");
    let zip_ratio = zips.compare(&cluster, "zips of 1 MiB");
    small.converges(&cluster);
    if crate::is_asked_for() {
        assert!(ratio <= SMALL_RATIO_MAX, "{ratio}");
        assert!(zip_ratio <= ZIP_RATIO_MAX, "{zip_ratio}");
    }
}

/// Files, with who owns each and who does not hold it.
struct Shelf(Vec<Place>);

struct Place {
    path: String,
    owner: usize,
    stranger: usize,
}

impl Shelf {
    /// Files at the origin, and at those who hold them.
    fn stock(cluster: &Cluster, origin: &Origin, name: &str, count: usize, bytes: usize, kind: &str) -> Self {
        let mut places = Vec::new();
        for number in 0..MODULES {
            let module = format!("example.com/{name}{number}");
            let holders = holders(cluster, &module);
            let stranger = (0..cluster.data.len()).find(|node| !holders.contains(node)).unwrap();
            for version in 0..count / MODULES {
                let module = Module::new(&module, &format!("v1.{version}.0")).filler(bytes);
                origin.publish(&module);
                places.push(Place { path: module.url_path(kind), owner: holders[0], stranger });
            }
        }
        let shelf = Self(places);
        shelf.ask(cluster, |place| place.owner);
        cluster.ctl(&["cache", "repair"]).code(0);
        shelf
    }

    fn compare(&self, cluster: &Cluster, what: &str) -> f64 {
        // First ones: connections are made, and memory is taken.
        self.ask(cluster, |place| place.owner);
        let mut owner = Duration::ZERO;
        for _ in 0..ROUNDS {
            owner += self.ask(cluster, |place| place.owner);
        }
        let owner = owner / (ROUNDS * self.0.len()) as u32;
        let stranger = self.ask(cluster, |place| place.stranger) / self.0.len() as u32;
        let ratio = stranger.as_secs_f64() / owner.as_secs_f64();
        println!(
            "{what}: an owner's answer takes {owner:?}, one of a node that does not hold it {stranger:?} ({ratio:.2})"
        );
        ratio
    }

    /// Asks for each file once; what that took of all data nodes' processors.
    fn ask(&self, cluster: &Cluster, whom: impl Fn(&Place) -> usize + Sync) -> Duration {
        let spent = || cluster.data.iter().map(|node| processor_time(node.pid())).sum::<Duration>();
        let addresses: Vec<_> = cluster.data.iter().map(Node::http).collect();
        let (next, before) = (AtomicUsize::new(0), spent());
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let connect = |address: &_| Connection::open(*address, None).unwrap();
                    let mut connections: Vec<_> = addresses.iter().map(connect).collect();
                    while let Some(place) = self.0.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let connection = &mut connections[whom(place)];
                        let ask = format!("GET {} HTTP/1.1\r\nhost: proxy\r\n\r\n", place.path);
                        connection.send(ask.as_bytes()).unwrap();
                        connection.read_response("GET").unwrap().expect(200);
                    }
                });
            }
        });
        spent().saturating_sub(before)
    }

    /// What is asked for again and again of a node that does not hold it is there at last.
    fn converges(&self, cluster: &Cluster) {
        let place = self.0.first().unwrap();
        eventually("what is hot is held where it is asked for", || {
            let answer =
                Call::new(cluster.data[place.stranger].http(), "GET", &place.path).send().expect(200);
            (answer.expect_header("x-cache") == "hit").then_some(())
        });
    }
}

fn holders(cluster: &Cluster, module: &str) -> Vec<usize> {
    let located = cluster.ctl(&["layout", "locate", module, "-o", "json"]).json();
    let names = located["owners"].as_array().unwrap();
    let number =
        |name: &serde_json::Value| cluster.data.iter().position(|node| *name == *node.name()).unwrap();
    names.iter().map(number).collect()
}
