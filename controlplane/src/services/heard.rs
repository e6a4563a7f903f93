//! Who has heard of a change. Each data node says with its heartbeats which state of the records it goes by; the leader keeps what it said.

use std::time::{Duration, Instant};

use cluster::{NodeName, Tables};

use crate::control::Control;
use crate::sights::Sights;

/// How long data nodes are waited for at most: they hear of a change at once, and say so with the next heartbeat, a second later.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Between two looks at what they have said.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The nodes that have not said that they go by the state at `revision`, by name. Those that live are waited for, until `until` at most.
pub(super) async fn not_heard(control: &Control, revision: u64, until: Instant) -> Vec<NodeName> {
    let give_up = until.min(Instant::now() + WAIT_MAX);
    let look = |sights: &Sights| control.shared.read(|state| Behind::of(state.tables(), sights, revision));
    // Where the leader does not tell what it has seen, nobody is known to have heard.
    let mut behind = look(&Sights::default());
    loop {
        if let Ok(sights) = tokio::time::timeout_at(give_up.into(), control.sights()).await {
            behind = look(&sights);
        }
        if behind.living.is_empty() || Instant::now() + LOOK_INTERVAL >= give_up {
            return behind.all();
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The nodes that belong to the cluster and are not known to have heard.
#[derive(Debug, Default, PartialEq, Eq)]
struct Behind {
    /// They were heard of lately, or it is not known whether they were.
    living: Vec<NodeName>,
    /// They were not: whether they serve, and by what, is not known either.
    silent: Vec<NodeName>,
}

impl Behind {
    fn of(tables: &Tables, sights: &Sights, revision: u64) -> Self {
        let settings = tables.cluster.as_ref().map(|cluster| cluster.settings).unwrap_or_default();
        let mut behind = Self::default();
        for node in tables.nodes.values().filter(|node| node.state.is_admitted()) {
            if sights.node(&node.name).is_some_and(|sight| sight.revision >= revision) {
                continue;
            }
            let silence = sights.node_silence(&node.name);
            let lives =
                !node.state.is_away() && silence.is_none_or(|silence| silence < settings.suspect_after());
            let list = if lives { &mut behind.living } else { &mut behind.silent };
            list.push(node.name.clone());
        }
        behind
    }

    fn all(self) -> Vec<NodeName> {
        let Self { living: mut all, silent } = self;
        all.extend(silent);
        all.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use cluster::record::{Before, NodeState};

    use super::*;
    use crate::observed::{NodeReport, Observed, Seen};
    use crate::reconcile::bed;

    #[test]
    fn only_those_that_live_are_waited_for_and_all_that_have_not_heard_are_named() {
        let mut tables = bed::tables();
        let clock = bed::clock(Duration::from_mins(1));
        let mut observed = Observed::new(clock.start);
        let mut joined = |name: &str, state: NodeState, revision: u64, silence: u64| {
            let name = bed::node(&mut tables, name, state);
            let report = NodeReport { revision, ..NodeReport::default() };
            let at = clock.start + Duration::from_secs(60 - silence);
            observed.node(name.clone(), Seen { report, at, wall: SystemTime::UNIX_EPOCH });
            name
        };
        joined("knows", NodeState::Active, 7, 1);
        // What a node goes by does not become older.
        joined("knew", NodeState::Active, 8, 50);
        let late = joined("late", NodeState::Cordoned, 6, 1);
        let gone = joined("gone", NodeState::Draining, 6, 50);
        let down = joined("down", NodeState::Down { before: Before::Active }, 6, 1);
        joined("removed", NodeState::Removed, 0, 1);
        let behind = Behind::of(&tables, &Sights::of(&observed, clock.now), 7);
        assert_eq!(behind.living.as_slice(), std::slice::from_ref(&late));
        assert_eq!(behind.all(), [down, gone, late]);
        // Without a leader that tells, nobody is known to have heard, and nobody to be silent but who is down.
        let unknown = Behind::of(&tables, &Sights::default(), 7);
        assert_eq!((unknown.living.len(), unknown.silent.len()), (4, 1));
    }
}
