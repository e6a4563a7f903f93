//! Control nodes that do not reach the others: what they know may be old, and whoever follows them does not take it for the latest.

use std::time::Duration;

use tests::process::within;
use tests::{Cluster, Module, Network, Origin};

use super::nodes::{get, metric};

/// Until a data node has found out, and has gone to another control node.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

fn view_age(cluster: &Cluster) -> u64 {
    metric(cluster.data[0].admin(), "goproxy_cluster_view_age_seconds")
}

/// Three control nodes that can be cut off from one another, and a data node.
fn apart(origin: &Origin) -> Option<Cluster> {
    let mut cluster = Cluster::on(Network::of(3)?, 3);
    for node in &mut cluster.control {
        node.allow("raft: ");
    }
    cluster.add_node("data-1", "a", &origin.url());
    cluster.wait_state("data-1", "active");
    cluster.settled();
    Some(cluster)
}

/// Takes a module down through all of the three control nodes but one.
fn take_down_without(cluster: &Cluster, lonely: usize, module: &Module) {
    let together: Vec<_> =
        (0..3).filter(|at| *at != lonely).map(|at| cluster.control[at].rpc().to_string()).collect();
    let takedown = ["module", "takedown", &module.spec(), "--reason", "it steals keys", "--yes"];
    within(NOTICED_WITHIN, "the others agree", || {
        let told = cluster.ctl_at(&together.join(","), &takedown);
        // Done; done, though not every node has heard of it; or done before.
        [0, 3, 7].contains(&told.code).then_some(())
    });
    within(NOTICED_WITHIN, "it is taken down", || {
        (get(&cluster.data[0], &module.url_path(".zip")).status == 410).then_some(())
    });
}

/// Each of the three is cut off once, so that one of them is while the node follows it.
#[test]
fn a_takedown_comes_though_the_control_node_that_is_followed_is_cut_off() {
    let origin = Origin::start();
    let Some(cluster) = apart(&origin) else { return };
    for lonely in 0..3 {
        let module =
            Module::new(&format!("example.com/bad{lonely}"), "v1.0.0").file("bad.go", "package bad\n");
        origin.publish(&module);
        get(&cluster.data[0], &module.url_path(".zip")).expect(200);
        let network = cluster.network.as_ref().unwrap();
        network.isolate(lonely);
        take_down_without(&cluster, lonely, &module);
        network.heal();
        cluster.wait_voters(3);
    }
    within(NOTICED_WITHIN, "it is followed", || (view_age(&cluster) == 0).then_some(()));
}

/// Of the three only the one is left that did not hear of it.
#[test]
fn a_takedown_is_not_undone_by_a_control_node_that_has_not_heard_of_it() {
    let origin = Origin::start();
    let Some(mut cluster) = apart(&origin) else { return };
    let module = Module::new("example.com/bad", "v1.0.0").file("bad.go", "package bad\n");
    origin.publish(&module);
    get(&cluster.data[0], &module.url_path(".zip")).expect(200);
    cluster.network.as_ref().unwrap().isolate(0);
    take_down_without(&cluster, 0, &module);
    for at in [1, 2] {
        cluster.control[at].kill9();
    }
    let refused =
        |cluster: &Cluster| metric(cluster.data[0].admin(), "goproxy_cluster_views_refused_total") > 0;
    within(NOTICED_WITHIN, "what the one has is refused", || refused(&cluster).then_some(()));
    get(&cluster.data[0], &module.url_path(".zip")).expect(410);
    let before = view_age(&cluster);
    within(NOTICED_WITHIN, "what it goes by grows old", || (view_age(&cluster) > before).then_some(()));
    // On disk it is the same.
    cluster.data[0].kill9();
    cluster.data[0].start(&[]);
    cluster.data[0].wait_ready();
    within(NOTICED_WITHIN, "it is refused again", || refused(&cluster).then_some(()));
    get(&cluster.data[0], &module.url_path(".zip")).expect(410);
    cluster.network.as_ref().unwrap().heal();
    for at in [1, 2] {
        cluster.control[at].start(&[]);
    }
    cluster.wait_voters(3);
    within(NOTICED_WITHIN, "it is followed", || (view_age(&cluster) == 0).then_some(()));
    get(&cluster.data[0], &module.url_path(".zip")).expect(410);
}

#[test]
fn what_a_control_node_says_that_has_lost_the_others_is_not_the_latest() {
    let origin = Origin::start();
    let mut cluster = Cluster::of(2);
    for node in &mut cluster.control {
        node.allow("raft: ");
    }
    cluster.add_node("data-1", "a", &origin.url());
    cluster.wait_state("data-1", "active");
    cluster.settled();
    cluster.control[1].kill9();
    within(NOTICED_WITHIN, "what it goes by grows old", || (view_age(&cluster) >= 2).then_some(()));
    // It is asked again and again, and nothing comes of it: nobody has to be told that in the log, which this test judges.
    let before = view_age(&cluster);
    within(NOTICED_WITHIN, "and older", || (view_age(&cluster) >= before + 12).then_some(()));
    cluster.control[1].start(&[]);
    cluster.wait_voters(2);
    within(NOTICED_WITHIN, "it is followed again", || (view_age(&cluster) == 0).then_some(()));
}
