//! A published version has one content, for good.

use cluster::command::{BindVersion, PutMark};
use cluster::record::MarkKind;
use cluster::{ActorRole, Answer, Command, Epoch, Refusal, RefusalCode};

use crate::support::{Cluster, secret, t};

fn bind(version: &str, content: &str, epoch: u64) -> Command {
    Command::BindVersion(BindVersion {
        version: t(version),
        zip_h1: secret(content),
        go_mod_h1: secret("go.mod"),
        expect_epoch: Epoch::new(epoch),
    })
}

fn refused(cluster: &mut Cluster, command: Command) -> Refusal {
    cluster.propose(ActorRole::Operator, command).result.unwrap_err()
}

#[test]
fn the_first_content_stays() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.done(bind("corp.example/a@v1.0.0", "one", 0)), Answer::Done);
    let bound = cluster.state.tables().bindings.clone();
    assert_eq!(bound.len(), 1);
    // The same again is fine, whatever the layout is by now.
    assert_eq!(cluster.done(bind("corp.example/a@v1.0.0", "one", 7)), Answer::Done);
    let other = refused(&mut cluster, bind("corp.example/a@v1.0.0", "two", 0));
    assert_eq!(other.code(), RefusalCode::AlreadyThere, "{other}");
    assert_eq!(cluster.state.tables().bindings, bound);
    cluster.done(bind("corp.example/a@v1.0.1", "two", 0));
    assert_eq!(cluster.state.tables().bindings.len(), 2);
}

#[test]
fn what_was_stored_by_another_layout_is_not_bound() {
    let mut cluster = Cluster::new();
    let refusal = refused(&mut cluster, bind("corp.example/a@v1.0.0", "one", 7));
    assert_eq!(refusal.code(), RefusalCode::WrongEpoch);
    assert!(cluster.state.tables().bindings.is_empty());
}

#[test]
fn what_was_taken_down_is_not_published_again() {
    let mut cluster = Cluster::new();
    let whole = Command::PutMark(PutMark { about: t("corp.example/evil"), kind: MarkKind::TakenDown });
    cluster.propose(ActorRole::Admin, whole).result.unwrap();
    let refusal = refused(&mut cluster, bind("corp.example/evil@v1.0.0", "one", 0));
    assert_eq!(refusal.code(), RefusalCode::Precondition);
    assert_eq!(refused(&mut cluster, bind("corp.example/good", "one", 0)).code(), RefusalCode::Invalid);
}
