//! Data nodes through their life, and the storm brake.

use std::collections::{BTreeMap, BTreeSet};

use cluster::command::{
    AdmitNode, AlterSettings, AnnounceNode, CordonNode, DrainNode, LabelNode, NodeHealth, RemoveNode,
    ReplaceNode, StageNode, UncordonNode,
};
use cluster::record::{Before, NodeState};
use cluster::{ActorRole, Answer, Command, Epoch, Incarnation, NodeName, Refusal, RefusalCode};

use crate::support::{
    Cluster, HOUR_MS, MINUTE_MS, addresses, admit, announce, at, certificate, mark, replicas, report, secret,
    stage, t,
};

fn cordon(name: &str) -> Command {
    Command::CordonNode(CordonNode { name: t(name) })
}

fn uncordon(name: &str) -> Command {
    Command::UncordonNode(UncordonNode { name: t(name) })
}

fn drain(name: &str) -> Command {
    Command::DrainNode(DrainNode { name: t(name) })
}

fn remove(name: &str) -> Command {
    Command::RemoveNode(RemoveNode { name: t(name), force: false, counts_on: BTreeSet::new() })
}

fn settled(nodes: &[(&str, &str)], replication: u8) -> Cluster {
    let mut cluster = Cluster::with(replicas(replication));
    for (name, zone) in nodes {
        cluster.join(name, zone);
    }
    cluster.settle();
    cluster
}

#[test]
fn a_node_lives_from_staged_to_removed() {
    let mut cluster = settled(&[("a", "x")], 1);
    cluster.done(stage("b", "y", 0));
    assert!(matches!(cluster.node_state("b"), NodeState::Staged(_)));
    assert_eq!(cluster.refused(announce("b")).code(), RefusalCode::Precondition);
    cluster.done(admit("b", 0));
    assert_eq!(*cluster.node_state("b"), NodeState::Joining);
    // Nobody knows where it listens, so that no layout may have it.
    assert_eq!(cluster.planned().unwrap().nodes().len(), 1);
    assert_eq!(cluster.done(announce("b")), Answer::Node { incarnation: Incarnation::new(1) });
    cluster.settle();
    assert_eq!(*cluster.node_state("b"), NodeState::Active);
    assert!(matches!(cluster.refused(remove("b")), Refusal::WouldLoseData { slots: 2048, .. }));
    cluster.done(cordon("b"));
    assert_eq!(cluster.refused(cordon("b")).code(), RefusalCode::AlreadyThere);
    cluster.done(drain("b"));
    assert!(matches!(cluster.refused(cordon("b")), Refusal::WrongState { state: "draining", .. }));
    // Nobody is left to take what the last one holds.
    assert!(matches!(cluster.refused(drain("a")), Refusal::NobodyElse { .. }));
    cluster.done(cluster.apply_plan());
    // Until all have reported, what b holds may be nowhere else.
    assert_eq!(cluster.refused(remove("b")).code(), RefusalCode::WouldLoseData);
    cluster.report_all();
    cluster.done(remove("b"));
    assert_eq!(*cluster.node_state("b"), NodeState::Removed);
    assert_eq!(cluster.refused(announce("b")).code(), RefusalCode::Precondition);
    // The name may come again, and its starts are counted on.
    cluster.join("b", "y");
    let node = &cluster.state.tables().nodes[&t::<NodeName>("b")];
    assert_eq!((node.incarnation, &node.state), (Incarnation::new(2), &NodeState::Joining));
    cluster.assert_digest();
}

#[test]
fn a_node_that_did_not_hear_the_answer_is_let_in_again_with_its_key() {
    let mut cluster = Cluster::new();
    let admit_with = |key: &str| {
        let certificate = certificate("d1", 0);
        let key = Some(secret(key));
        Command::AdmitNode(AdmitNode { name: t("a"), secret: secret("a"), certificate, key })
    };
    cluster.done(stage("a", "x", 0));
    cluster.done(admit_with("key"));
    let joined = cluster.state.tables().nodes[&t::<NodeName>("a")].joined;
    assert!(joined.is_some());
    cluster.pass(MINUTE_MS);
    cluster.done(admit_with("key"));
    cluster.done(announce("a"));
    cluster.settle();
    cluster.done(admit_with("key"));
    let node = &cluster.state.tables().nodes[&t::<NodeName>("a")];
    assert_eq!((&node.state, node.joined), (&NodeState::Active, joined));
    assert!(matches!(cluster.refused(admit_with("another")), Refusal::WrongState { .. }));
    cluster.pass(HOUR_MS);
    assert!(matches!(cluster.refused(admit_with("key")), Refusal::SecretExpired { .. }));
    // What is remembered of it is not for data nodes.
    let told = cluster::View::load(cluster.state.revision(), cluster.state.records()).unwrap();
    assert!(told.nodes().all(|node| node.redeemed.is_none()));
}

#[test]
fn a_node_is_removed_by_force_and_gone_when_no_layout_has_it() {
    let mut cluster = settled(&[("a", "x"), ("b", "y"), ("c", "z")], 2);
    let force = |name: &str| {
        Command::RemoveNode(RemoveNode { name: t(name), force: true, counts_on: BTreeSet::new() })
    };
    cluster.done(force("b"));
    assert_eq!(*cluster.node_state("b"), NodeState::Removing);
    let node = &cluster.state.tables().nodes[&t::<NodeName>("b")];
    assert!(node.certificate.is_none() && !node.state.is_admitted(), "nobody listens to it");
    for deed in
        [announce("b"), report("b", 1), mark("b", NodeHealth::Up), cordon("b"), uncordon("b"), drain("b")]
    {
        assert_eq!(cluster.refused(deed.clone()).code(), RefusalCode::Precondition, "{deed:?}");
    }
    assert_eq!(cluster.refused(force("b")).code(), RefusalCode::AlreadyThere);
    assert_eq!(cluster.refused(stage("b", "y", 0)).code(), RefusalCode::AlreadyThere);
    // Another one may be where it was, before it is gone.
    cluster.done(stage("d", "y", 0));
    cluster.done(admit("d", 0));
    cluster.done(Command::AnnounceNode(AnnounceNode { name: t("d"), addresses: addresses("b") }));
    cluster.done(cluster.apply_plan());
    assert!(
        matches!(cluster.refused(remove("b")), Refusal::WouldLoseData { .. }),
        "two layouts are in force"
    );
    cluster.report_all();
    cluster.done(remove("b"));
    assert_eq!(*cluster.node_state("b"), NodeState::Removed);
    // Somebody has to take what it held; what holds nothing goes at once.
    let mut alone = settled(&[("a", "x")], 1);
    assert!(matches!(alone.refused(force("a")), Refusal::NobodyElse { .. }));
    alone.done(stage("b", "y", 0));
    alone.done(force("b"));
    assert_eq!(*alone.node_state("b"), NodeState::Removed);
    cluster.assert_digest();
}

#[test]
fn of_two_that_count_on_each_other_one_stays() {
    let mut cluster = settled(&[("a", "x"), ("b", "y"), ("c", "z")], 1);
    for name in ["a", "b"] {
        cluster.done(drain(name));
    }
    cluster.settle();
    let counting = |name: &str, on: &str| {
        Command::RemoveNode(RemoveNode { name: t(name), force: false, counts_on: BTreeSet::from([t(on)]) })
    };
    cluster.done(counting("a", "b"));
    let refused = cluster.refused(counting("b", "a"));
    assert_eq!(
        (&refused, refused.code()),
        (&Refusal::NoLongerThere { name: t("a") }, RefusalCode::WrongEpoch)
    );
    assert!(matches!(cluster.refused(counting("b", "nobody")), Refusal::NoLongerThere { .. }));
    cluster.done(counting("b", "c"));
    cluster.assert_digest();
}

#[test]
fn who_waits_for_an_operator_or_is_nowhere_takes_nothing_over() {
    let mut cluster = settled(&[("a", "x")], 1);
    let nobody = |cluster: &mut Cluster| {
        for command in [
            drain("a"),
            Command::RemoveNode(RemoveNode { name: t("a"), force: true, counts_on: BTreeSet::new() }),
        ] {
            assert!(matches!(cluster.refused(command), Refusal::NobodyElse { .. }));
        }
    };
    cluster.done(stage("b", "y", 0));
    cluster.done(admit("b", 0));
    nobody(&mut cluster);
    let Command::StageNode(staged) = stage("c", "y", 0) else { panic!("a stage") };
    cluster.done(Command::StageNode(StageNode { apply_on_join: false, ..staged }));
    cluster.done(admit("c", 0));
    cluster.done(announce("c"));
    nobody(&mut cluster);
    // The leader takes it in as soon as it is there.
    cluster.done(announce("b"));
    cluster.done(drain("a"));
}

#[test]
fn a_node_that_is_down_comes_back_as_it_was() {
    let mut cluster = settled(&[("a", "x"), ("b", "y"), ("c", "z")], 2);
    for (command, before) in
        [(None, Before::Active), (Some(cordon("b")), Before::Cordoned), (Some(drain("b")), Before::Draining)]
    {
        if let Some(command) = command {
            cluster.done(command);
        }
        cluster.done(mark("b", NodeHealth::Down));
        assert_eq!(*cluster.node_state("b"), NodeState::Down { before });
        assert_eq!(cluster.refused(mark("b", NodeHealth::Down)).code(), RefusalCode::AlreadyThere);
        cluster.done(mark("b", NodeHealth::Up));
        assert_eq!(*cluster.node_state("b"), before.into());
        assert_eq!(cluster.refused(mark("b", NodeHealth::Up)).code(), RefusalCode::AlreadyThere);
    }
    // What is said to it while it is down counts when it is back.
    cluster.done(mark("b", NodeHealth::Down));
    cluster.done(uncordon("b"));
    cluster.done(mark("b", NodeHealth::Up));
    assert_eq!(*cluster.node_state("b"), NodeState::Active);
}

#[test]
fn two_nodes_are_not_at_one_address_unless_one_is_down() {
    let mut cluster = settled(&[("a", "x"), ("b", "y")], 1);
    let at_b = Command::AnnounceNode(AnnounceNode { name: t("a"), addresses: addresses("b") });
    assert!(matches!(cluster.refused(at_b.clone()), Refusal::AddressTaken { .. }));
    cluster.done(mark("b", NodeHealth::Down));
    cluster.done(at_b);
    // b must say where it is before it is back.
    assert!(matches!(cluster.refused(mark("b", NodeHealth::Up)), Refusal::AddressTaken { .. }));
    cluster.done(Command::AnnounceNode(AnnounceNode { name: t("b"), addresses: addresses("a") }));
    cluster.done(mark("b", NodeHealth::Up));
    let one = cluster::record::Addresses { http: t("h:1"), rpc: t("h:1") };
    let both = Command::AnnounceNode(AnnounceNode { name: t("b"), addresses: one });
    assert_eq!(cluster.refused(both).code(), RefusalCode::Invalid);
}

#[test]
fn the_brake_lets_one_node_of_a_zone_go_in_ten_minutes() {
    let mut cluster = settled(&[("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")], 1);
    let down = |cluster: &mut Cluster, name: &str| {
        cluster.propose(ActorRole::System, mark(name, NodeHealth::Down)).result
    };
    down(&mut cluster, "a").unwrap();
    cluster.pass(MINUTE_MS);
    let braked = down(&mut cluster, "b").unwrap_err();
    assert_eq!(braked, Refusal::Braked { zone: t("x"), until: Some(at(10 * MINUTE_MS)) });
    assert_eq!(braked.code(), RefusalCode::Precondition);
    // Another zone, and an operator who knows, are free.
    down(&mut cluster, "d").unwrap();
    cluster.done(mark("b", NodeHealth::Down));
    cluster.pass(9 * MINUTE_MS);
    down(&mut cluster, "c").unwrap();
    // That a node came back does not open the brake.
    cluster.done(mark("a", NodeHealth::Up));
    assert!(down(&mut cluster, "a").is_err());
    cluster.pass(HOUR_MS);
    let pull = |pulled| {
        Command::AlterSettings(AlterSettings { storm_brake: Some(pulled), ..AlterSettings::default() })
    };
    cluster.done(pull(true));
    assert_eq!(down(&mut cluster, "a"), Err(Refusal::Braked { zone: t("x"), until: None }));
    cluster.done(pull(false));
    down(&mut cluster, "a").unwrap();
    cluster.assert_digest();
}

#[test]
fn a_node_takes_the_place_of_another() {
    let mut cluster = settled(&[("a", "x"), ("b", "y")], 2);
    cluster.join("c", "y");
    let replace = |by: &str, epoch| {
        Command::ReplaceNode(ReplaceNode { name: t("b"), by: t(by), expect_epoch: Epoch::new(epoch) })
    };
    assert_eq!(cluster.refused(replace("c", 7)).code(), RefusalCode::WrongEpoch);
    assert_eq!(cluster.refused(replace("a", 1)).code(), RefusalCode::Precondition);
    assert_eq!(cluster.done(replace("c", 1)), Answer::Layout { epoch: Epoch::new(2) });
    assert_eq!(
        (cluster.node_state("b"), cluster.node_state("c")),
        (&NodeState::Draining, &NodeState::Active)
    );
    let tables = cluster.state.tables();
    let (old, new) = (&tables.layouts[&Epoch::new(1)].layout, &tables.layouts[&Epoch::new(2)].layout);
    assert_eq!(new.nodes(), [t::<NodeName>("a"), t("c")]);
    for slot in cluster::Slot::all() {
        let renamed: Vec<NodeName> = old
            .replicas(slot)
            .iter()
            .map(|name| if name.as_str() == "b" { t("c") } else { name.clone() })
            .collect();
        assert_eq!(new.replicas(slot).to_vec(), renamed);
    }
    cluster.done(report("a", 2));
    assert_eq!(cluster.done(report("c", 2)), Answer::Sync { retired: true });
    cluster.done(remove("b"));
}

#[test]
fn labels_zone_and_weight_are_changed() {
    let mut cluster = settled(&[("a", "x")], 1);
    let label = |labels: &[(&str, Option<&str>)], zone: Option<&str>| {
        let labels: BTreeMap<_, _> = labels.iter().map(|(key, value)| (t(key), value.map(t))).collect();
        Command::LabelNode(LabelNode { name: t("a"), labels, zone: zone.map(t), weight: Some(7) })
    };
    cluster.done(label(&[("disk", Some("nvme")), ("row", Some("4"))], None));
    cluster.done(label(&[("row", None)], Some("y")));
    let node = &cluster.state.tables().nodes[&t::<NodeName>("a")];
    assert_eq!(node.labels, BTreeMap::from([(t("disk"), t("nvme"))]));
    assert_eq!((node.zone.as_str(), node.weight), ("y", 7));
    let audit = cluster.state.tables().audit.last_key_value().unwrap().1;
    assert_eq!(audit.command, "label-node");
    assert_eq!(audit.before.as_ref().unwrap().as_str(), "zone x weight 7 disk=nvme,row=4");
    assert_eq!(audit.after.as_ref().unwrap().as_str(), "zone y weight 7 disk=nvme");
    // What changes nothing leaves no trace.
    let outcome = cluster.propose(ActorRole::Admin, label(&[], Some("y")));
    assert_eq!((outcome.result, outcome.changes), (Ok(Answer::Done), Vec::new()));
}
