//! Layouts: put in force by compare-and-set, two at once while slots move, retired when every node has reported.

use std::collections::BTreeSet;
use std::sync::Arc;

use cluster::command::{
    AlterSettings, ApplyLayout, CordonNode, DrainNode, NodeHealth, PauseLayout, RemoveNode, ResumeLayout,
    RevertLayout, UncordonNode,
};
use cluster::record::{Before, LAYOUT_HISTORY_MAX, NodeState};
use cluster::{
    Answer, Command, Epoch, Layout, NodeName, Options, Refusal, RefusalCode, ReplicationFactor, plan,
};

use crate::support::{Cluster, mark, replicas, report, t};

fn cluster(nodes: usize) -> Cluster {
    let mut cluster = Cluster::with(replicas(2));
    for number in 0..nodes {
        cluster.join(&format!("n{number}"), &format!("z{}", number % 3));
    }
    cluster.settle();
    cluster
}

fn revert(expect: u64, to: u64) -> Command {
    Command::RevertLayout(RevertLayout { expect_epoch: Epoch::new(expect), to: Epoch::new(to) })
}

#[test]
fn two_operators_do_not_race() {
    let mut cluster = cluster(3);
    cluster.join("n3", "z0");
    let (one, other) = (cluster.apply_plan(), cluster.apply_plan());
    assert_eq!(cluster.done(one), Answer::Layout { epoch: Epoch::new(2) });
    let late = cluster.refused(other);
    assert_eq!(late, Refusal::WrongEpoch { expected: Epoch::new(1), current: Epoch::new(2) });
}

#[test]
fn the_old_layout_retires_when_all_have_reported() {
    let mut cluster = cluster(3);
    assert_eq!(cluster.epochs(), (1, None));
    cluster.join("n3", "z0");
    cluster.done(cluster.apply_plan());
    assert_eq!(cluster.epochs(), (2, Some(1)));
    for name in ["n0", "n1", "n2"] {
        assert_eq!(cluster.done(report(name, 2)), Answer::Sync { retired: false });
    }
    // A report of an older layout, and one again, are nothing.
    cluster.done(report("n3", 1));
    cluster.done(report("n2", 1));
    assert_eq!(cluster.epochs(), (2, Some(1)));
    assert_eq!(cluster.refused(report("n3", 3)).code(), RefusalCode::WrongEpoch);
    assert_eq!(cluster.done(report("n3", 2)), Answer::Sync { retired: true });
    assert_eq!(cluster.epochs(), (2, None));
    let tables = cluster.state.tables();
    assert_eq!(tables.layout_history.keys().collect::<Vec<_>>(), [&Epoch::new(1)]);
    assert_eq!(tables.layouts.keys().collect::<Vec<_>>(), [&Epoch::new(2)]);
}

#[test]
fn a_node_that_dies_during_a_move_does_not_cost_the_layout_that_has_everything() {
    let mut cluster = cluster(3);
    cluster.join("n3", "z0");
    cluster.done(cluster.apply_plan());
    cluster.done(mark("n3", NodeHealth::Down));
    for name in ["n0", "n1", "n2"] {
        cluster.done(report(name, 2));
    }
    // n3 had not everything: epoch 1 stays, and what is planned without n3 moves from there.
    assert_eq!(cluster.epochs(), (2, Some(1)));
    cluster.done(cluster.apply_plan());
    assert_eq!(cluster.epochs(), (3, Some(1)));
    assert!(cluster.state.tables().layout_history.contains_key(&Epoch::new(2)));
    cluster.report_all();
    assert_eq!(cluster.epochs(), (3, None));
    cluster.done(Command::RemoveNode(RemoveNode { name: t("n3"), force: false, counts_on: BTreeSet::new() }));
}

#[test]
fn what_is_no_sound_layout_is_refused() {
    let mut cluster = cluster(3);
    let apply = |layout: Layout| {
        let layout = Arc::new(layout);
        let expect_epoch = Epoch::new(1);
        Command::ApplyLayout(ApplyLayout { expect_epoch, layout, note: None, sets_replication: false })
    };
    let replicas = |count| ReplicationFactor::new(count).unwrap();
    let planned = cluster.planned().unwrap();
    let layout = |epoch, count, names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| t(name)).collect();
        Layout::from_fn(Epoch::new(epoch), replicas(count), |_| names.clone()).unwrap()
    };
    for (bad, why) in [
        (planned.renumbered(Epoch::new(3)), "the layout has epoch 3 instead of 2"),
        (layout(2, 3, &["n0", "n1", "n2"]), "the layout is for 3 replicas instead of 2"),
        (layout(2, 2, &["n0", "gone"]), "4096 slots are on node gone, which is not known"),
        (layout(2, 2, &["n0"]), "slot 0 has 1 replicas instead of 2"),
        (layout(2, 2, &["n0", "n0"]), "slot 0 is on node n0 twice"),
    ] {
        let Refusal::Invalid { problems } = cluster.refused(apply(bad)) else { panic!("{why}") };
        assert!(problems.iter().any(|problem| problem == why), "{problems:?}");
    }
    cluster.done(apply(planned));
}

#[test]
fn a_former_layout_comes_back_under_a_new_number() {
    let mut cluster = cluster(3);
    cluster.join("n3", "z0");
    cluster.settle();
    assert_eq!(cluster.refused(revert(2, 2)).code(), RefusalCode::AlreadyThere);
    assert_eq!(cluster.refused(revert(2, 9)).code(), RefusalCode::NotFound);
    assert_eq!(cluster.refused(revert(1, 1)).code(), RefusalCode::WrongEpoch);
    cluster.done(revert(2, 1));
    let tables = cluster.state.tables();
    let first = &tables.layout_history[&Epoch::new(1)].layout;
    assert_eq!(*tables.layouts[&Epoch::new(3)].layout, first.renumbered(Epoch::new(3)));
    cluster.report_all();
    // Not to nodes that are gone.
    cluster.done(Command::RemoveNode(RemoveNode { name: t("n3"), force: false, counts_on: BTreeSet::new() }));
    assert_eq!(cluster.refused(revert(3, 2)).code(), RefusalCode::Invalid);
    assert_eq!(cluster.epochs(), (3, None));
}

#[test]
fn a_former_layout_comes_back_with_its_replicas() {
    let mut cluster = cluster(3);
    let replication = ReplicationFactor::new(1);
    cluster.done(Command::AlterSettings(AlterSettings { replication, ..AlterSettings::default() }));
    cluster.settle();
    assert_eq!(replication_of(&cluster), 1);
    cluster.done(revert(2, 1));
    assert_eq!(replication_of(&cluster), 2);
    let audit = cluster.state.tables().audit.last_key_value().unwrap().1;
    assert_eq!(audit.after.as_ref().unwrap().as_str(), "epoch 3 as 1, 2 replicas");
    cluster.report_all();
    // What would be planned now is what there is.
    let planned = cluster.planned().unwrap();
    assert_eq!(*cluster.state.tables().layouts[&Epoch::new(3)].layout, planned.renumbered(Epoch::new(3)));
}

#[test]
fn who_loses_everything_by_going_back_is_cordoned() {
    let mut cluster = cluster(3);
    cluster.done(Command::CordonNode(CordonNode { name: t("n2") }));
    for name in ["n3", "n4", "n5"] {
        cluster.join(name, "z0");
    }
    cluster.settle();
    cluster.done(mark("n4", NodeHealth::Down));
    cluster.done(Command::DrainNode(DrainNode { name: t("n5") }));
    cluster.done(revert(2, 1));
    let states = ["n0", "n2", "n3", "n4", "n5"].map(|name| cluster.node_state(name).clone());
    let down = NodeState::Down { before: Before::Cordoned };
    let (active, cordoned) = (NodeState::Active, NodeState::Cordoned);
    assert_eq!(states, [active, cordoned.clone(), cordoned, down, NodeState::Draining]);
    let reason = |name: &str| cluster.state.tables().nodes[&t::<NodeName>(name)].reason.clone();
    assert_eq!(reason("n3"), Some(t("the layout was reverted")));
    cluster.report_all();
    let holds = |cluster: &Cluster, layout: Layout| {
        assert_eq!(layout.nodes().contains(&t("n3")), *cluster.node_state("n3") == NodeState::Active);
    };
    holds(&cluster, cluster.planned().unwrap());
    cluster.done(Command::UncordonNode(UncordonNode { name: t("n3") }));
    holds(&cluster, cluster.planned().unwrap());
    cluster.assert_digest();
}

#[test]
fn a_layout_and_its_replicas_come_together_or_not_at_all() {
    let mut cluster = cluster(3);
    let apply = |cluster: &Cluster, count| {
        let tables = cluster.state.tables();
        let replication = ReplicationFactor::new(count).unwrap();
        let current = &tables.layouts[&Epoch::new(1)].layout;
        let planned = plan(Some(&**current), &tables.candidates(), Options { replication }).unwrap();
        let (expect_epoch, layout) = (Epoch::new(1), Arc::new(planned));
        ApplyLayout { expect_epoch, layout, note: None, sets_replication: true }
    };
    cluster.done(Command::PauseLayout(PauseLayout {}));
    let three = Command::ApplyLayout(apply(&cluster, 3));
    assert_eq!(cluster.refused(three.clone()), Refusal::Paused);
    cluster.done(Command::ResumeLayout(ResumeLayout {}));
    let late = ApplyLayout { expect_epoch: Epoch::new(7), ..apply(&cluster, 3) };
    assert_eq!(cluster.refused(Command::ApplyLayout(late)).code(), RefusalCode::WrongEpoch);
    let silent = ApplyLayout { sets_replication: false, ..apply(&cluster, 3) };
    assert_eq!(cluster.refused(Command::ApplyLayout(silent)).code(), RefusalCode::Invalid);
    assert_eq!(replication_of(&cluster), 2);
    cluster.done(three);
    assert_eq!((replication_of(&cluster), cluster.epochs()), (3, (2, Some(1))));
    let audit = cluster.state.tables().audit.last_key_value().unwrap().1;
    assert_eq!(audit.after.as_ref().unwrap().as_str(), "epoch 2 with 3 nodes, 3 replicas");
    cluster.assert_digest();
}

fn replication_of(cluster: &Cluster) -> u8 {
    cluster.state.tables().cluster.as_ref().unwrap().settings.replication.get()
}

#[test]
fn nothing_new_is_put_in_force_while_it_is_paused() {
    let mut cluster = cluster(3);
    let (pause, resume) = (Command::PauseLayout(PauseLayout {}), Command::ResumeLayout(ResumeLayout {}));
    assert_eq!(cluster.refused(resume.clone()).code(), RefusalCode::AlreadyThere);
    cluster.done(pause.clone());
    assert_eq!(cluster.refused(pause).code(), RefusalCode::AlreadyThere);
    cluster.done(Command::DrainNode(DrainNode { name: t("n0") }));
    assert_eq!(cluster.refused(cluster.apply_plan()), Refusal::Paused);
    cluster.done(resume);
    cluster.settle();
}

#[test]
fn history_is_bounded_and_the_layout_that_slots_move_from_is_not_history() {
    let mut cluster = cluster(2);
    let turns = LAYOUT_HISTORY_MAX as u64 + 9;
    assert_eq!(cluster.epochs(), (1, None));
    // From here on nobody reports.
    cluster.done(cluster.apply_plan());
    for epoch in 2..=turns {
        cluster.done(revert(epoch, 1));
        assert_eq!(cluster.epochs(), (epoch + 1, Some(1)));
    }
    assert_eq!(cluster.state.tables().layout_history.len(), LAYOUT_HISTORY_MAX);
    cluster.report_all();
    assert_eq!(cluster.epochs(), (turns + 1, None));
    // The oldest are gone, the one just retired among them.
    assert_eq!(cluster.state.tables().layout_history.len(), LAYOUT_HISTORY_MAX);
    assert_eq!(cluster.refused(revert(turns + 1, 1)).code(), RefusalCode::NotFound);
}
