//! What data nodes see: the same whether loaded or followed, without anybody's secrets, and whole or not at all.

use cluster::command::{CreateToken, PutPolicy, RecoverCluster, StageNode};
use cluster::policy::{Document, Principal, Verb};
use cluster::record::{Key, Record};
use cluster::view::{change_for_nodes, concerns_nodes, for_nodes};
use cluster::{
    Change, Command, Epoch, Generation, MemberId, NodeName, Revision, Role, Slot, State, View, ViewError,
};
use proptest::prelude::*;

use crate::properties::run;
use crate::steps::steps;
use crate::support::{Cluster, MINUTE_MS, at, replicas, report, secret, t};

fn view(cluster: &Cluster) -> View {
    View::load(cluster.state.revision(), cluster.state.records()).unwrap()
}

fn moving() -> Cluster {
    let mut cluster = Cluster::with(replicas(2));
    for (name, zone) in [("a", "x"), ("b", "y"), ("c", "z")] {
        cluster.join(name, zone);
    }
    cluster.settle();
    cluster.join("d", "x");
    cluster.done(cluster.apply_plan());
    cluster
}

#[test]
fn a_module_is_found_by_both_layouts() {
    let mut cluster = moving();
    let view_while = view(&cluster);
    let (old, new) = {
        let layouts = &cluster.state.tables().layouts;
        (layouts[&Epoch::new(1)].layout.clone(), layouts[&Epoch::new(2)].layout.clone())
    };
    for number in 0..200 {
        let path = format!("example.com/m{number}");
        let found = view_while.locate(&path).unwrap();
        assert_eq!(found.slot, Slot::of(&path));
        assert_eq!((found.epoch, found.previous), (Epoch::new(2), Some(Epoch::new(1))));
        let mut wanted = new.replicas(found.slot).to_vec();
        wanted.extend(
            old.replicas(found.slot)
                .iter()
                .filter(|name| !wanted.contains(name))
                .cloned()
                .collect::<Vec<_>>(),
        );
        assert_eq!(found.owners, wanted);
    }
    for name in ["a", "b", "c", "d"] {
        cluster.done(report(name, 2));
    }
    let found = view(&cluster).locate("example.com/m").unwrap();
    assert_eq!((found.owners.len(), found.previous), (2, None));
    assert_eq!(view(&Cluster::new()).locate("example.com/m"), None);
}

#[test]
fn credentials_and_policy_are_judged_from_the_view() {
    let mut cluster = Cluster::new();
    let expires = Some(at(MINUTE_MS));
    cluster.done(Command::CreateToken(CreateToken {
        name: t("ci"),
        role: Role::Viewer,
        hash: secret("ci"),
        expires,
        groups: std::collections::BTreeSet::new(),
    }));
    let document = Document::parse(br#"{"closed": [{"verbs": ["read"], "modules": "a.b"}]}"#).unwrap();
    cluster.done(Command::PutPolicy(PutPolicy {
        name: t("p"),
        expect_generation: Generation::default(),
        document,
        note: None,
    }));
    let view = view(&cluster);
    assert_eq!(view.token(&secret("ci"), at(0)).unwrap().name.as_str(), "ci");
    assert_eq!(view.token(&secret("ci"), at(MINUTE_MS)), None);
    assert_eq!(view.token(&secret("guess"), at(0)), None);
    let module = gomod::ModulePath::parse("a.b/c").unwrap();
    assert!(!view.policies().decide(&Principal::anonymous(), Verb::Read, &module).allowed);
}

#[test]
fn what_does_not_fit_together_is_refused_as_a_whole() {
    let cluster = moving();
    let revision = cluster.state.revision();
    let good: Vec<Record> = cluster.state.records().filter_map(|record| for_nodes(&record)).collect();
    let whole = View::load(revision, good.clone()).unwrap();
    let without = |key: Key| good.iter().filter(move |record| record.key() != key).cloned();
    let load = |records: Vec<Record>| View::load(revision, records).unwrap_err();
    for key in [Key::Cluster, Key::Transition, Key::Layout(Epoch::new(1)), Key::Layout(Epoch::new(2))] {
        assert_eq!(load(without(key.clone()).collect()), ViewError::Missing(key));
    }
    let unknown = load(without(Key::Node(t("d"))).collect());
    assert_eq!(unknown, ViewError::UnknownNode { epoch: Epoch::new(2), node: t("d") });
    assert_eq!(load(without(Key::Authority(Generation::new(1))).collect()), ViewError::Authorities(0));
    let twice = load(good.iter().chain(&good[..1]).cloned().collect());
    assert_eq!(twice, ViewError::Twice(Key::Cluster));
    // A bad change leaves the view that there is.
    let gone = whole.with_changes(revision.next(), [Change::Delete(Key::Node(t("a")))]);
    assert!(matches!(gone, Err(ViewError::UnknownNode { .. })));
    let stray = {
        let mut record = cluster.state.tables().layouts[&Epoch::new(2)].clone();
        record.layout = std::sync::Arc::new(record.layout.renumbered(Epoch::new(9)));
        whole.with_changes(revision.next(), [Change::Put(Record::Layout(record))])
    };
    assert_eq!(stray, Err(ViewError::Stray(Epoch::new(9))));
    let old = whole.with_changes(Revision::new(1), []);
    assert!(matches!(old, Err(ViewError::Older { .. })));
    let mut other = cluster.state.tables().cluster.clone().unwrap();
    other.id = cluster::ClusterId::from_bytes([8; 16]);
    let other = whole.with_changes(revision.next(), [Change::Put(Record::Cluster(other))]);
    assert_eq!(other, Err(ViewError::OtherCluster));
}

#[test]
fn who_was_left_behind_by_a_recovery_is_not_followed() {
    let mut cluster = moving();
    let left_behind = view(&cluster);
    cluster.done(Command::RecoverCluster(RecoverCluster { member: MemberId::ONE }));
    let recovered = view(&cluster);
    assert_eq!(left_behind.check_successor(&recovered), Ok(()));
    let (offered, current) = (Generation::default(), Generation::new(1));
    let refused = Err(ViewError::LeftBehind { offered, current });
    assert_eq!(recovered.check_successor(&left_behind), refused);
    let old = left_behind.cluster().clone();
    let next = recovered.with_changes(recovered.revision().next(), [Change::Put(Record::Cluster(old))]);
    assert_eq!(next.map(drop), refused);
}

#[test]
fn nodes_get_no_secrets() {
    let mut cluster = moving();
    cluster.done(Command::StageNode(StageNode {
        name: t("e"),
        zone: t("x"),
        weight: 1,
        labels: std::collections::BTreeMap::new(),
        apply_on_join: false,
        secret: secret("hidden"),
        expires: at(MINUTE_MS),
    }));
    let view = view(&cluster);
    let text: String =
        view.records().map(|record| String::from_utf8_lossy(&record.encode()).into_owned()).collect();
    assert!(text.contains("\"d\"") && !text.contains(&secret("hidden").to_string()));
    assert!(
        !text.contains("sealed key")
            && view.authorities().all(|(_, authority)| authority.sealed_key.is_none())
    );
    assert_eq!(view.node(&t::<NodeName>("e")), None);
    assert_eq!((view.nodes().count(), view.members().count()), (4, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_view_that_follows_is_the_view_of_the_state(steps in steps(120), batch in 1_usize..20) {
        let cluster = run(&steps);
        let mut state = State::default();
        let mut followed: Option<View> = None;
        let mut waiting = Vec::new();
        let mut told = 0;
        for (at, (index, proposal)) in cluster.log.iter().enumerate() {
            let outcome = state.apply(*index, proposal);
            for change in &outcome.changes {
                let told_of = change_for_nodes(change);
                if let Some(told_of) = &told_of {
                    prop_assert!(concerns_nodes(&told_of.key()));
                    // What nodes are told is redacted once and for all.
                    let again = change_for_nodes(told_of);
                    prop_assert_eq!(again.as_ref(), Some(told_of));
                }
                told += usize::from(told_of.is_some());
                waiting.extend(told_of);
            }
            state.commit(*index, outcome.changes);
            followed = match followed {
                None => Some(View::load(*index, state.records()).unwrap()),
                Some(view) if at % batch == 0 => Some(view.with_changes(*index, waiting.drain(..)).unwrap()),
                Some(view) => Some(view),
            };
            if at == 0 {
                waiting.clear();
            }
        }
        let followed = followed.unwrap().with_changes(state.revision(), waiting).unwrap();
        let loaded = View::load(state.revision(), state.records()).unwrap();
        prop_assert_eq!(&followed, &loaded);
        // And from its own records, as after a restart without a control plane.
        prop_assert_eq!(&View::load(loaded.revision(), loaded.records()).unwrap(), &loaded);
        prop_assert!(told > 0);
    }
}
