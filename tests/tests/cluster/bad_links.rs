//! Copies over links that are slow, and that break.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tests::fault_proxy::{FaultProxy, Spoil};
use tests::{Cluster, Module, Origin};

use super::nodes::{cluster_with, get, metric, owners};

/// The node that is far away.
const FAR: usize = 2;

struct Apart {
    origin: Origin,
    cluster: Cluster,
    proxies: Vec<FaultProxy>,
}

impl Apart {
    fn start() -> Self {
        let origin = Origin::start();
        let proxies = Mutex::new(Vec::new());
        let mut cluster = cluster_with(&origin, 3, |node| {
            let proxy = FaultProxy::start(node.rpc());
            node.flag("--rpc-advertise", &proxy.address().to_string());
            proxies.lock().unwrap().push(proxy);
        });
        for node in &mut cluster.data {
            node.allow("cannot be reached");
        }
        Self { origin, cluster, proxies: proxies.into_inner().unwrap() }
    }

    /// Modules that come while the far node is away; it is back when its links are like this. Gives back those that it should have.
    fn miss(&mut self, name: &str, count: usize, bytes: usize, links: Spoil) -> Vec<Module> {
        self.cluster.data[FAR].terminate();
        let modules: Vec<_> = (0..count)
            .map(|number| {
                let module = Module::new(&format!("example.com/{name}{number}"), "v1.0.0").filler(bytes);
                self.origin.publish(&module);
                for suffix in [".info", ".mod", ".zip"] {
                    get(&self.cluster.data[number % FAR], &module.url_path(suffix)).expect(200);
                }
                module
            })
            .collect();
        for proxy in &self.proxies[..FAR] {
            proxy.spoil(links);
        }
        self.cluster.data[FAR].start(&[]);
        self.cluster.data[FAR].wait_ready();
        // Copies of what can be fetched again are at the owner and at one more node.
        modules.into_iter().filter(|module| owners(&self.cluster, module)[..2].contains(&FAR)).collect()
    }

    /// Waits until the far node has so many zips. Nothing is asked of it, since what it is asked for it would borrow.
    fn wait(&self, zips: usize, time_max: Duration) {
        let begun = Instant::now();
        let held = || metric(self.cluster.data[FAR].admin(), "goproxy_store_zips") as usize;
        while held() < zips {
            assert!(begun.elapsed() < time_max, "{} of {zips} came", held());
            // waits for: the gauge, which is written every few seconds
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn received(&self) -> u64 {
        metric(self.cluster.data[FAR].admin(), "goproxy_peer_bytes_total")
    }
}

/// Row 30: a megabit and 200 ms.
#[test]
fn over_a_slow_link_copies_come_all_the_same() {
    const BYTES: usize = 400_000;
    let mut apart = Apart::start();
    let its = apart.miss("slow", 9, BYTES, Spoil::Drip(25_000, Duration::from_millis(200)));
    assert!(its.len() >= 2, "{}", its.len());
    // Meanwhile it serves what is asked of it.
    let begun = Instant::now();
    get(&apart.cluster.data[FAR], &its[0].url_path(".info")).expect(200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    apart.wait(its.len(), Duration::from_mins(1));
    let received = apart.received();
    assert!(
        received < (its.len() * BYTES * 13 / 10) as u64 + 100_000,
        "{received} bytes for {} zips",
        its.len()
    );
    for (number, module) in its.iter().enumerate() {
        assert_eq!(get(&apart.cluster.data[FAR], &module.url_path(".zip")).expect(200).body, module.zip());
        // What it was asked for while no copy came in time it may have fetched by itself.
        assert!(apart.origin.count(&module.url_path(".zip")) <= if number == 0 { 2 } else { 1 }, "{number}");
    }
}

/// Row 30: each connection breaks before a zip has passed.
#[test]
fn over_a_link_that_breaks_copies_go_on_where_they_were() {
    const BYTES: usize = 1_500_000;
    let mut apart = Apart::start();
    let its = apart.miss("broken", 6, BYTES, Spoil::Reset(700_000));
    assert!(!its.is_empty());
    apart.wait(its.len(), Duration::from_mins(1));
    let received = apart.received();
    assert!(
        received < (its.len() * BYTES * 13 / 10) as u64 + 100_000,
        "{received} bytes for {} zips",
        its.len()
    );
    for module in &its {
        assert_eq!(get(&apart.cluster.data[FAR], &module.url_path(".zip")).expect(200).body, module.zip());
        assert_eq!(apart.origin.count(&module.url_path(".zip")), 1);
    }
}
