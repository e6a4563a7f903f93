//! A cluster to propose things to, and short ways to say what.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;

use cluster::command::{
    AdmitNode, AnnounceNode, ApplyLayout, Bootstrap, MarkNode, NodeHealth, ReportSync, StageNode,
};
use cluster::record::{Addresses, Certificate, Key, NodeState, Settings};
use cluster::{
    Actor, ActorRole, Answer, Blob, Change, ClusterId, Command, Epoch, Generation, Hash, Layout, LogId,
    NodeName, Options, Outcome, Proposal, Record, Refusal, ReplicationFactor, RequestId, Revision, State,
    StateDigest, Timestamp, plan,
};

/// When the tests begin, in milliseconds.
pub(crate) const START_MS: u64 = 1_800_000_000_000;
pub(crate) const MINUTE_MS: u64 = 60_000;
pub(crate) const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Far enough away.
pub(crate) const YEAR_MS: u64 = 365 * 24 * HOUR_MS;

/// Reads anything that has a text.
pub(crate) fn t<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START_MS + millis)
}

/// The log of a member.
pub(crate) fn log_id(number: u64) -> LogId {
    LogId::from_bytes(u128::from(number).to_be_bytes())
}

pub(crate) fn secret(text: &str) -> Hash {
    Hash::of(text.as_bytes())
}

pub(crate) fn actor(role: ActorRole) -> Actor {
    let name = match role {
        ActorRole::Viewer => "vera",
        ActorRole::Operator => "olga",
        ActorRole::Admin => "ada",
        ActorRole::Node => "node",
        ActorRole::Member => "member",
        ActorRole::System => "health",
    };
    Actor { name: t(name), role }
}

/// A state, the log that made it, and a clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) log: Vec<(Revision, Proposal)>,
    /// Milliseconds since [`START_MS`].
    pub(crate) clock_ms: u64,
    pub(crate) index: u64,
}

impl Cluster {
    /// One that is bootstrapped.
    pub(crate) fn new() -> Self {
        Self::with(Settings::DEFAULT)
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let mut cluster = Self::default();
        let outcome = cluster.propose(ActorRole::Admin, Command::Bootstrap(Box::new(bootstrap(settings))));
        outcome.result.unwrap();
        cluster
    }

    pub(crate) fn proposal(&self, role: ActorRole, command: Command) -> Proposal {
        Proposal {
            request: RequestId::from_bytes(u128::from(self.index + 1).to_be_bytes()),
            key: None,
            actor: actor(role),
            at: at(self.clock_ms),
            why: None,
            command,
        }
    }

    pub(crate) fn propose(&mut self, role: ActorRole, command: Command) -> Outcome {
        self.commit(self.proposal(role, command))
    }

    /// What an operator does.
    pub(crate) fn done(&mut self, command: Command) -> Answer {
        self.propose(ActorRole::Admin, command).result.unwrap()
    }

    pub(crate) fn refused(&mut self, command: Command) -> Refusal {
        self.propose(ActorRole::Admin, command).result.unwrap_err()
    }

    /// Applies and commits, and looks at everything that holds for any proposal.
    pub(crate) fn commit(&mut self, proposal: Proposal) -> Outcome {
        self.index += 1;
        let index = Revision::new(self.index);
        let outcome = self.state.apply(index, &proposal);
        assert_eq!(self.state.apply(index, &proposal), outcome, "the same again");
        if outcome.result.is_err() {
            assert!(outcome.changes.is_empty(), "a refusal changes nothing: {outcome:?}");
        }
        for change in &outcome.changes {
            if let Change::Put(record) = change {
                let (key, value) = (record.key().encode(), record.encode());
                assert_eq!(Key::decode(&key).unwrap(), record.key());
                assert_eq!(&Record::decode(&key, &value).unwrap(), record);
            }
        }
        self.state.commit(index, outcome.changes.clone());
        let violations = self.state.check();
        assert!(violations.is_empty(), "{violations:?} after {proposal:?}");
        self.log.push((index, proposal));
        outcome
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.clock_ms += millis;
    }

    pub(crate) fn assert_digest(&self) {
        assert_eq!(self.state.digest(), StateDigest::of(self.state.records()));
    }

    pub(crate) fn node_state(&self, name: &str) -> &NodeState {
        &self.state.tables().nodes[&t::<NodeName>(name)].state
    }

    pub(crate) fn epochs(&self) -> (u64, Option<u64>) {
        let transition = self.state.tables().transition.unwrap();
        (transition.current.get(), transition.previous.map(Epoch::get))
    }

    /// A node that has joined and said where it listens.
    pub(crate) fn join(&mut self, name: &str, zone: &str) {
        self.done(stage(name, zone, self.clock_ms));
        self.done(admit(name, self.clock_ms));
        self.done(announce(name));
    }

    /// The layout that a leader would plan now.
    pub(crate) fn planned(&self) -> Option<Layout> {
        let tables = self.state.tables();
        let current = tables.layouts.get(&tables.transition.unwrap().current);
        let current = current.map(|record| record.layout.as_ref());
        let replication = tables.cluster.as_ref().unwrap().settings.replication;
        plan(current, &tables.candidates(), Options { replication }).ok()
    }

    pub(crate) fn apply_plan(&self) -> Command {
        let layout = Arc::new(self.planned().unwrap());
        let expect_epoch = self.state.tables().transition.unwrap().current;
        Command::ApplyLayout(ApplyLayout { expect_epoch, layout, note: None, sets_replication: false })
    }

    /// Applies what is planned, and lets every node report.
    pub(crate) fn settle(&mut self) {
        let command = self.apply_plan();
        self.done(command);
        self.report_all();
    }

    pub(crate) fn report_all(&mut self) {
        let tables = self.state.tables();
        let epoch = tables.transition.unwrap().current;
        let nodes = tables.layouts[&epoch].layout.nodes().to_vec();
        for node in nodes {
            self.done(Command::ReportSync(ReportSync { node, epoch }));
        }
    }
}

pub(crate) fn bootstrap(settings: Settings) -> Bootstrap {
    Bootstrap {
        cluster: ClusterId::from_bytes([7; 16]),
        datacenter: t("home"),
        settings,
        member: t("control-1"),
        rpc: t("10.0.0.1:8083"),
        log: log_id(1),
        certificate: certificate("c1", 0),
        authority: Blob::new(b"certificate 1"),
        sealed_key: Blob::new(b"sealed key 1"),
        token: t("admin"),
        token_hash: secret("admin"),
    }
}

pub(crate) fn replicas(count: u8) -> Settings {
    Settings { replication: ReplicationFactor::new(count).unwrap(), ..Settings::DEFAULT }
}

/// Of the first authority, good for a year.
pub(crate) fn certificate(serial: &str, now_ms: u64) -> Certificate {
    Certificate { serial: t(serial), expires: at(now_ms + YEAR_MS), authority: Generation::new(1) }
}

pub(crate) fn addresses(name: &str) -> Addresses {
    Addresses { http: t(&format!("{name}:8081")), rpc: t(&format!("{name}:8083")) }
}

pub(crate) fn stage(name: &str, zone: &str, now_ms: u64) -> Command {
    Command::StageNode(StageNode {
        name: t(name),
        zone: t(zone),
        weight: 100,
        labels: BTreeMap::new(),
        apply_on_join: true,
        secret: secret(name),
        expires: at(now_ms + HOUR_MS),
    })
}

pub(crate) fn admit(name: &str, now_ms: u64) -> Command {
    let certificate = certificate("d1", now_ms);
    Command::AdmitNode(AdmitNode { name: t(name), secret: secret(name), certificate, key: None })
}

pub(crate) fn announce(name: &str) -> Command {
    Command::AnnounceNode(AnnounceNode { name: t(name), addresses: addresses(name) })
}

pub(crate) fn mark(name: &str, health: NodeHealth) -> Command {
    Command::MarkNode(MarkNode { name: t(name), health })
}

pub(crate) fn report(name: &str, epoch: u64) -> Command {
    Command::ReportSync(ReportSync { node: t(name), epoch: Epoch::new(epoch) })
}
