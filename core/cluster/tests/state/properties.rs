//! What holds for any log. [`Cluster::commit`] looks at each proposal: a refusal changes nothing, every change reads back, and the
//! invariants hold.

use std::collections::BTreeMap;

use cluster::record::{Before, NodeState};
use cluster::{Change, Command, Proposal, Refusal, State};
use proptest::prelude::*;

use crate::steps::{Step, steps};
use crate::support::{Cluster, replicas};

/// What the steps make of a cluster.
pub(crate) fn run(steps: &[Step]) -> Cluster {
    let mut cluster = Cluster::with(replicas(2));
    for step in steps {
        step.take(&mut cluster);
    }
    cluster
}

/// The state after the log, which is read from its bytes, applied to a state that is snapshotted and loaded after every so
/// many entries.
fn replayed(cluster: &Cluster, batch: usize, payload_bytes: usize) -> State {
    let mut state = State::default();
    for entries in cluster.log.chunks(batch) {
        for (index, proposal) in entries {
            let read = Proposal::decode(&proposal.encode().unwrap()).unwrap();
            assert_eq!(&read, proposal);
            let outcome = state.apply(*index, &read);
            state.commit(*index, outcome.changes);
        }
        let mut assembler = cluster::Assembler::default();
        for chunk in state.snapshot_in(payload_bytes) {
            assembler.push(&chunk).unwrap();
        }
        let loaded = assembler.finish().unwrap();
        assert_eq!(loaded, state);
        state = loaded;
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_log_makes_one_state_however_it_is_cut(
        steps in steps(150), batch in 1_usize..60, payload_bytes in prop_oneof![20_usize..2_000, Just(100_000)],
    ) {
        let cluster = run(&steps);
        cluster.assert_digest();
        let again = replayed(&cluster, batch, payload_bytes);
        prop_assert_eq!(again.digest(), cluster.state.digest());
        prop_assert!(again.records().eq(cluster.state.records()));
        prop_assert_eq!(again, cluster.state);
    }

    #[test]
    fn records_come_in_the_order_of_their_keys(steps in steps(100)) {
        let cluster = run(&steps);
        let keys: Vec<_> = cluster.state.records().map(|record| record.key()).collect();
        prop_assert!(keys.is_sorted_by(|one, next| one < next));
        let bytes: Vec<_> = keys.iter().map(cluster::Key::encode).collect();
        prop_assert!(bytes.is_sorted_by(|one, next| one < next));
        prop_assert_eq!(keys.len(), cluster.state.tables().len());
        for key in &keys {
            prop_assert!(cluster.state.tables().has(key));
            prop_assert_eq!(&cluster.state.tables().get(key).unwrap().key(), key);
        }
    }

    #[test]
    fn a_request_with_its_key_is_carried_out_once(steps in steps(60), at in any::<prop::sample::Index>()) {
        let mut cluster = run(&steps);
        let remembered: Vec<_> = cluster.state.tables().remembered.values().cloned().collect();
        prop_assume!(!remembered.is_empty());
        let once = at.get(&remembered);
        let first = cluster.log.iter().find(|(index, _)| *index == once.revision).unwrap().1.clone();
        let over = cluster.state.now() >= once.at.after(cluster::record::REMEMBERED_FOR);
        prop_assume!(!over);
        let digest = cluster.state.digest();
        let again = cluster.commit(first);
        prop_assert_eq!(again.result, Ok(once.answer));
        prop_assert_eq!(cluster.state.digest(), digest);
    }
}

/// Numbers that look random and are the same on every run (xorshift).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as u32
    }

    fn step(&mut self) -> Step {
        let [what, pick, value, pass] = std::array::from_fn(|_| self.next());
        Step { what, pick, value, odd: self.next() % 100, pass }
    }
}

/// The steps are of use only if they get everywhere.
#[test]
fn the_steps_lead_far() {
    let mut accepted: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut refused: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 1_u64..=24 {
        let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut cluster = Cluster::with(replicas(2));
        for _ in 0..500 {
            let outcome = draw.step().take(&mut cluster);
            let name = cluster.log.last().unwrap().1.command.name();
            match &outcome.result {
                Ok(_) => *accepted.entry(name).or_default() += usize::from(!outcome.changes.is_empty()),
                Err(refusal) => *refused.entry(variant(refusal)).or_default() += 1,
            }
            note(&cluster, &outcome.changes, &mut met);
        }
        cluster.assert_digest();
    }
    println!("accepted {accepted:#?}\nrefused {refused:#?}\nmet {met:#?}");
    let never = |name: &&str| accepted.get(*name).copied().unwrap_or_default() < 10;
    let all = COMMANDS.iter().filter(|name| **name != "bootstrap");
    assert_eq!(all.filter(|name| never(name)).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(refused.len() >= 16, "{refused:?}");
    for wanted in [
        "active",
        "cordoned",
        "draining",
        "down from draining",
        "removed",
        "transition of 3 or more",
        "retired",
    ] {
        assert!(met.get(wanted).copied().unwrap_or_default() >= 10, "{wanted}");
    }
}

fn note(cluster: &Cluster, changes: &[Change], met: &mut BTreeMap<String, usize>) {
    let mut meet = |what: &str| *met.entry(what.to_owned()).or_default() += 1;
    for change in changes {
        match change {
            Change::Put(cluster::Record::Node(node)) => {
                meet(node.state.name());
                if node.state == (NodeState::Down { before: Before::Draining }) {
                    meet("down from draining");
                }
            }
            Change::Put(cluster::Record::Transition(transition)) => {
                let apart =
                    transition.previous.map_or(0, |previous| transition.current.get() - previous.get());
                if apart >= 3 {
                    meet("transition of 3 or more");
                }
                let before = cluster.log.last().map(|(_, proposal)| &proposal.command);
                if transition.previous.is_none() && matches!(before, Some(Command::ReportSync(_))) {
                    meet("retired");
                }
            }
            Change::Put(_) | Change::Delete(_) => {}
        }
    }
}

fn variant(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotBootstrapped => "not bootstrapped",
        Refusal::Bootstrapped => "bootstrapped",
        Refusal::NotFound { .. } => "not found",
        Refusal::AlreadyThere { .. } => "already there",
        Refusal::AddressTaken { .. } => "address taken",
        Refusal::WrongEpoch { .. } => "wrong epoch",
        Refusal::WrongGeneration { .. } => "wrong generation",
        Refusal::WrongState { .. } => "wrong state",
        Refusal::WrongSecret { .. } => "wrong secret",
        Refusal::SecretExpired { .. } => "secret expired",
        Refusal::Last { .. } => "last",
        Refusal::WouldLoseData { .. } => "would lose data",
        Refusal::NobodyElse { .. } => "nobody else",
        Refusal::NoLongerThere { .. } => "no longer there",
        Refusal::Braked { .. } => "braked",
        Refusal::Paused => "paused",
        Refusal::Limit { .. } => "limit",
        Refusal::KeyReused { .. } => "key reused",
        Refusal::Invalid { .. } => "invalid",
    }
}

/// Every command, by name.
pub(crate) const COMMANDS: [&str; 41] = [
    "put-mark",
    "clear-mark",
    "record-deed",
    "bind-version",
    "recover-cluster",
    "bootstrap",
    "stage-member",
    "admit-member",
    "promote-member",
    "remove-member",
    "move-member",
    "stage-node",
    "admit-node",
    "announce-node",
    "cordon-node",
    "uncordon-node",
    "drain-node",
    "mark-node",
    "remove-node",
    "replace-node",
    "label-node",
    "apply-layout",
    "revert-layout",
    "report-sync",
    "pause-layout",
    "resume-layout",
    "put-policy",
    "delete-policy",
    "create-token",
    "rotate-token",
    "revoke-token",
    "raise-alarm",
    "clear-alarm",
    "start-job",
    "advance-job",
    "finish-job",
    "add-authority",
    "switch-authority",
    "retire-authority",
    "record-certificate",
    "alter-settings",
];
