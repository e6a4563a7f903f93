//! What data nodes cost the control plane, and how soon they hear of a change.

use std::time::{Duration, Instant};

use proto::control::v1::layout_service_client::LayoutServiceClient;
use proto::control::v1::node_service_client::NodeServiceClient;
use proto::control::v1::{ApplyLayoutRequest, GetLayoutStatusRequest, LabelNodeRequest, LayoutState};
use tests::chance::is_soak;
use tests::fleet::{self, Fleet};
use tests::operator::options;
use tests::process::eventually;
use tests::usage::{cores_over, resident_bytes};
use tests::{Cluster, Node, Operator, rpc};
use tokio::runtime::Runtime;

/// Data nodes of a long run, and of an ordinary one.
const NODES: usize = 1_000;
const FEW_NODES: usize = 50;
/// A change of the layout is with all of them.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// Shares of one core: of the leader that all of them beat to and follow, and of a control node with nothing to do.
const LEADER_CORES_MAX: f64 = 0.25;
const IDLE_CORES_MAX: f64 = 0.01;
/// Memory of a control node with nothing to do.
const IDLE_BYTES_MAX: u64 = 80 << 20;
/// How long processor time is counted.
const LOOK: Duration = Duration::from_secs(20);
const QUICK_LOOK: Duration = Duration::from_secs(2);
/// Planning for a thousand nodes takes its time.
const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn many_data_nodes_hear_of_a_layout_soon_and_cost_the_leader_little() {
    let _turn = crate::alone();
    let (count, look) = if is_soak() { (NODES, LOOK) } else { (FEW_NODES, QUICK_LOOK) };
    let cluster = crate::shipped();
    lead(&cluster);
    let runtime = Runtime::new().unwrap();
    let operator = {
        let _inside = runtime.enter();
        cluster.operator(TIMEOUT)
    };
    let authorities = std::fs::read_to_string(cluster.credentials().join("ca.pem")).unwrap();
    let servers: Vec<_> = cluster.control.iter().map(Node::rpc).collect();
    let begun = Instant::now();
    let fleet = Fleet::join(&runtime, &operator, &authorities, &servers, count);
    println!("{count} nodes have joined in {:?}", begun.elapsed());
    apply(&runtime, &operator, 1);
    settle(&runtime, &operator, &fleet, 1);
    // While they joined, they took this machine's processors, and somebody else may have been elected.
    lead(&cluster);
    let heavier = LabelNodeRequest {
        options: options("heavier", ""),
        name: fleet::name(0),
        weight: Some(200),
        ..LabelNodeRequest::default()
    };
    runtime.block_on(operator.call(0, heavier, rpc!(NodeServiceClient::label_node))).unwrap();
    let asked = Instant::now();
    apply(&runtime, &operator, 2);
    let applied = Instant::now();
    let heard = eventually("all nodes hear of the layout", || fleet.all_at(2));
    let (since_asked, since_applied) = (heard - asked, heard.saturating_duration_since(applied));
    println!(
        "a layout reached all {count} nodes {since_applied:?} after it was in force, {since_asked:?} after it was asked for"
    );
    settle(&runtime, &operator, &fleet, 2);
    let pids: Vec<_> = cluster.control.iter().map(Node::pid).collect();
    let cores = eventually("the leader leads for as long as it is looked at", || {
        lead(&cluster);
        let cores = cores_over(&pids, look);
        (cluster.leader() == 0).then_some(cores)
    });
    let resident = resident_bytes(cluster.control[0].pid()) >> 20;
    println!(
        "with {count} nodes the leader takes {:.1} % of a core and {resident} MiB; the others {:.1} % and {:.1} %",
        cores[0] * 100.0,
        cores[1] * 100.0,
        cores[2] * 100.0
    );
    if crate::is_asked_for() {
        assert!(since_applied < HEARD_WITHIN, "{since_applied:?}");
        assert!(cores[0] < LEADER_CORES_MAX, "{cores:?}");
    }
}

#[test]
fn a_control_node_with_nothing_to_do_does_next_to_nothing() {
    let _turn = crate::alone();
    if !is_soak() {
        println!("takes a while to measure: run `make soak`");
        return;
    }
    let cluster = crate::shipped();
    let pids: Vec<_> = cluster.control.iter().map(Node::pid).collect();
    let cores = cores_over(&pids, LOOK);
    let resident: Vec<_> = pids.iter().map(|pid| resident_bytes(*pid)).collect();
    for (node, (cores, bytes)) in cluster.control.iter().zip(cores.iter().zip(&resident)) {
        println!("{} idle: {:.2} % of a core, {} MiB", node.name(), cores * 100.0, bytes >> 20);
    }
    if crate::is_asked_for() {
        assert!(cores.iter().all(|cores| *cores < IDLE_CORES_MAX), "{cores:?}");
        assert!(resident.iter().all(|bytes| *bytes < IDLE_BYTES_MAX), "{resident:?}");
    }
}

/// The node that all data nodes follow leads as well: the most that one can have to do.
fn lead(cluster: &Cluster) {
    if cluster.leader() != 0 {
        cluster.ctl(&["cluster", "transfer-leader", "control-1"]).code(0);
        eventually("control-1 leads", || (cluster.leader() == 0).then_some(()));
    }
}

fn apply(runtime: &Runtime, operator: &Operator, expected_epoch: u64) {
    let key = format!("layout-{expected_epoch}");
    let request = ApplyLayoutRequest { options: options(&key, ""), expected_epoch, replication_factor: 0 };
    runtime.block_on(operator.call(0, request, rpc!(LayoutServiceClient::apply_layout))).unwrap();
}

/// Waits until all nodes have the layout and the control plane knows that.
fn settle(runtime: &Runtime, operator: &Operator, fleet: &Fleet, epoch: u64) {
    eventually("all nodes have the layout", || fleet.all_at(epoch));
    eventually("the layout is settled", || {
        let asking =
            operator.call(0, GetLayoutStatusRequest {}, rpc!(LayoutServiceClient::get_layout_status));
        let status = runtime.block_on(asking).ok()?.status?;
        (status.state() == LayoutState::Stable).then_some(())
    });
}
