//! Steps at random that still lead far: most of what is proposed fits what is there, some of it is nonsense, some comes twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::command::{
    AddAuthority, AdmitMember, AdmitNode, AdvanceJob, AlterSettings, AnnounceNode, ApplyLayout, BindVersion,
    Bootstrap, ClearAlarm, ClearMark, CordonNode, CreateToken, DeletePolicy, DrainNode, FinishJob, Holder,
    LabelNode, MarkNode, MoveMember, NodeHealth, PauseLayout, PromoteMember, PutMark, PutPolicy, RaiseAlarm,
    RecordCertificate, RecordDeed, RecoverCluster, RemoveMember, RemoveNode, ReplaceNode, ReportSync,
    ResumeLayout, RetireAuthority, RevertLayout, RevokeToken, RotateToken, StageMember, StageNode, StartJob,
    SwitchAuthority, UncordonNode,
};
use cluster::policy::Document;
use cluster::record::{
    Addresses, AlarmSeverity, AuthorityState, Certificate, JobState, MarkKind, MemberState, Node, NodeState,
    Progress, Settings,
};
use cluster::{
    ActorRole, Blob, Command, Epoch, Generation, JobId, Layout, MemberId, NodeName, Outcome, Proposal,
    ReplicationFactor, Role, Timestamp, TokenId,
};
use proptest::prelude::*;

use crate::support::{Cluster, START_MS, YEAR_MS, addresses, bootstrap, log_id, secret, t};

/// Numbers from which a proposal is made, once it is known what is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) what: u32,
    pub(crate) pick: u32,
    pub(crate) value: u32,
    pub(crate) odd: u32,
    pub(crate) pass: u32,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    (any::<u32>(), any::<u32>(), any::<u32>(), 0_u32..100, any::<u32>())
        .prop_map(|(what, pick, value, odd, pass)| Step { what, pick, value, odd, pass })
}

pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..most)
}

/// What is done, the more often the more lines it has.
const DEEDS: &[&str] = &[
    "stage node",
    "stage node",
    "stage node",
    "admit node",
    "admit node",
    "admit node",
    "announce",
    "announce",
    "announce",
    "announce",
    "cordon",
    "uncordon",
    "drain",
    "drain",
    "mark",
    "mark",
    "mark",
    "remove node",
    "remove node",
    "replace",
    "replace",
    "replace",
    "label",
    "plan",
    "plan",
    "plan",
    "plan",
    "revert",
    "report",
    "report",
    "report",
    "report",
    "report",
    "report",
    "report",
    "report",
    "pause",
    "resume",
    "resume",
    "stage member",
    "admit member",
    "promote",
    "remove member",
    "move",
    "recover",
    "put policy",
    "put policy",
    "delete policy",
    "create token",
    "rotate",
    "revoke",
    "raise",
    "clear",
    "start job",
    "advance",
    "finish",
    "add authority",
    "switch",
    "retire",
    "certificate",
    "certificate",
    "settings",
    "put mark",
    "put mark",
    "clear mark",
    "deed",
    "bind version",
    "bind version",
    "bootstrap",
];

impl Step {
    /// Nothing that fits, on purpose.
    fn is_nonsense(&self) -> bool {
        self.odd < 8
    }

    /// Proposes something to the cluster.
    pub(crate) fn take(&self, cluster: &mut Cluster) -> Outcome {
        match self.pass % 64 {
            0 => cluster.pass(u64::from(self.value) % (60 * 24 * 60_000)),
            1 => cluster.clock_ms = cluster.clock_ms.saturating_sub(u64::from(self.value) % 100_000),
            pass => cluster.pass(u64::from(pass) * 700),
        }
        if self.odd == 99 && !cluster.log.is_empty() {
            // A client that did not hear the answer, or somebody who is late.
            let (_, proposal) = &cluster.log[self.pick as usize % cluster.log.len()];
            let again =
                Proposal { at: Timestamp::from_millis(START_MS + cluster.clock_ms), ..proposal.clone() };
            return cluster.commit(again);
        }
        let (role, command) = self.command(cluster);
        let proposal = cluster.proposal(role, command);
        let key = (self.pass % 5 == 2).then(|| t(&format!("key-{}", self.value % 300)));
        let why = self.pass.is_multiple_of(3).then(|| t("somebody said so"));
        cluster.commit(Proposal { key, why, ..proposal })
    }

    pub(crate) fn command(&self, cluster: &Cluster) -> (ActorRole, Command) {
        let deed = DEEDS[self.what as usize % DEEDS.len()];
        let role = match self.pick % 3 {
            0 => ActorRole::Admin,
            1 => ActorRole::System,
            _ => ActorRole::Node,
        };
        let command = self
            .about_nodes(deed, cluster)
            .or_else(|| self.about_layouts(deed, cluster))
            .or_else(|| self.about_members(deed, cluster))
            .or_else(|| self.about_the_rest(deed, cluster))
            .unwrap_or_else(|| panic!("{deed} is not known"));
        (role, command)
    }

    /// One of those that fit, or any name.
    fn node(&self, cluster: &Cluster, fits: impl Fn(&Node) -> bool) -> NodeName {
        let nodes = cluster.state.tables().nodes.values();
        let fitting: Vec<&NodeName> = nodes.filter(|node| fits(node)).map(|node| &node.name).collect();
        if fitting.is_empty() || self.is_nonsense() {
            return t(&format!("n{}", self.pick % 9));
        }
        fitting[self.pick as usize % fitting.len()].clone()
    }

    fn soon(&self, cluster: &Cluster) -> Timestamp {
        let wait = if self.is_nonsense() { 0 } else { 3_600_000 };
        Timestamp::from_millis(cluster.state.now().millis().max(START_MS + cluster.clock_ms) + wait)
    }

    fn text(&self, stem: &str, count: u32) -> String {
        format!("{stem}{}", self.pick % count)
    }

    fn certificate(&self, cluster: &Cluster) -> Certificate {
        let authorities = &cluster.state.tables().authorities;
        let signs = authorities.values().find(|authority| authority.state == AuthorityState::Current);
        let authority = signs.map(|authority| authority.generation).filter(|_| !self.is_nonsense());
        Certificate {
            serial: t(&format!("a{:x}", self.value)),
            expires: Timestamp::from_millis(self.soon(cluster).millis() + YEAR_MS / 12),
            authority: authority.unwrap_or(Generation::new(u64::from(self.value % 5))),
        }
    }

    #[expect(clippy::too_many_lines, reason = "a list of deeds")]
    fn about_nodes(&self, deed: &str, cluster: &Cluster) -> Option<Command> {
        let node = |fits: fn(&NodeState) -> bool| self.node(cluster, |node| fits(&node.state));
        Some(match deed {
            "stage node" => Command::StageNode(StageNode {
                name: t(&self.text("n", 9)),
                zone: t(&format!("z{}", self.value % 3)),
                weight: [100, 100, 50, 0][self.value as usize / 3 % 4],
                labels: BTreeMap::new(),
                apply_on_join: self.value.is_multiple_of(2),
                secret: secret("join"),
                expires: self.soon(cluster),
            }),
            "admit node" => Command::AdmitNode(AdmitNode {
                name: node(|state| matches!(state, NodeState::Staged(_))),
                secret: secret(if self.is_nonsense() { "guess" } else { "join" }),
                certificate: self.certificate(cluster),
                key: None,
            }),
            "announce" => {
                let silent =
                    |node: &Node| node.state.is_admitted() && (node.addresses.is_none() || self.odd > 80);
                let name = self.node(cluster, silent);
                let elsewhere = Addresses { http: t("n1:8081"), rpc: t(&format!("n{}:9", self.value % 9)) };
                let there = if self.odd % 16 == 9 { elsewhere } else { addresses(name.as_str()) };
                Command::AnnounceNode(AnnounceNode { name, addresses: there })
            }
            "cordon" => Command::CordonNode(CordonNode { name: node(|state| *state == NodeState::Active) }),
            "uncordon" => Command::UncordonNode(UncordonNode {
                name: node(|state| matches!(state, NodeState::Cordoned | NodeState::Draining)),
            }),
            "drain" => Command::DrainNode(DrainNode {
                name: node(|state| matches!(state, NodeState::Active | NodeState::Cordoned)),
            }),
            "mark" => {
                let down = self.value.is_multiple_of(2);
                let up = |state: &NodeState| state.is_placed() && !matches!(state, NodeState::Down { .. });
                let name = self.node(cluster, |node| up(&node.state) == down && node.state.is_placed());
                let health = if down { NodeHealth::Down } else { NodeHealth::Up };
                Command::MarkNode(MarkNode { name, health })
            }
            "remove node" => Command::RemoveNode(RemoveNode {
                name: node(|state| {
                    matches!(
                        state,
                        NodeState::Draining
                            | NodeState::Down { .. }
                            | NodeState::Removing
                            | NodeState::Staged(_)
                    )
                }),
                force: self.value.is_multiple_of(4),
                counts_on: (self.value % 3 == 1).then(|| node(NodeState::is_admitted)).into_iter().collect(),
            }),
            "replace" => {
                let tables = cluster.state.tables();
                let held = |node: &Node| {
                    tables.layouts.values().any(|record| record.layout.nodes().contains(&node.name))
                };
                let fresh = |node: &Node| {
                    let takes = matches!(node.state, NodeState::Joining | NodeState::Active);
                    takes && node.addresses.is_some() && node.weight > 0 && !held(node)
                };
                Command::ReplaceNode(ReplaceNode {
                    name: self.node(cluster, held),
                    by: self.node(cluster, fresh),
                    expect_epoch: self.epoch(cluster),
                })
            }
            "label" => Command::LabelNode(LabelNode {
                name: node(|_| true),
                labels: [(t(&format!("l{}", self.value % 3)), (self.odd > 50).then(|| t("x")))].into(),
                zone: (self.odd > 60).then(|| t(&format!("z{}", self.value % 3))),
                weight: (self.odd > 70).then_some(self.value % 200),
            }),
            _ => return None,
        })
    }

    fn epoch(&self, cluster: &Cluster) -> Epoch {
        let current =
            cluster.state.tables().transition.map(|transition| transition.current).unwrap_or_default();
        if self.is_nonsense() { Epoch::new(u64::from(self.value % 7)) } else { current }
    }

    fn about_layouts(&self, deed: &str, cluster: &Cluster) -> Option<Command> {
        let tables = cluster.state.tables();
        Some(match deed {
            "plan" => {
                let expect_epoch = self.epoch(cluster);
                let planned =
                    if self.is_nonsense() { None } else { tables.transition.and_then(|_| cluster.planned()) };
                let anywhere = || {
                    let name: NodeName = t(&self.text("n", 9));
                    Layout::from_fn(expect_epoch.next(), ReplicationFactor::ONE, |_| vec![name.clone()])
                        .unwrap()
                };
                let layout = Arc::new(planned.unwrap_or_else(anywhere));
                let sets_replication = self.value.is_multiple_of(2);
                Command::ApplyLayout(ApplyLayout {
                    expect_epoch,
                    layout,
                    note: Some(t("planned")),
                    sets_replication,
                })
            }
            "revert" => {
                let former: Vec<&Epoch> = tables.layout_history.keys().collect();
                let to = former
                    .get(self.pick as usize % former.len().max(1))
                    .map_or(Epoch::new(1), |epoch| **epoch);
                Command::RevertLayout(RevertLayout { expect_epoch: self.epoch(cluster), to })
            }
            "report" => {
                let epoch = self.epoch(cluster);
                let layout = tables.layouts.get(&epoch).map(|record| &record.layout);
                let behind = |node: &Node| {
                    let said = tables.syncs.get(&node.name).is_none_or(|sync| sync.epoch < epoch);
                    said && layout.is_some_and(|layout| layout.nodes().contains(&node.name))
                };
                Command::ReportSync(ReportSync { node: self.node(cluster, behind), epoch })
            }
            "pause" => Command::PauseLayout(PauseLayout {}),
            "resume" => Command::ResumeLayout(ResumeLayout {}),
            _ => return None,
        })
    }

    fn about_members(&self, deed: &str, cluster: &Cluster) -> Option<Command> {
        let member = |fits: fn(&MemberState) -> bool| {
            let members = cluster.state.tables().members.values();
            let fitting: Vec<MemberId> = members
                .filter(|member| fits(&member.state) || self.is_nonsense())
                .map(|member| member.id)
                .collect();
            let nobody = MemberId::new(u64::from(self.pick % 20) + 1).unwrap();
            fitting.get(self.pick as usize % fitting.len().max(1)).copied().unwrap_or(nobody)
        };
        let rpc = t(&format!("10.0.0.{}:8083", self.value % 12 + 1));
        Some(match deed {
            "stage member" => Command::StageMember(StageMember {
                name: t(&self.text("control-", 9)),
                secret: secret("join"),
                expires: self.soon(cluster),
            }),
            "admit member" => Command::AdmitMember(AdmitMember {
                id: member(|state| matches!(state, MemberState::Staged(_))),
                secret: secret(if self.is_nonsense() { "guess" } else { "join" }),
                rpc,
                log: log_id(1),
                certificate: self.certificate(cluster),
                key: None,
            }),
            "promote" => {
                Command::PromoteMember(PromoteMember { id: member(|state| *state == MemberState::Learner) })
            }
            "remove member" => Command::RemoveMember(RemoveMember { id: member(MemberState::is_in_group) }),
            // Seldom: after it nobody else is left.
            "recover" if self.value.is_multiple_of(6) => {
                Command::RecoverCluster(RecoverCluster { member: member(MemberState::is_in_group) })
            }
            "recover" => {
                Command::PromoteMember(PromoteMember { id: member(|state| *state == MemberState::Learner) })
            }
            "move" => Command::MoveMember(MoveMember { id: member(MemberState::is_in_group), rpc }),
            _ => return None,
        })
    }

    #[expect(clippy::too_many_lines, reason = "a list of deeds")]
    fn about_the_rest(&self, deed: &str, cluster: &Cluster) -> Option<Command> {
        let tables = cluster.state.tables();
        let token = TokenId::new(self.one_of(tables.tokens.keys().map(|id| id.get())));
        let job = JobId::new(self.one_of(tables.jobs.keys().map(|id| id.get())));
        let fresh = secret(&format!("{}", self.value % 1_000));
        Some(match deed {
            "put policy" => self.put_policy(cluster),
            "put mark" => {
                let kind = MarkKind::ALL[self.value as usize % 3];
                Command::PutMark(PutMark { about: t(&self.text("example.com/m", 4)), kind })
            }
            "clear mark" => {
                let kind = MarkKind::ALL[self.value as usize % 3];
                Command::ClearMark(ClearMark { about: t(&self.text("example.com/m", 4)), kind })
            }
            "bind version" => {
                let version = t(&format!("{}@v1.0.{}", self.text("example.com/m", 2), self.value % 2));
                let zip_h1 = secret(&self.text("content", 2));
                let (go_mod_h1, expect_epoch) = (secret("go.mod"), self.epoch(cluster));
                Command::BindVersion(BindVersion { version, zip_h1, go_mod_h1, expect_epoch })
            }
            "deed" => {
                let subject = t(&self.text("example.com/m", 4));
                Command::RecordDeed(RecordDeed { deed: t("purge-module"), subject })
            }
            "delete policy" => {
                let name = t(&self.text("p", 3));
                let generation =
                    tables.policies.get(&name).map(|record| record.generation).unwrap_or_default();
                Command::DeletePolicy(DeletePolicy { name, expect_generation: generation })
            }
            "create token" => Command::CreateToken(CreateToken {
                name: t(&self.text("t", 5)),
                role: [Role::Viewer, Role::Operator, Role::Admin][self.value as usize % 3],
                hash: fresh,
                expires: (self.odd > 50).then(|| self.soon(cluster)),
                groups: std::collections::BTreeSet::new(),
            }),
            "rotate" => {
                let previous_until = (self.odd > 50).then(|| self.soon(cluster));
                Command::RotateToken(RotateToken { id: token, hash: fresh, previous_until })
            }
            "revoke" => Command::RevokeToken(RevokeToken { id: token }),
            "raise" => Command::RaiseAlarm(RaiseAlarm {
                code: t(&self.text("alarm-", 3)),
                subject: t("n1"),
                severity: AlarmSeverity::Warning,
                message: t(&self.text("message ", 2)),
            }),
            "clear" => Command::ClearAlarm(ClearAlarm { code: t(&self.text("alarm-", 3)), subject: t("n1") }),
            "start job" => Command::StartJob(StartJob { kind: t("drain"), target: t("n1") }),
            "advance" => {
                let progress = Progress { done: u64::from(self.value % 5), total: 4 };
                Command::AdvanceJob(AdvanceJob { id: job, progress, message: None })
            }
            "finish" => {
                let state = if self.is_nonsense() { JobState::Running } else { JobState::Failed };
                Command::FinishJob(FinishJob { id: job, state, message: Some(t("it broke")) })
            }
            "certificate" => {
                let one = Holder::Member(MemberId::new(u64::from(self.pick % 5) + 1).unwrap());
                let node = self.node(cluster, |node| node.state.is_admitted());
                let holder = if self.value.is_multiple_of(4) { one } else { Holder::Node(node) };
                Command::RecordCertificate(RecordCertificate {
                    holder,
                    certificate: self.certificate(cluster),
                })
            }
            "settings" => Command::AlterSettings(AlterSettings {
                replication: ReplicationFactor::new((self.value % 4) as u8),
                removals_per_zone: (self.odd > 50).then_some(self.value % 13),
                storm_brake: (self.odd > 80).then_some(self.value.is_multiple_of(4)),
                ..AlterSettings::default()
            }),
            "bootstrap" => Command::Bootstrap(Box::new(Bootstrap {
                settings: Settings { replication: ReplicationFactor::new(2).unwrap(), ..Settings::DEFAULT },
                ..bootstrap(Settings::DEFAULT)
            })),
            "add authority" | "switch" | "retire" => self.about_authorities(deed, cluster),
            _ => return None,
        })
    }

    fn put_policy(&self, cluster: &Cluster) -> Command {
        let name = t(&self.text("p", 3));
        let current = cluster.state.tables().policies.get(&name).map(|record| record.generation);
        let role = if self.is_nonsense() { "other" } else { "r" };
        let text = format!(
            r#"{{"roles": {{"r": ["read"], "{}": ["list"]}},
                 "bindings": [{{"role": "r", "subjects": ["user:u{}"]}}]}}"#,
            self.text("s", 4),
            self.value % 4,
        );
        let mut document = Document::parse(text.as_bytes()).unwrap();
        document.bindings[0].role = t(role);
        let expect_generation = current.unwrap_or_default();
        Command::PutPolicy(PutPolicy { name, expect_generation, document, note: None })
    }

    fn about_authorities(&self, deed: &str, cluster: &Cluster) -> Command {
        let authorities = &cluster.state.tables().authorities;
        let of = |state: AuthorityState| {
            let fits = authorities.values().find(|authority| authority.state == state && !self.is_nonsense());
            fits.map_or(Generation::new(u64::from(self.pick % 4)), |authority| authority.generation)
        };
        match deed {
            "switch" => Command::SwitchAuthority(SwitchAuthority { to: of(AuthorityState::Next) }),
            "retire" => {
                Command::RetireAuthority(RetireAuthority { generation: of(AuthorityState::Retiring) })
            }
            _ => Command::AddAuthority(AddAuthority {
                certificate: Blob::new(&self.value.to_be_bytes()),
                sealed_key: Blob::new(b"sealed key"),
            }),
        }
    }

    fn one_of(&self, ids: impl Iterator<Item = u64>) -> u64 {
        let ids: Vec<u64> = ids.collect();
        let newest = ids.len().min(4);
        let at = ids.len() - newest + self.pick as usize % newest.max(1);
        ids.get(at).copied().filter(|_| !self.is_nonsense()).unwrap_or_default()
    }
}
