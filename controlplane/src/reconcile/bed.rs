//! States for the tests of plans.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cluster::record::{
    Addresses, Binding, Certificate, Cluster, Job, JobState, LayoutRecord, Marked, Member, MemberState, Node,
    NodeState, Progress, Settings, TransitionRecord,
};
use cluster::{
    Address, ClusterId, Datacenter, Epoch, Generation, Hash, Incarnation, JobId, JobKind, Layout, LogId,
    MemberId, Name, NodeName, ReplicationFactor, Serial, Tables, Timestamp, Zone,
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

/// A job that runs since the beginning.
pub(crate) fn job(tables: &mut Tables, kind: &str, target: &str) {
    let id = JobId::new(tables.jobs.len() as u64 + 1);
    let job = Job {
        id,
        kind: JobKind::parse(kind).unwrap(),
        target: Name::parse(target).unwrap(),
        state: JobState::Running,
        progress: Progress::default(),
        started: Timestamp::default(),
        updated: Timestamp::default(),
        by: Name::parse("olga").unwrap(),
        message: None,
    };
    tables.jobs.insert(id, job);
}

/// Puts a layout of one replica in force, the slots in turn on these nodes; the one before is still in force.
pub(crate) fn layout(tables: &mut Tables, epoch: u64, names: &[NodeName]) {
    let replicas = ReplicationFactor::new(1).unwrap();
    let layout = Layout::from_fn(Epoch::new(epoch), replicas, |slot| {
        let at = usize::from(slot.number()) % names.len();
        vec![names[at].clone()]
    });
    let record = LayoutRecord {
        layout: Arc::new(layout.unwrap()),
        made: Timestamp::default(),
        by: Name::parse("olga").unwrap(),
        base: Epoch::default(),
        note: None,
    };
    let epoch = Epoch::new(epoch);
    tables.layouts.insert(epoch, record);
    let previous = tables.transition.map(|transition| transition.current);
    let (paused, since) = (false, Timestamp::default());
    tables.transition = Some(TransitionRecord { current: epoch, previous, paused, since });
}

/// A node said how much it has still to fetch.
pub(crate) fn said(observed: &mut Observed, name: &NodeName, bytes_left: u64, at: Instant) {
    let report = NodeReport { bytes_left, ..NodeReport::default() };
    observed.node(name.clone(), Seen { report, at, wall: SystemTime::UNIX_EPOCH });
}

/// What everything hashes to that was published.
pub(crate) const PUBLISHED: Hash = Hash::from_bytes([1; 32]);

/// `MODULE@VERSION` was published.
pub(crate) fn publish(tables: &mut Tables, text: &str) -> Marked {
    let version = Marked::parse(text).unwrap();
    let binding = Binding {
        version: version.clone(),
        zip_h1: PUBLISHED,
        go_mod_h1: PUBLISHED,
        since: Timestamp::default(),
        by: Name::parse("ci").unwrap(),
    };
    tables.bindings.insert(version.clone(), binding);
    version
}
