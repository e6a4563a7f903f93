//! A short life of a cluster in which every command is carried out and every table has something, in its variants.

use std::collections::{BTreeMap, BTreeSet};

use cluster::command::{
    AddAuthority, AdmitMember, AdvanceJob, AlterSettings, BindVersion, ClearAlarm, ClearMark, CordonNode,
    CreateToken, DeletePolicy, DrainNode, FinishJob, Holder, LabelNode, MoveMember, NodeHealth, PauseLayout,
    PromoteMember, PutMark, PutPolicy, RaiseAlarm, RecordCertificate, RecordDeed, RecoverCluster,
    RemoveMember, RemoveNode, ReplaceNode, ResumeLayout, RetireAuthority, RevertLayout, RevokeToken,
    RotateToken, StageMember, StartJob, SwitchAuthority, UncordonNode,
};
use cluster::policy::Document;
use cluster::record::{AlarmSeverity, Certificate, JobState, MarkKind, Progress};
use cluster::{ActorRole, Answer, Blob, Command, Epoch, Generation, MemberId, Proposal, Role, TokenId};

use crate::support::{
    Cluster, HOUR_MS, YEAR_MS, actor, at, log_id, mark, replicas, report, secret, stage, t,
};

const DOCUMENT: &str = r#"{
    "roles": {"developer": ["read", "list"]},
    "bindings": [{"role": "developer", "subjects": ["group:dev", "user:ann"], "modules": "corp.example/*"}],
    "rules": [{"effect": "deny", "verbs": ["read"], "subjects": ["anyone"], "modules": "evil.example", "reason": "no"}],
    "closed": [{"verbs": ["read", "list"], "modules": "corp.example"}]
}"#;

/// Every proposal of the tour that was carried out, the first of each command.
pub(crate) fn proposals() -> Vec<Proposal> {
    let mut seen = std::collections::BTreeSet::new();
    let log = [tour(), recovered()].into_iter().flat_map(|cluster| cluster.log);
    let log = log.map(|(_, proposal)| proposal);
    log.filter(|proposal| seen.insert(proposal.command.name())).collect()
}

pub(crate) fn tour() -> Cluster {
    let mut cluster = Cluster::with(replicas(2));
    members(&mut cluster);
    nodes(&mut cluster);
    papers(&mut cluster);
    authorities(&mut cluster);
    marks(&mut cluster);
    cluster
}

/// The cluster of the tour, gone on with from its second member.
pub(crate) fn recovered() -> Cluster {
    let mut cluster = tour();
    let recover = Command::RecoverCluster(RecoverCluster { member: id(2) });
    cluster.propose(ActorRole::System, recover).result.unwrap();
    cluster
}

fn id(number: u64) -> MemberId {
    MemberId::new(number).unwrap()
}

fn marks(cluster: &mut Cluster) {
    for (about, kind) in [
        ("example.com/kept", MarkKind::Pinned),
        ("example.com/bad/v2@v2.0.1", MarkKind::Quarantined),
        ("example.com/evil@v0.0.0-20260101000000-0123456789ab", MarkKind::TakenDown),
        ("example.com/was", MarkKind::Pinned),
    ] {
        let proposal =
            cluster.proposal(ActorRole::Admin, Command::PutMark(PutMark { about: t(about), kind }));
        cluster.commit(Proposal { why: Some(t("as the team said")), ..proposal }).result.unwrap();
    }
    cluster.done(Command::ClearMark(ClearMark { about: t("example.com/was"), kind: MarkKind::Pinned }));
    let (deed, subject) = (t("purge-module"), t("example.com/old@v1.0.0"));
    cluster.done(Command::RecordDeed(RecordDeed { deed, subject }));
    let expect_epoch = cluster.state.tables().transition.unwrap().current;
    cluster.done(Command::BindVersion(BindVersion {
        version: t("corp.example/ours@v1.2.0"),
        zip_h1: secret("zip"),
        go_mod_h1: secret("go.mod"),
        expect_epoch,
    }));
}

fn members(cluster: &mut Cluster) {
    for number in 2..=4 {
        let name = format!("control-{number}");
        let stage = StageMember { name: t(&name), secret: secret(&name), expires: at(HOUR_MS) };
        cluster.done(Command::StageMember(stage));
    }
    for number in 2..=3 {
        let certificate =
            Certificate { serial: t("abc"), expires: at(YEAR_MS), authority: Generation::new(1) };
        let rpc = t(&format!("10.0.0.{number}:8083"));
        let secret = secret(&format!("control-{number}"));
        cluster.done(Command::AdmitMember(AdmitMember {
            id: id(number),
            secret,
            rpc,
            log: log_id(number),
            certificate,
            key: None,
        }));
    }
    cluster.done(Command::PromoteMember(PromoteMember { id: id(2) }));
    cluster.done(Command::MoveMember(MoveMember { id: id(2), rpc: t("[fd00::2]:8083") }));
    let gone = StageMember { name: t("gone"), secret: secret("gone"), expires: at(HOUR_MS) };
    cluster.done(Command::StageMember(gone));
    cluster.done(Command::RemoveMember(RemoveMember { id: id(5) }));
}

fn nodes(cluster: &mut Cluster) {
    for (name, zone) in [("a", "x"), ("b", "y"), ("c", "z"), ("d", "x")] {
        cluster.join(name, zone);
    }
    cluster.settle();
    cluster.join("e", "y");
    cluster.done(Command::ReplaceNode(ReplaceNode { name: t("b"), by: t("e"), expect_epoch: Epoch::new(1) }));
    cluster.report_all();
    cluster.done(Command::RemoveNode(RemoveNode { name: t("b"), force: false, counts_on: BTreeSet::new() }));
    let labels = BTreeMap::from([(t("disk"), Some(t("nvme"))), (t("none"), None)]);
    cluster.done(Command::LabelNode(LabelNode { name: t("a"), labels, zone: None, weight: Some(120) }));
    cluster.done(Command::CordonNode(CordonNode { name: t("c") }));
    cluster.done(Command::DrainNode(DrainNode { name: t("d") }));
    cluster.done(Command::UncordonNode(UncordonNode { name: t("d") }));
    cluster.done(Command::DrainNode(DrainNode { name: t("d") }));
    cluster.settle();
    cluster.propose(ActorRole::System, mark("e", NodeHealth::Down)).result.unwrap();
    cluster.done(stage("f", "z", 0));
    cluster.join("g", "y");
    cluster.done(Command::RevertLayout(RevertLayout { expect_epoch: Epoch::new(3), to: Epoch::new(2) }));
    cluster.done(report("a", 4));
    cluster.done(Command::PauseLayout(PauseLayout {}));
    cluster.done(Command::ResumeLayout(ResumeLayout {}));
    let settings = AlterSettings { suspect_after_ms: Some(4_000), ..AlterSettings::default() };
    cluster.done(Command::AlterSettings(settings));
}

fn papers(cluster: &mut Cluster) {
    for (name, generation) in [("access", 0), ("access", 1), ("gone", 0)] {
        let document = Document::parse(DOCUMENT.as_bytes()).unwrap();
        let expect_generation = Generation::new(generation);
        let put = PutPolicy { name: t(name), expect_generation, document, note: Some(t("as agreed")) };
        cluster.done(Command::PutPolicy(put));
    }
    let delete = DeletePolicy { name: t("gone"), expect_generation: Generation::new(1) };
    cluster.done(Command::DeletePolicy(delete));
    for (name, role) in [("ci", Role::Operator), ("eye", Role::Viewer)] {
        let expires = Some(at(YEAR_MS));
        let create = CreateToken {
            name: t(name),
            role,
            hash: secret(name),
            expires,
            groups: std::collections::BTreeSet::new(),
        };
        let proposal = cluster.proposal(ActorRole::Admin, Command::CreateToken(create));
        let (key, why) = (Some(t(&format!("create-{name}"))), Some(t("for \"builds\"")));
        cluster.commit(Proposal { key, why, ..proposal }).result.unwrap();
    }
    let previous_until = Some(at(HOUR_MS));
    let rotate = RotateToken { id: TokenId::new(2), hash: secret("ci-2"), previous_until };
    cluster.done(Command::RotateToken(rotate));
    cluster.done(Command::RevokeToken(RevokeToken { id: TokenId::new(3) }));
    for subject in ["e", "f"] {
        let (code, subject, message) = (t("node-down"), t(subject), t("look at it"));
        let raise = RaiseAlarm { code, subject, severity: AlarmSeverity::Critical, message };
        cluster.propose(ActorRole::System, Command::RaiseAlarm(raise)).result.unwrap();
    }
    cluster.done(Command::ClearAlarm(ClearAlarm { code: t("node-down"), subject: t("f") }));
    let [one, other] = ["d", "e"].map(|target| {
        let start = Command::StartJob(StartJob { kind: t("scrub"), target: t(target) });
        let Answer::Job { id } = cluster.done(start) else { panic!("a job") };
        id
    });
    let progress = Progress { done: 3, total: 7 };
    let advance = AdvanceJob { id: one, progress, message: Some(t("moving")) };
    cluster.propose(ActorRole::System, Command::AdvanceJob(advance)).result.unwrap();
    let finish = FinishJob { id: other, state: JobState::Failed, message: Some(t("no room")) };
    cluster.done(Command::FinishJob(finish));
}

fn authorities(cluster: &mut Cluster) {
    assert_eq!(actor(ActorRole::Member).name.as_str(), "member");
    for generation in 2..=4 {
        let certificate = Blob::new(format!("certificate {generation}").as_bytes());
        let add = AddAuthority { certificate, sealed_key: Blob::new(b"sealed") };
        cluster.done(Command::AddAuthority(add));
        if generation < 4 {
            let to = Generation::new(generation);
            cluster.done(Command::SwitchAuthority(SwitchAuthority { to }));
        }
    }
    let retire = RetireAuthority { generation: Generation::new(2) };
    cluster.done(Command::RetireAuthority(retire));
    let certificate = Certificate { serial: t("f00d"), expires: at(YEAR_MS), authority: Generation::new(3) };
    let holder = Holder::Node(t("a"));
    let record = Command::RecordCertificate(RecordCertificate { holder, certificate });
    cluster.propose(ActorRole::Member, record).result.unwrap();
}
