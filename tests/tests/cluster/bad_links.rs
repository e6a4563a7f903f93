//! Copies over links that break.

use std::time::Duration;

use tests::fault_proxy::{FaultProxy, Spoil};
use tests::process::{eventually, within};
use tests::{Cluster, Module, Origin};

use super::nodes::{cluster_behind_proxies, get, metric, owners};

struct Apart {
    /// The node that is far away: the last one.
    far: usize,
    origin: Origin,
    cluster: Cluster,
    proxies: Vec<FaultProxy>,
}

impl Apart {
    /// So many nodes, no more than hold a slot.
    fn start(nodes: usize) -> Self {
        let origin = Origin::start();
        let (mut cluster, proxies) = cluster_behind_proxies(&origin, nodes);
        let far = nodes - 1;
        for node in &mut cluster.data {
            node.allow("cannot be reached");
        }
        // Each holds every slot. One that had not come into sync would copy what is not its own to copy.
        let file = cluster.data[far].data_dir().join("synced");
        eventually("the far node is in sync", || {
            let slots = std::fs::read(&file).ok()?.get(16..16 + 512)?.to_vec();
            slots.iter().all(|byte| *byte == 0xff).then_some(())
        });
        Self { far, origin, cluster, proxies }
    }

    /// Modules that come while the far node is away; it is back when its links are like this. Gives back those that it should have.
    fn miss(&mut self, name: &str, count: usize, bytes: usize, links: Spoil) -> Vec<Module> {
        self.cluster.data[self.far].terminate();
        let modules: Vec<_> = (0..count)
            .map(|number| {
                let module = Module::new(&format!("example.com/{name}{number}"), "v1.0.0").filler(bytes);
                self.origin.publish(&module);
                for suffix in [".info", ".mod", ".zip"] {
                    get(&self.cluster.data[number % self.far], &module.url_path(suffix)).expect(200);
                }
                module
            })
            .collect();
        for proxy in &self.proxies[..self.far] {
            proxy.spoil(links);
        }
        self.cluster.data[self.far].start(&[]);
        self.cluster.data[self.far].wait_ready();
        // Copies of what can be fetched again are at the owner and at one more node.
        modules
            .into_iter()
            .filter(|module| owners(&self.cluster, module).iter().take(2).any(|owner| *owner == self.far))
            .collect()
    }

    /// Waits until the far node has these. Nothing is asked of it, since what it is asked for it would borrow.
    fn wait(&self, modules: &[Module], time_max: Duration) {
        within(time_max, "all copies come", || {
            let name = self.cluster.data[self.far].name();
            let has = |module: &Module| {
                let shown = self.cluster.ctl(&["module", "show", &module.path, "-o", "json"]).json();
                let copies = shown["versions"][0]["copies"].as_array().cloned().unwrap_or_default();
                copies.iter().any(|copy| copy["node"] == *name && copy["zip_size"].as_u64() > Some(0))
            };
            modules.iter().all(has).then_some(())
        });
    }

    fn received(&self) -> u64 {
        metric(self.cluster.data[self.far].admin(), "goproxy_peer_bytes_total")
    }
}

/// Row 30: each connection breaks before a zip has passed.
#[test]
fn over_a_link_that_breaks_copies_go_on_where_they_were() {
    const BYTES: usize = 1_500_000;
    let mut apart = Apart::start(3);
    let its = apart.miss("broken", 6, BYTES, Spoil::Reset(700_000));
    assert!(!its.is_empty());
    apart.wait(&its, Duration::from_mins(1));
    let received = apart.received();
    assert!(
        received < (its.len() * BYTES * 13 / 10) as u64 + 100_000,
        "{received} bytes for {} zips",
        its.len()
    );
    for module in &its {
        assert_eq!(
            get(&apart.cluster.data[apart.far], &module.url_path(".zip")).expect(200).body,
            module.zip()
        );
        assert_eq!(apart.origin.count(&module.url_path(".zip")), 1);
    }
}

/// Row 30: a link of a megabit, on which an answer takes 200 ms.
#[test]
fn over_a_narrow_link_copies_come_once() {
    const BYTES: usize = 500_000;
    // Just two nodes: what passes is for the far one.
    let mut apart = Apart::start(2);
    let its = apart.miss("narrow", 4, BYTES, Spoil::Narrow(125_000, Duration::from_millis(200)));
    assert_eq!(its.len(), 4);
    let passed = |apart: &Apart| apart.proxies[..apart.far].iter().map(FaultProxy::passed).sum::<u64>();
    let before = passed(&apart);
    apart.wait(&its, Duration::from_mins(2));
    let passed = passed(&apart) - before;
    // Besides the zips: what nodes say to each other in half a minute.
    assert!(passed < (its.len() * BYTES * 11 / 10) as u64 + 200_000, "{passed} bytes for {} zips", its.len());
}

/// What was offered while nothing could be fetched from those who offered it comes when that is so again.
#[test]
fn a_copy_that_failed_is_taken_later() {
    let mut apart = Apart::start(3);
    let its = apart.miss("late", 6, 1000, Spoil::Reset(0));
    assert!(!its.is_empty());
    within(Duration::from_mins(1), "all were told of, and failed to come", || {
        let waiting = |node: usize, work: &str| {
            let name = format!("goproxy_peer_copies_waiting{{work=\"{work}\"}}");
            metric(apart.cluster.data[node].admin(), &name)
        };
        let told = (0..apart.far).all(|node| waiting(node, "tell") == 0);
        (told && waiting(apart.far, "take") >= its.len() as u64).then_some(())
    });
    for proxy in &apart.proxies[..apart.far] {
        proxy.spoil(Spoil::Nothing);
    }
    apart.wait(&its, Duration::from_mins(1));
}
