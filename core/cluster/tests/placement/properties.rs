//! What holds for any cluster.

use cluster::layout::{Finding, Severity, check};
use cluster::{Layout, Standing, diff};
use proptest::prelude::*;

use crate::optimum::moves_least;
use crate::support::{Node, assert_sound, candidates, name, owners_off_by, planned};

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 50_u32..200, 1 => 1_u32..10_000, 1 => Just(100)]
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let node = (0_usize..6, weight());
    prop::collection::vec(node, 1..40).prop_map(|nodes| {
        nodes.into_iter().enumerate().map(|(at, (zone, weight))| Node::new(at, zone, weight)).collect()
    })
}

/// Something an operator, or bad luck, does to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Add(usize, u32),
    Remove(usize),
    Leave(usize),
    Replace(usize),
    Weigh(usize, u32),
    LoseZone(usize),
    Move(usize, usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_usize..6, weight()).prop_map(|(zone, weight)| Event::Add(zone, weight)),
        any::<usize>().prop_map(Event::Remove),
        any::<usize>().prop_map(Event::Leave),
        any::<usize>().prop_map(Event::Replace),
        (any::<usize>(), weight()).prop_map(|(at, weight)| Event::Weigh(at, weight)),
        (0_usize..6).prop_map(Event::LoseZone),
        (any::<usize>(), 0_usize..6).prop_map(|(at, zone)| Event::Move(at, zone)),
    ]
}

/// What is left after an event; nothing happens where nobody would be left.
fn happen(nodes: &[Node], event: &Event, fresh: usize) -> Vec<Node> {
    let mut after = nodes.to_vec();
    let at = |at: &usize| at % nodes.len();
    match event {
        Event::Add(zone, weight) => after.push(Node::new(fresh, *zone, *weight)),
        Event::Remove(node) => drop(after.remove(at(node))),
        Event::Leave(node) => after[at(node)].standing = Standing::Leaving,
        Event::Replace(node) => after[at(node)].name = fresh,
        Event::Weigh(node, weight) => after[at(node)].weight = *weight,
        Event::LoseZone(zone) => after.retain(|node| node.zone != *zone),
        Event::Move(node, zone) => after[at(node)].zone = *zone,
    }
    let staying = after.iter().any(|node| node.standing == Standing::Taking);
    if staying { after } else { nodes.to_vec() }
}

fn assert_stable(layout: &Layout, nodes: &[Node], replication: u8) {
    let again = planned(Some(layout), nodes, replication);
    assert!(diff(layout, &again).is_empty());
    assert_eq!(again.epoch(), layout.epoch().next());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_cluster_is_planned_soundly_and_stays(nodes in nodes(), replication in 1_u8..=5) {
        let layout = planned(None, &nodes, replication);
        assert_sound(&layout, &nodes, usize::from(replication));
        assert_stable(&layout, &nodes, replication);
        prop_assert_eq!(Layout::decode(&layout.encode()), Ok(layout.clone()));
        let errors = check(&layout, &candidates(&nodes));
        prop_assert!(errors.iter().all(|finding| finding.severity() == Severity::Warning), "{:?}", errors);
        let off = owners_off_by(&layout, &nodes);
        prop_assert!(off <= 0.0, "owners are off by {}", off);
    }

    #[test]
    fn the_order_of_candidates_is_nothing(nodes in nodes(), event in event(), seed: u64) {
        let shuffled = |nodes: &[Node]| {
            let mut nodes = nodes.to_vec();
            nodes.sort_by_key(|node| (node.name as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            nodes
        };
        let after = happen(&nodes, &event, 1_000);
        let one = planned(None, &nodes, 3);
        let other = planned(None, &shuffled(&nodes), 3);
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(planned(Some(&one), &after, 3), planned(Some(&other), &shuffled(&after), 3));
    }

    #[test]
    fn whatever_happens_no_more_moves_than_must(
        nodes in nodes(),
        events in prop::collection::vec(event(), 1..4),
        replication in 1_u8..=5,
    ) {
        let mut nodes = nodes;
        let mut layout = planned(None, &nodes, replication);
        for (at, event) in events.iter().enumerate() {
            nodes = happen(&nodes, event, 1_000 + at);
            let after = planned(Some(&layout), &nodes, replication);
            assert_sound(&after, &nodes, usize::from(replication));
            assert_stable(&after, &nodes, replication);
            let moved = diff(&layout, &after).replicas_moved;
            let least = moves_least(&layout, &after, &nodes, usize::from(replication));
            prop_assert_eq!(moved, least, "for {:?}", event);
            layout = after;
        }
    }

    #[test]
    fn a_node_that_keeps_gets_nothing_new(
        nodes in nodes(),
        keeping in prop::collection::vec(any::<usize>(), 1..4),
        event in event(),
        replication in 1_u8..=5,
    ) {
        let before = planned(None, &nodes, replication);
        let mut nodes = nodes;
        for at in &keeping {
            let at = at % nodes.len();
            nodes[at].standing = Standing::Keeping;
        }
        // Somebody must take what the others lose.
        nodes.push(Node::new(900, 0, 100));
        let nodes = happen(&nodes, &event, 1_000);
        let after = planned(Some(&before), &nodes, replication);
        let kept: Vec<_> = nodes.iter().filter(|node| node.standing == Standing::Keeping).map(|node| name(node.name)).collect();
        for change in diff(&before, &after).changes {
            prop_assert!(change.gained().all(|node| !kept.contains(node)), "{:?}", change);
        }
        for finding in check(&after, &candidates(&nodes)) {
            let spread = !matches!(finding, Finding::PoorlySpread { .. });
            prop_assert!(spread && finding.severity() == Severity::Warning, "{}", finding);
        }
        assert_stable(&after, &nodes, replication);
    }
}
