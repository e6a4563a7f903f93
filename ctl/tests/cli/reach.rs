//! Servers that cannot be reached, do not lead, or break off: the next one is asked.

use identity::Who;
use proto::control::v1::*;
use proto::{ErrorCode, Fault};

use crate::bed::{Bed, authority, vouched};
use crate::data;
use crate::fake::Reply;

const STATUS: &str = "ClusterService/GetStatus";

fn status() -> GetStatusResponse {
    GetStatusResponse { status: Some(data::status()) }
}

#[test]
fn the_next_server_is_asked_when_one_cannot_be_reached() {
    let bed = Bed::new();
    data::well(&bed);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = format!("{free},{}", bed.fake.address);
    let run = bed.run(&["cluster", "status", "-v", "--server", &servers]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("connect: Connection refused"), "{}", run.stderr);
}

#[test]
fn the_leader_is_asked_even_if_nobody_named_it() {
    let mut bed = Bed::new();
    let leader = bed.another();
    let fault = Fault::new(ErrorCode::NotLeader, "control-2 leads").hint(leader.address.to_string());
    bed.fake.on("NodeService/DrainNode", vec![Reply::Refuse(fault)]);
    let drained = DrainNodeResponse { node: Some(data::node(1, NodeState::Draining)), job_id: String::new() };
    leader.on("NodeService/DrainNode", vec![Reply::say(&drained)]);
    let run = bed.run(&["node", "drain", "data-1"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let key = |asked: Vec<DrainNodeRequest>| asked[0].options.clone().unwrap().idempotency_key;
    let first = key(bed.fake.asked("NodeService/DrainNode"));
    assert_eq!(key(leader.asked("NodeService/DrainNode")), first);
}

#[test]
fn a_server_that_breaks_off_is_passed_over() {
    let mut bed = Bed::new();
    let other = bed.another();
    bed.fake.on(STATUS, vec![Reply::Cut]);
    other.on(STATUS, vec![Reply::say(&status())]);
    let servers = format!("{},{}", bed.fake.address, other.address);
    assert_eq!(bed.run(&["cluster", "status", "--server", &servers]).code, 0);
    assert_eq!(bed.fake.asked::<GetStatusRequest>(STATUS).len(), 1);
}

#[test]
fn an_election_is_waited_for_but_not_for_ever() {
    let bed = Bed::new();
    let no_quorum = Reply::refuse(ErrorCode::NoQuorum, "no leader is known");
    bed.fake.on(STATUS, vec![no_quorum.clone(), no_quorum.clone(), Reply::say(&status())]);
    assert_eq!(bed.run(&["cluster", "status"]).code, 0);
    bed.fake.on(STATUS, vec![no_quorum]);
    let run = bed.run(&["cluster", "status", "--timeout", "400ms"]);
    assert_eq!(run.code, 5, "{}", run.stderr);
}

#[test]
fn a_change_waits_for_a_server_to_come_back() {
    let bed = Bed::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = bed.run(&["node", "drain", "data-1", "--server", &free.to_string(), "--timeout", "300ms"]);
    assert_eq!(run.code, 6);
    assert!(
        run.stderr
            .starts_with("no server can be reached, trying for 300ms\nerror: no server can be reached\n"),
        "{}",
        run.stderr
    );
    // Nothing was sent, so there is nothing to find out.
    assert!(!run.stderr.contains("idempotency"), "{}", run.stderr);
}

#[test]
fn no_token_goes_to_a_server_of_another_authority() {
    let bed = Bed::new();
    data::well(&bed);
    let other = bed.file("other.pem", &authority().0);
    let run = bed.run(&["cluster", "status", "--ca", other.to_str().unwrap()]);
    insta::assert_snapshot!(run.transcript());
    assert!(bed.fake.authorizations().is_empty());
}

#[test]
fn no_token_goes_to_a_data_node() {
    let bed = Bed::new();
    let (ca, tls) = vouched(Who::Node("data-1".parse().unwrap()));
    let node = bed.apart(tls);
    let ca = bed.file("other.pem", &ca);
    let server = node.address.to_string();
    let run = bed.run(&["cluster", "status", "--server", &server, "--ca", ca.to_str().unwrap()]);
    assert_eq!(run.code, 6);
    assert!(
        run.stderr.contains("it is no control node: certificate is for node data-1, not a member"),
        "{}",
        run.stderr
    );
    assert!(node.authorizations().is_empty());
}

#[test]
fn what_speaks_no_tls_is_named() {
    let bed = Bed::new();
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut socket, _) = plain.accept().unwrap();
        let _ = socket.read(&mut [0; 512]);
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let run = bed.run(&["cluster", "status", "--server", &address]);
    answering.join().unwrap();
    assert_eq!(run.code, 6);
    assert!(run.stderr.contains("it does not speak TLS"), "{}", run.stderr);
}
