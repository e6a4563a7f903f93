//! Operators' credentials: rotation with a grace time, revocation, expiry, and an admin who is not locked out.

use cluster::command::{CreateToken, RevokeToken, RotateToken};
use cluster::record::Token;
use cluster::{Answer, Command, Refusal, RefusalCode, Role, Timestamp, TokenId};

use crate::support::{Cluster, HOUR_MS, at, secret, t};

fn create(name: &str, role: Role, expires: Option<Timestamp>) -> Command {
    Command::CreateToken(CreateToken {
        name: t(name),
        role,
        hash: secret(name),
        expires,
        groups: std::collections::BTreeSet::new(),
    })
}

fn rotate(id: u64, text: &str, previous_until: Option<Timestamp>) -> Command {
    Command::RotateToken(RotateToken { id: TokenId::new(id), hash: secret(text), previous_until })
}

fn revoke(id: u64) -> Command {
    Command::RevokeToken(RevokeToken { id: TokenId::new(id) })
}

fn token(cluster: &Cluster, id: u64) -> &Token {
    &cluster.state.tables().tokens[&TokenId::new(id)]
}

#[test]
fn both_secrets_are_good_while_the_grace_time_lasts() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.done(create("ci", Role::Operator, None)), Answer::Token { id: TokenId::new(2) });
    assert_eq!(cluster.refused(create("ci", Role::Viewer, None)).code(), RefusalCode::Invalid);
    cluster.done(rotate(2, "ci-2", Some(at(HOUR_MS))));
    let (old, new) = (secret("ci"), secret("ci-2"));
    let accepts = |hash, millis| token(&cluster, 2).accepts(hash, at(millis));
    assert!(accepts(&old, 0) && accepts(&new, 0) && accepts(&old, HOUR_MS - 1));
    assert!(!accepts(&old, HOUR_MS) && accepts(&new, HOUR_MS) && !accepts(&secret("other"), 0));
    // A secret that somebody has is not taken twice.
    assert_eq!(cluster.refused(rotate(1, "ci", None)).code(), RefusalCode::Invalid);
    cluster.done(rotate(2, "ci-3", None));
    assert!(!token(&cluster, 2).accepts(&new, at(0)));
    cluster.done(revoke(2));
    assert!(!token(&cluster, 2).accepts(&secret("ci-3"), at(0)));
    assert_eq!(cluster.refused(revoke(2)).code(), RefusalCode::AlreadyThere);
    assert_eq!(cluster.refused(rotate(2, "ci-4", None)).code(), RefusalCode::Precondition);
    assert_eq!(cluster.refused(revoke(7)).code(), RefusalCode::NotFound);
}

#[test]
fn nobody_locks_everybody_out() {
    let mut cluster = Cluster::new();
    cluster.done(create("ops", Role::Operator, None));
    assert!(matches!(cluster.refused(revoke(1)), Refusal::Last { .. }));
    cluster.done(create("ada", Role::Admin, Some(at(HOUR_MS))));
    cluster.pass(HOUR_MS);
    assert!(matches!(cluster.refused(revoke(1)), Refusal::Last { .. }), "the other one has expired");
    cluster.pass(1);
    // An expired credential leaves its name to another.
    let another = Command::CreateToken(CreateToken {
        name: t("ada"),
        role: Role::Admin,
        hash: secret("ada-2"),
        expires: None,
        groups: std::collections::BTreeSet::new(),
    });
    assert_eq!(cluster.done(another), Answer::Token { id: TokenId::new(4) });
    assert!(token(&cluster, 3).revoked.is_some());
    cluster.done(revoke(1));
    let past = create("late", Role::Viewer, Some(at(0)));
    assert_eq!(cluster.refused(past).code(), RefusalCode::Invalid);
}
