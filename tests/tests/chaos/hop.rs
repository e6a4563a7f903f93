//! What it costs that any node is asked, in processor time of all data nodes against that of an owner's answer: of a node that does not hold what is
//! asked for, the first time; and when everything has been asked of every node, through a balancer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tests::balancer::{Balancer, Program};
use tests::chance::is_soak;
use tests::cluster::metric;
use tests::raw_http::Connection;
use tests::usage::processor_time;
use tests::{Cluster, Module, Origin};

use crate::alone;

/// Small files, zips that a node's memory has room for, and the modules that they are of.
const SMALL: usize = 4_000;
const ZIPS: usize = 96;
const MODULES: usize = 8;
const ZIP_BYTES: usize = 1 << 20;
/// An ordinary run looks at so much less.
const FEWER: usize = 50;
/// Clients that ask at once, each on a connection of its own.
const CLIENTS: usize = 4;
/// An owner is asked so often for the same, so that there is something to measure.
const ROUNDS: usize = 20;
/// What an answer may cost of whatever node the balancer picks, as a multiple of an owner's.
const SMALL_RATIO_MAX: f64 = 2.5;
const ZIP_RATIO_MAX: f64 = 1.5;

#[test]
fn an_answer_of_any_node_costs_little_more_than_an_owners() {
    let _turn = alone();
    let origin = Origin::start();
    let cluster = crate::shipped_data_nodes(4, &origin);
    let balancer = Balancer::start(Program::Haproxy, &cluster, &[]);
    let few = if is_soak() { 1 } else { FEWER };
    let small = Shelf::stock(&cluster, &origin, "small", SMALL / few, 100, ".mod");
    let ratio = small.compare(&cluster, &balancer, "small files");
    let zips = Shelf::stock(&cluster, &origin, "large", (ZIPS / few).max(MODULES), ZIP_BYTES, ".zip");
    let zip_ratio = zips.compare(&cluster, &balancer, "zips of 1 MiB");
    if crate::is_asked_for() {
        assert!(ratio <= SMALL_RATIO_MAX, "{ratio}");
        assert!(zip_ratio <= ZIP_RATIO_MAX, "{zip_ratio}");
    }
}

/// Files, with who owns each and who does not hold it.
struct Shelf(Vec<Place>);

struct Place {
    path: String,
    owner: SocketAddr,
    stranger: SocketAddr,
}

impl Shelf {
    /// Files at the origin, and at those who hold them.
    fn stock(cluster: &Cluster, origin: &Origin, name: &str, count: usize, bytes: usize, kind: &str) -> Self {
        let mut places = Vec::new();
        for number in 0..MODULES {
            let module = format!("example.com/{name}{number}");
            let holders = holders(cluster, &module);
            let stranger = (0..cluster.data.len()).find(|node| !holders.contains(node)).unwrap();
            let [owner, stranger] = [holders[0], stranger].map(|node| cluster.data[node].http());
            for version in 0..count / MODULES {
                let module = Module::new(&module, &format!("v1.{version}.0")).filler(bytes);
                origin.publish(&module);
                places.push(Place { path: module.url_path(kind), owner, stranger });
            }
        }
        let shelf = Self(places);
        shelf.ask(cluster, |place| place.owner);
        cluster.ctl(&["cache", "repair"]).code(0);
        shelf
    }

    /// The cost of a warm answer through the balancer, as a multiple of an owner's.
    fn compare(&self, cluster: &Cluster, balancer: &Balancer, what: &str) -> f64 {
        let owners = |place: &Place| place.owner;
        let address = balancer.address();
        let any = |_: &Place| address;
        // First ones: connections are made, and memory is taken.
        self.ask(cluster, owners);
        let owner = self.mean(cluster, owners);
        let first = self.ask(cluster, |place| place.stranger) / self.0.len() as u32;
        for node in &cluster.data {
            let address = node.http();
            self.ask(cluster, |_| address);
        }
        let before = borrowed(cluster);
        let warm = self.mean(cluster, any);
        assert_eq!(borrowed(cluster), before, "what is warm is held wherever it is asked for");
        let ratio = |cost: Duration| cost.as_secs_f64() / owner.as_secs_f64();
        println!(
            "{what}: an owner's answer takes {owner:?}; the first one of a node that does not hold it {first:?} ({:.2}); a warm one through the balancer {warm:?} ({:.2})",
            ratio(first),
            ratio(warm),
        );
        ratio(warm)
    }

    fn mean(&self, cluster: &Cluster, whom: impl Fn(&Place) -> SocketAddr + Sync) -> Duration {
        let all: Duration = (0..ROUNDS).map(|_| self.ask(cluster, &whom)).sum();
        all / (ROUNDS * self.0.len()) as u32
    }

    /// Asks for each file once; what that took of all data nodes' processors.
    fn ask(&self, cluster: &Cluster, whom: impl Fn(&Place) -> SocketAddr + Sync) -> Duration {
        let spent = || cluster.data.iter().map(|node| processor_time(node.pid())).sum::<Duration>();
        let (next, before) = (AtomicUsize::new(0), spent());
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut connections = HashMap::new();
                    while let Some(place) = self.0.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let connect = |address| Connection::open(address, None).unwrap();
                        let address = whom(place);
                        let connection = connections.entry(address).or_insert_with(|| connect(address));
                        let ask = format!("GET {} HTTP/1.1\r\nhost: proxy\r\n\r\n", place.path);
                        connection.send(ask.as_bytes()).unwrap();
                        connection.read_response("GET").unwrap().expect(200);
                    }
                });
            }
        });
        spent().saturating_sub(before)
    }
}

/// Bytes that the nodes have had from each other.
fn borrowed(cluster: &Cluster) -> u64 {
    cluster.data.iter().map(|node| metric(node.admin(), "goproxy_peer_bytes_total")).sum()
}

fn holders(cluster: &Cluster, module: &str) -> Vec<usize> {
    let located = cluster.ctl(&["layout", "locate", module, "-o", "json"]).json();
    let names = located["owners"].as_array().unwrap();
    let number =
        |name: &serde_json::Value| cluster.data.iter().position(|node| *name == *node.name()).unwrap();
    names.iter().map(number).collect()
}
