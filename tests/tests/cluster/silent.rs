//! A machine that falls silent: no connection to it is closed, and nothing comes from it any more.

use std::time::{Duration, Instant};

use tests::balancer::{Balancer, Program};
use tests::developers::Developers;
use tests::{Cluster, Network, Origin, twice};

/// Longer than that nobody waits for it.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_machine_falls_silent_behind_balancers_and_no_go_command_fails() {
    // Without root there are no machines.
    let Some(network) = Network::of(6) else { return };
    let origin = Origin::start_at(network.here());
    let mut cluster = Cluster::on(network, 1);
    for (host, zone) in (1..).zip(["a", "b", "c"]) {
        cluster.add_node_on(host, &format!("data-{host}"), zone, &origin.url()).allow("cannot be reached");
    }
    for host in 1..=3 {
        cluster.wait_state(&format!("data-{host}"), "active");
    }
    cluster.settled();
    for node in &mut cluster.data {
        for line in ["no control node", "control plane", "heartbeat"] {
            node.allow(line);
        }
    }
    let balancers = [(4, Program::Nginx), (5, Program::Haproxy)]
        .map(|(host, program)| Balancer::start_on(host, program, &cluster));
    let proxies = balancers.each_ref().map(|balancer| twice(&balancer.url()));
    let developers = Developers::new(6);
    developers.shelf().stock(&origin, "warm", 12);
    let network = cluster.network.as_ref().expect("hosts");
    developers.work(6, &proxies, 1, || {
        developers.go_on(12, Duration::ZERO);
        for host in [2, 3] {
            developers.shelf().stock(&origin, &format!("while{host}"), 6);
            network.plug(host, false);
            let silent = Instant::now();
            developers.go_on(12, Duration::ZERO);
            println!("data-{host} fell silent: all got on after {:.1} s", silent.elapsed().as_secs_f64());
            assert!(silent.elapsed() < NOTICED_WITHIN, "{:?}", silent.elapsed());
            network.plug(host, true);
            cluster.wait_state(&format!("data-{host}"), "active");
            developers.go_on(12, Duration::ZERO);
        }
    });
}
