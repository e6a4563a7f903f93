//! States for the tests of plans.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use cluster::record::{Addresses, Certificate, Cluster, Member, MemberState, Node, NodeState, Settings};
use cluster::{
    Address, ClusterId, Datacenter, Generation, Incarnation, LogId, MemberId, NodeName, Serial, Tables,
    Timestamp, Zone,
};

use crate::observed::{NodeReport, Observed, Seen};

/// When the leader began to lead, and what time it is now.
pub(crate) struct Clock {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
}

pub(crate) fn clock(passed: Duration) -> Clock {
    let start = Instant::now();
    Clock { start, now: start + passed }
}

pub(crate) fn tables() -> Tables {
    let cluster = Cluster {
        id: ClusterId::from_bytes([1; 16]),
        datacenter: Datacenter::parse("home").unwrap(),
        created: Timestamp::default(),
        settings: Settings::DEFAULT,
        recovery: Generation::default(),
    };
    Tables { cluster: Some(cluster), ..Tables::default() }
}

fn certificate() -> Certificate {
    let year = Duration::from_hours(365 * 24);
    Certificate {
        serial: Serial::parse("1").unwrap(),
        expires: Timestamp::default().after(year),
        authority: Generation::new(1),
    }
}

pub(crate) fn node(tables: &mut Tables, name: &str, state: NodeState) -> NodeName {
    let name = NodeName::parse(name).unwrap();
    let address = |port: u16| Address::parse(&format!("{name}:{port}")).unwrap();
    let node = Node {
        name: name.clone(),
        zone: Zone::parse("a").unwrap(),
        weight: 100,
        labels: BTreeMap::new(),
        state,
        apply_on_join: true,
        addresses: Some(Addresses { http: address(8081), rpc: address(8083) }),
        incarnation: Incarnation::new(1),
        certificate: Some(Box::new(certificate())),
        created: Timestamp::default(),
        since: Timestamp::default(),
        reason: None,
        joined: None,
        replaces: None,
        redeemed: None,
    };
    tables.nodes.insert(name.clone(), node);
    name
}

pub(crate) fn member(tables: &mut Tables, number: u64, state: MemberState) -> MemberId {
    let id = MemberId::new(number).unwrap();
    let member = Member {
        id,
        name: NodeName::parse(&format!("control-{number}")).unwrap(),
        rpc: Some(Address::parse(&format!("control-{number}:8083")).unwrap()),
        log: Some(LogId::from_bytes(u128::from(number).to_be_bytes())),
        state,
        certificate: Some(certificate()),
        created: Timestamp::default(),
        since: Timestamp::default(),
        reason: None,
        redeemed: None,
    };
    tables.members.insert(id, member);
    id
}

pub(crate) fn heard(observed: &mut Observed, name: &NodeName, at: Instant) {
    let seen = Seen { report: NodeReport::default(), at, wall: SystemTime::UNIX_EPOCH };
    observed.node(name.clone(), seen);
}
