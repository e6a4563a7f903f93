//! Row 37: modules are published while slots move, nodes are cut off and end. What was said to be published is there, at once and at every node that
//! can be reached, by the layout before and by the one after.

use tests::chance::{Chance, rounds};
use tests::fault_proxy::FaultProxy;
use tests::{Cluster, Module, Origin};

use super::nodes::{cluster_with, get, settled};

const NODES: usize = 5;
const MODULES: usize = 4;
/// What is published in each state of the cluster.
const AT_ONCE: usize = 2;

/// What is done to a node: one at a time, so that two of three replicas are always there.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// No other node reaches it.
    CutOff,
    /// `kill -9`.
    Ended,
}

struct Scene {
    cluster: Cluster,
    proxies: Vec<FaultProxy>,
    chance: Chance,
    published: Vec<Module>,
    folder: tempfile::TempDir,
}

impl Scene {
    fn start(origin: &Origin, seed: u64) -> Self {
        let proxies = std::sync::Mutex::new(Vec::new());
        let cluster = cluster_with(origin, NODES, |node| {
            let proxy = FaultProxy::start(node.rpc());
            node.flag("--rpc-advertise", &proxy.address().to_string());
            node.flag("--private", "corp.example/*");
            for expected in ["cannot be reached", "a copy may be evicted yet"] {
                node.allow(expected);
            }
            proxies.lock().unwrap().push(proxy);
        });
        Self {
            cluster,
            proxies: proxies.into_inner().unwrap(),
            chance: Chance::new(seed),
            published: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Publishes some versions; what was said to be published is there at all nodes but this one.
    fn publish(&mut self, but: Option<usize>, when: &str) {
        for _ in 0..AT_ONCE {
            let number = self.published.len();
            let path = format!("corp.example/m{}", self.chance.below(MODULES));
            let module = Module::new(&path, &format!("v1.{number}.0")).filler(20_000);
            let zip = self.folder.path().join("module.zip");
            std::fs::write(&zip, module.zip()).unwrap();
            let told = self.cluster.ctl(&["module", "publish", &module.spec(), zip.to_str().unwrap()]);
            assert_eq!(told.code, 0, "{when}: {}", told.stderr);
            self.published.push(module);
            self.look(number, but, when);
        }
    }

    fn look(&self, number: usize, but: Option<usize>, when: &str) {
        let module = &self.published[number];
        for node in
            self.cluster.data.iter().enumerate().filter(|(at, _)| Some(*at) != but).map(|(_, node)| node)
        {
            let shown = format!("{} at {}, {when}", module.spec(), node.name());
            let zip = get(node, &module.url_path(".zip"));
            assert_eq!(zip.status, 200, "{shown}: {}", zip.text());
            assert!(zip.body == module.zip(), "{shown}: other bytes");
            let list = get(node, &format!("/{}/@v/list", module.path)).expect(200).text();
            assert!(list.lines().any(|line| line == module.version), "{shown}: not in its list: {list}");
        }
    }

    fn begin(&mut self, fault: Fault, victim: usize) {
        match fault {
            Fault::CutOff => self.proxies[victim].freeze(true),
            Fault::Ended => self.cluster.data[victim].kill9(),
        }
    }

    fn end(&mut self, fault: Fault, victim: usize) {
        match fault {
            Fault::CutOff => self.proxies[victim].freeze(false),
            Fault::Ended => {
                self.cluster.data[victim].start(&[]);
                self.cluster.data[victim].wait_ready();
            }
        }
    }

    fn node(&self, command: &str, number: usize) {
        self.cluster.ctl(&["node", command, self.cluster.data[number].name()]).code(0);
    }
}

#[test]
fn what_is_published_while_slots_move_and_nodes_fail_is_never_lost() {
    let origin = Origin::start();
    let seed = Chance::seed();
    println!("SEED={seed}");
    let mut scene = Scene::start(&origin, seed);
    for round in 0..rounds(3) {
        let (leaving, victim) = (scene.chance.below(NODES), scene.chance.below(NODES));
        let fault = [Fault::CutOff, Fault::Ended][scene.chance.below(2)];
        let when = |state: &str| {
            format!("round {round}, {fault:?} {}, leaving {}: {state}", victim + 1, leaving + 1)
        };
        scene.begin(fault, victim);
        scene.node("drain", leaving);
        scene.publish(Some(victim), &when("it leaves"));
        scene.end(fault, victim);
        scene.publish(None, &when("all are there"));
        let second = (victim + 1) % NODES;
        scene.begin(fault, second);
        scene.node("uncordon", leaving);
        scene.publish(Some(second), &when("it comes back"));
        scene.end(fault, second);
    }
    settled(&scene.cluster);
    for number in 0..scene.published.len() {
        scene.look(number, None, "in the end");
    }
}
