//! Policy documents in the state: compare-and-set, history, deletion.

use cluster::command::{DeletePolicy, PutPolicy};
use cluster::policy::Document;
use cluster::record::{POLICIES_MAX, POLICY_HISTORY_MAX};
use cluster::{Answer, Command, Generation, PolicyName, Refusal, RefusalCode};

use crate::support::{Cluster, t};

fn put(name: &str, expect: u64) -> Command {
    let document = Document::parse(br#"{"closed": [{"verbs": ["read"]}]}"#).unwrap();
    Command::PutPolicy(PutPolicy {
        name: t(name),
        expect_generation: Generation::new(expect),
        document,
        note: None,
    })
}

fn delete(name: &str, expect: u64) -> Command {
    Command::DeletePolicy(DeletePolicy { name: t(name), expect_generation: Generation::new(expect) })
}

#[test]
fn a_document_is_put_over_the_one_that_was_seen() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.done(put("p", 0)), Answer::Policy { generation: Generation::new(1) });
    let raced = cluster.refused(put("p", 0));
    assert!(matches!(raced, Refusal::WrongGeneration { .. }) && raced.code() == RefusalCode::WrongEpoch);
    cluster.done(put("p", 1));
    assert_eq!(cluster.refused(delete("p", 1)).code(), RefusalCode::WrongEpoch);
    assert_eq!(cluster.done(delete("p", 2)), Answer::Policy { generation: Generation::new(3) });
    assert_eq!(cluster.refused(delete("p", 3)).code(), RefusalCode::NotFound);
    // Deleted, it is none; but its generations go on, so that who saw the first cannot mistake it.
    assert_eq!(cluster.done(put("p", 0)), Answer::Policy { generation: Generation::new(4) });
    let kept = cluster.state.tables().generations_of(&t::<PolicyName>("p"));
    assert_eq!(kept, [1, 2, 3].map(Generation::new));
    cluster.assert_digest();
}

#[test]
fn a_document_that_makes_no_sense_is_refused() {
    let mut cluster = Cluster::new();
    let mut document = Document::parse(br#"{"roles": {"r": ["read"]}}"#).unwrap();
    document.bindings.push(cluster::policy::Binding {
        role: t("other"),
        subjects: [cluster::policy::Subject::Anyone].into(),
        modules: None,
    });
    let command = PutPolicy { name: t("p"), expect_generation: Generation::default(), document, note: None };
    let Refusal::Invalid { problems } = cluster.refused(Command::PutPolicy(command)) else {
        panic!("it is invalid");
    };
    assert_eq!(problems, ["bindings[0].role: no role of this document"]);
}

#[test]
fn history_and_names_are_bounded() {
    let mut cluster = Cluster::new();
    let turns = POLICY_HISTORY_MAX as u64 + 5;
    for generation in 0..turns {
        cluster.done(put("p", generation));
    }
    let kept = cluster.state.tables().generations_of(&t::<PolicyName>("p"));
    assert_eq!(kept.len(), POLICY_HISTORY_MAX);
    assert_eq!(*kept.last().unwrap(), Generation::new(turns - 1));
    for number in 1..POLICIES_MAX {
        cluster.done(put(&format!("q{number}"), 0));
    }
    assert!(matches!(cluster.refused(put("one-more", 0)), Refusal::Limit { max: POLICIES_MAX, .. }));
    cluster.done(delete("p", turns));
    cluster.done(put("one-more", 0));
    // With the deleted one its history is forgotten.
    assert_eq!(cluster.state.tables().generations_of(&t::<PolicyName>("p")), []);
    cluster.assert_digest();
}
