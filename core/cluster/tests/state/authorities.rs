//! Certificate authorities: one signs, the next is trusted before it signs, the last until nobody needs it.

use cluster::command::{AddAuthority, Holder, RecordCertificate, RetireAuthority, SwitchAuthority};
use cluster::record::Certificate;
use cluster::{Answer, Blob, Command, Generation, Refusal, RefusalCode};

use crate::support::{Cluster, YEAR_MS, at, t};

fn add(text: &str) -> Command {
    let certificate = Blob::new(text.as_bytes());
    Command::AddAuthority(AddAuthority { certificate, sealed_key: Blob::new(b"sealed") })
}

fn switch(to: u64) -> Command {
    Command::SwitchAuthority(SwitchAuthority { to: Generation::new(to) })
}

fn retire(generation: u64) -> Command {
    Command::RetireAuthority(RetireAuthority { generation: Generation::new(generation) })
}

fn renew(holder: Holder, authority: u64) -> Command {
    let expires = at(2 * YEAR_MS);
    let certificate = Certificate { serial: t("f00d"), expires, authority: Generation::new(authority) };
    Command::RecordCertificate(RecordCertificate { holder, certificate })
}

#[test]
fn an_authority_is_changed_without_a_gap() {
    let mut cluster = Cluster::new();
    cluster.join("a", "x");
    let member = || Holder::Member(cluster::MemberId::ONE);
    assert_eq!(cluster.refused(add("certificate 1")).code(), RefusalCode::AlreadyThere);
    assert_eq!(cluster.done(add("certificate 2")), Answer::Authority { generation: Generation::new(2) });
    assert_eq!(cluster.refused(add("certificate 3")).code(), RefusalCode::AlreadyThere);
    // It does not sign yet.
    assert_eq!(cluster.refused(renew(member(), 2)).code(), RefusalCode::Invalid);
    assert_eq!(cluster.refused(retire(2)).code(), RefusalCode::Precondition);
    cluster.done(switch(2));
    assert_eq!(cluster.refused(switch(2)).code(), RefusalCode::Precondition);
    cluster.done(renew(member(), 2));
    let in_use = cluster.refused(retire(1));
    assert!(matches!(in_use, Refusal::WrongState { wanted: "somebody still has a certificate of it", .. }));
    cluster.done(renew(Holder::Node(t("a")), 2));
    cluster.done(retire(1));
    assert_eq!(cluster.refused(renew(member(), 1)).code(), RefusalCode::NotFound);
    assert_eq!(cluster.refused(renew(Holder::Node(t("b")), 2)).code(), RefusalCode::NotFound);
    assert_eq!(cluster.done(add("certificate 3")), Answer::Authority { generation: Generation::new(3) });
}

#[test]
fn certificates_and_keys_are_bounded() {
    let mut cluster = Cluster::new();
    let command = AddAuthority { certificate: Blob::new(&vec![0; 20_000]), sealed_key: Blob::default() };
    let Refusal::Invalid { problems } = cluster.refused(Command::AddAuthority(command)) else {
        panic!("it is invalid");
    };
    assert_eq!(problems.len(), 2, "{problems:?}");
}
