//! Who is taken for dead, and who is back. A pure plan: the state machine has the last word, and brakes.

use std::time::{Duration, Instant};

use cluster::command::{MarkNode, NodeHealth};
use cluster::record::NodeState;
use cluster::{Command, Tables};

use crate::observed::Observed;

/// How recent a sign of life must be for a node that was down to count as back.
const BACK_WITHIN: Duration = Duration::from_secs(3);

/// What is to be proposed.
pub(super) fn plan(tables: &Tables, observed: &Observed, now: Instant) -> Vec<Command> {
    let Some(cluster) = &tables.cluster else { return Vec::new() };
    let mark = |name: &cluster::NodeName, health| Command::MarkNode(MarkNode { name: name.clone(), health });
    let mut back = Vec::new();
    let mut silent = Vec::new();
    let mut watched = 0usize;
    for node in tables.nodes.values() {
        let silence = observed.node_silence(&node.name, now);
        match node.state {
            NodeState::Down { .. } => {
                watched += 1;
                if silence <= BACK_WITHIN && observed.is_heard_again(&node.name) {
                    back.push(mark(&node.name, NodeHealth::Up));
                }
            }
            NodeState::Active | NodeState::Cordoned | NodeState::Draining => {
                watched += 1;
                if silence >= cluster.settings.dead_after() {
                    silent.push(mark(&node.name, NodeHealth::Down));
                }
            }
            NodeState::Staged(_) | NodeState::Joining | NodeState::Removing | NodeState::Removed => {}
        }
    }
    // Half of all nodes silent at once says more of us than of them: nobody is marked, the alarm tells.
    if is_storm(silent.len(), watched) {
        silent.clear();
    }
    back.extend(silent);
    back
}

/// Whether so many silent ones of so many nodes are no failures of single nodes.
pub(super) fn is_storm(silent: usize, watched: usize) -> bool {
    silent > 1 && silent * 2 > watched
}

#[cfg(test)]
mod tests {
    use cluster::record::Before;

    use super::super::bed::{clock, heard, node, tables};
    use super::*;

    fn marked(commands: &[Command]) -> Vec<(String, NodeHealth)> {
        commands
            .iter()
            .map(|command| {
                let Command::MarkNode(mark) = command else { panic!("{command:?}") };
                (mark.name.to_string(), mark.health)
            })
            .collect()
    }

    #[test]
    fn who_is_silent_for_long_is_marked_and_who_is_heard_again_is_back() {
        let clock = clock(Duration::from_mins(3));
        let mut tables = tables();
        let mut observed = Observed::new(clock.start);
        for name in ["data-1", "data-2", "data-3"] {
            let name = node(&mut tables, name, NodeState::Active);
            heard(&mut observed, &name, clock.now);
        }
        node(&mut tables, "silent", NodeState::Active);
        node(&mut tables, "never-placed", NodeState::Joining);
        let down = || NodeState::Down { before: Before::Active };
        let back = node(&mut tables, "back", down());
        let gone = node(&mut tables, "still-gone", down());
        // It said something just before somebody who knew better took it for dead.
        heard(&mut observed, &gone, clock.now);
        observed.are_down([&back, &gone].into_iter(), clock.now);
        let now = clock.now + Duration::from_millis(500);
        heard(&mut observed, &back, now);
        let expected = [("back".to_owned(), NodeHealth::Up), ("silent".to_owned(), NodeHealth::Down)];
        assert_eq!(marked(&plan(&tables, &observed, now)), expected);
    }

    #[test]
    fn a_leader_that_has_just_begun_marks_nobody() {
        let clock = clock(Duration::from_secs(119));
        let mut tables = tables();
        node(&mut tables, "data-1", NodeState::Active);
        let observed = Observed::new(clock.start);
        assert!(plan(&tables, &observed, clock.now).is_empty());
        assert_eq!(plan(&tables, &observed, clock.now + Duration::from_secs(1)).len(), 1);
    }

    #[test]
    fn when_most_are_silent_at_once_it_is_not_they_who_failed() {
        let clock = clock(Duration::from_mins(3));
        let mut tables = tables();
        let mut observed = Observed::new(clock.start);
        for number in 0..5 {
            let name = node(&mut tables, &format!("data-{number}"), NodeState::Active);
            if number < 2 {
                heard(&mut observed, &name, clock.now);
            }
        }
        assert!(plan(&tables, &observed, clock.now).is_empty());
    }
}
