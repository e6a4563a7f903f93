//! What the fake cluster is like: three members, three nodes, a move under way.

use std::collections::BTreeMap;

use prost_types::{Duration, Timestamp};
use proto::control::v1::*;

use crate::bed::Bed;

pub(crate) const JOIN_TOKEN: &str =
    "gpj1.AAECAwQFBgcICQoLDA0ODwEGZGF0YS0xAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
pub(crate) const NEW_SECRET: &str = "gpt1.fedcba9876543210.YS1uZXctc2VjcmV0LXRoYXQtaXMtc2hvd24tb25jZSE";

#[expect(clippy::unnecessary_wraps, reason = "what the messages' fields are")]
pub(crate) fn at(hour: i64) -> Option<Timestamp> {
    // 2026-01-01T00:00:00Z
    Some(Timestamp { seconds: 1_767_225_600 + hour * 3_600, nanos: 0 })
}

fn text(text: &str) -> String {
    text.to_owned()
}

pub(crate) fn member(number: u64, role: MemberRole, health: Health) -> Member {
    Member {
        name: format!("control-{number}"),
        id: number,
        role: role.into(),
        health: health.into(),
        applied_index: 1_200 + number,
        matched_index: 1_203,
        rpc_address: format!("10.0.0.{number}:8083"),
        version: text("0.1.0"),
        last_seen_time: at(1),
        certificate_expire_time: at(700),
    }
}

pub(crate) fn node(number: u32, state: NodeState) -> Node {
    Node {
        name: format!("data-{number}"),
        zone: ["c", "a", "b"][number as usize % 3].to_owned(),
        datacenter: text("default"),
        state: state.into(),
        listen: format!("10.0.1.{number}:8081"),
        epoch: 12,
        health: Health::Ok.into(),
        weight: 100,
        labels: BTreeMap::from([(text("disk"), text("nvme")), (text("rack"), text("r7"))]),
        rpc_address: format!("10.0.1.{number}:8083"),
        version: text("0.1.0"),
        slot_count: 4096,
        owned_slot_count: 1365,
        usage: Some(NodeUsage {
            disk_bytes: 1 << 40,
            disk_free_bytes: 700 << 30,
            store_bytes: 250 << 30,
            version_count: 123_456,
            requests_per_second: 812.25,
        }),
        join_time: at(0),
        last_seen_time: at(1),
        certificate_expire_time: at(700),
        generation: 7,
        replaces: String::new(),
    }
}

pub(crate) fn moving(bytes_left: u64) -> LayoutStatus {
    let stable = bytes_left == 0;
    LayoutStatus {
        epoch: 12,
        state: if stable { LayoutState::Stable } else { LayoutState::Moving }.into(),
        bytes_left,
        bytes_total: 3 << 30,
        slots_left: if stable { 0 } else { 17 },
        paused: false,
        nodes_behind: if stable { vec![] } else { vec![text("data-2"), text("data-3")] },
        apply_time: at(1),
        left_duration: Some(Duration { seconds: 95, nanos: 0 }),
    }
}

pub(crate) fn status() -> ClusterStatus {
    ClusterStatus {
        cluster_id: text("000102030405060708090a0b0c0d0e0f"),
        leader: text("control-1"),
        members: vec![
            member(1, MemberRole::Voter, Health::Ok),
            member(2, MemberRole::Voter, Health::Suspect),
            member(3, MemberRole::Learner, Health::Ok),
        ],
        nodes: vec![node(1, NodeState::Active), node(2, NodeState::Draining), node(3, NodeState::Down)],
        layout: Some(moving(1 << 30)),
        alarms: vec![Alarm {
            code: text("node-down"),
            message: text("not heard of for 2 minutes; 1365 slots have one copy less"),
            subject: text("node data-3"),
            raise_time: at(1),
        }],
        revision: 1_203,
        term: 4,
        read_time: at(2),
    }
}

pub(crate) fn job(state: JobState, done: u64) -> Job {
    Job {
        id: text("j-17"),
        kind: text("drain-node"),
        subject: text("node data-1"),
        state: state.into(),
        done,
        total: 3 << 30,
        unit: text("bytes"),
        message: text("12 slots left"),
        create_time: at(1),
        update_time: at(2),
        end_time: if state == JobState::Succeeded { at(3) } else { None },
        author: text("token admin"),
    }
}

pub(crate) fn plan() -> LayoutPlan {
    let nodes = ["data-1", "data-2", "data-3"].iter().zip(["a", "b", "c"]);
    LayoutPlan {
        epoch: 13,
        changes: vec![
            SlotChange { slot: 0, from: vec![text("data-1")], to: vec![text("data-2"), text("data-1")] },
            SlotChange { slot: 4095, from: vec![], to: vec![text("data-3")] },
        ],
        bytes: 5 << 30,
        fullest_over_mean: 1.0064,
        nodes: nodes
            .map(|(name, zone)| LayoutNode {
                name: text(name),
                zone: text(zone),
                weight: 100,
                slot_count: 2730,
                owned_slot_count: 1365,
            })
            .collect(),
        warnings: vec![text("two zones for three copies")],
        estimated_duration: Some(Duration { seconds: 600, nanos: 0 }),
    }
}

pub(crate) fn layout(epoch: u64, slots: bool) -> Layout {
    Layout {
        epoch,
        replication_factor: 2,
        nodes: plan().nodes,
        slots: if slots {
            vec![SlotPlacement { slot: 0, owners: vec![text("data-1"), text("data-2")] }]
        } else {
            vec![]
        },
        apply_time: at(1),
        author: text("token admin"),
        reason: text("third node"),
    }
}

pub(crate) fn policy(generation: u64) -> Policy {
    Policy {
        name: text("teams"),
        generation,
        content: text("# who may publish\n[[rules]]\neffect = \"allow\"\n"),
        update_time: at(1),
        author: text("token admin"),
        reason: text("team b"),
        deleted: false,
    }
}

pub(crate) fn token() -> Token {
    Token {
        id: text("fedcba9876543210"),
        name: text("ci"),
        role: OperatorRole::Viewer.into(),
        groups: vec![text("builders")],
        create_time: at(0),
        expire_time: at(2_000),
        revoke_time: None,
        previous_expire_time: None,
        author: text("token admin"),
    }
}

fn authorities() -> Vec<Authority> {
    vec![Authority {
        fingerprint: "ab".repeat(32),
        state: AuthorityState::Active.into(),
        begin_time: at(0),
        expire_time: at(80_000),
        pem: text("-----BEGIN CERTIFICATE-----\n"),
    }]
}

fn difference(path: &str, before: &str, after: &str) -> PolicyDifference {
    PolicyDifference { path: text(path), before: text(before), after: text(after) }
}

pub(crate) fn differences(removes: bool) -> Vec<PolicyDifference> {
    let mut list = vec![difference("rules[1]", "", "allow publish to token:ci")];
    if removes {
        list.push(difference("rules[0].effect", "deny", "allow"));
        list.push(difference("rules[2]", "deny read to anyone", ""));
    }
    list
}

/// Everything answers well.
pub(crate) fn well(bed: &Bed) {
    clusters(bed);
    nodes(bed);
    layouts(bed);
    policies(bed);
    tokens(bed);
}

fn clusters(bed: &Bed) {
    bed.on("ClusterService/GetStatus", &GetStatusResponse { status: Some(status()) });
    let health = GetHealthResponse { health: Health::Ok.into(), quorum: true, problems: vec![] };
    bed.on("ClusterService/GetHealth", &health);
    bed.on("ClusterService/TransferLeader", &TransferLeaderResponse { leader: text("control-2"), term: 5 });
    let record = AuditRecord {
        sequence: 9,
        record_time: at(1),
        caller: text("token admin"),
        method: text("drain-node"),
        subject: text("data-1"),
        reason: text("kernel update"),
        before: text("active"),
        after: text("draining"),
    };
    let first = AuditRecord { sequence: 8, before: String::new(), after: String::new(), ..record.clone() };
    let records = ListAuditRecordsResponse { records: vec![record, first], next_page_token: String::new() };
    bed.on("ClusterService/ListAuditRecords", &records);
    let jobs =
        ListJobsResponse { jobs: vec![job(JobState::Running, 1 << 30)], next_page_token: String::new() };
    bed.on("OperationService/ListJobs", &jobs);
    bed.on("OperationService/GetJob", &GetJobResponse { job: Some(job(JobState::Running, 1 << 30)) });
    bed.on("OperationService/CancelJob", &CancelJobResponse { job: Some(job(JobState::Cancelled, 1 << 30)) });
    let added = AddMemberResponse {
        name: text("control-4"),
        join_token: text(JOIN_TOKEN),
        expire_time: at(24),
        command: format!("goproxyd control --name control-4 --join 10.0.0.1:8083 --join-token {JOIN_TOKEN}"),
    };
    bed.on("MemberService/AddMember", &added);
    bed.on(
        "MemberService/ListMembers",
        &ListMembersResponse { members: status().members, next_page_token: String::new() },
    );
    let promoted = PromoteMemberResponse { member: Some(member(3, MemberRole::Voter, Health::Ok)) };
    bed.on("MemberService/PromoteMember", &promoted);
    bed.on("MemberService/RemoveMember", &RemoveMemberResponse { name: text("control-3"), id: 3 });
}

fn nodes(bed: &Bed) {
    let (join, listen) = ("--join 10.0.0.1:8083", "--listen 0.0.0.0:8081 --rpc-listen 0.0.0.0:8083");
    let command = format!("goproxyd data --name data-4 {join} --join-token {JOIN_TOKEN} {listen}");
    let (name, join_token, expire_time) = (text("data-4"), text(JOIN_TOKEN), at(24));
    let added = AddNodeResponse {
        name: name.clone(),
        join_token: join_token.clone(),
        expire_time,
        command: command.clone(),
    };
    bed.on("NodeService/AddNode", &added);
    let replaced = ReplaceNodeResponse { name, join_token, expire_time, command, job_id: text("j-17") };
    bed.on("NodeService/ReplaceNode", &replaced);
    bed.on(
        "NodeService/ListNodes",
        &ListNodesResponse { nodes: status().nodes, next_page_token: String::new() },
    );
    bed.on("NodeService/GetNode", &GetNodeResponse { node: Some(node(1, NodeState::Active)) });
    let draining = || Some(node(1, NodeState::Draining));
    bed.on("NodeService/CordonNode", &CordonNodeResponse { node: Some(node(1, NodeState::Cordoned)) });
    bed.on("NodeService/UncordonNode", &UncordonNodeResponse { node: Some(node(1, NodeState::Active)) });
    bed.on("NodeService/DrainNode", &DrainNodeResponse { node: draining(), job_id: text("j-17") });
    bed.on(
        "NodeService/RemoveNode",
        &RemoveNodeResponse { node: Some(node(1, NodeState::Removed)), ..RemoveNodeResponse::default() },
    );
    bed.on("NodeService/LabelNode", &LabelNodeResponse { node: Some(node(1, NodeState::Active)) });
    let dead = FailoverNodeResponse { node: Some(node(1, NodeState::Down)), job_id: text("j-17") };
    bed.on("NodeService/FailoverNode", &dead);
}

fn layouts(bed: &Bed) {
    bed.on("LayoutService/GetLayout", &GetLayoutResponse { layout: Some(layout(12, true)) });
    let located = LocateModuleResponse {
        module: text("github.com/spf13/cobra"),
        slot: 1234,
        epoch: 12,
        owners: vec![text("data-1"), text("data-3")],
    };
    bed.on("LayoutService/LocateModule", &located);
    bed.on("LayoutService/PlanLayout", &PlanLayoutResponse { plan: Some(plan()) });
    bed.on("LayoutService/ApplyLayout", &ApplyLayoutResponse { plan: Some(plan()), job_id: text("j-17") });
    bed.on("LayoutService/RevertLayout", &RevertLayoutResponse { plan: Some(plan()), job_id: text("j-17") });
    bed.on("LayoutService/GetLayoutStatus", &GetLayoutStatusResponse { status: Some(moving(1 << 30)) });
    let paused = LayoutStatus { paused: true, ..moving(1 << 30) };
    bed.on("LayoutService/PauseLayout", &PauseLayoutResponse { status: Some(paused) });
    bed.on("LayoutService/ResumeLayout", &ResumeLayoutResponse { status: Some(moving(1 << 30)) });
    let history = ListLayoutsResponse {
        layouts: vec![layout(12, false), layout(11, false)],
        next_page_token: String::new(),
    };
    bed.on("LayoutService/ListLayouts", &history);
}

fn policies(bed: &Bed) {
    let bare = Policy { content: String::new(), ..policy(3) };
    bed.on(
        "PolicyService/ListPolicies",
        &ListPoliciesResponse { policies: vec![bare], next_page_token: String::new() },
    );
    bed.on("PolicyService/GetPolicy", &GetPolicyResponse { policy: Some(policy(3)) });
    let diff = DiffPolicyResponse { generation: 3, differences: differences(true), problems: vec![] };
    bed.on("PolicyService/DiffPolicy", &diff);
    let applied = ApplyPolicyResponse { policy: Some(policy(4)), differences: differences(true) };
    bed.on("PolicyService/ApplyPolicy", &applied);
    let gone = Policy { deleted: true, ..policy(5) };
    bed.on("PolicyService/DeletePolicy", &DeletePolicyResponse { policy: Some(gone) });
    let case = AccessCase {
        principal: text("token:ci"),
        verb: text("publish"),
        module: text("example.com/m"),
        version: String::new(),
    };
    let decision = AccessDecision {
        effect: AccessEffect::Allow.into(),
        policy: text("teams"),
        rule: text("rules[1]"),
        reason: text("rules[1] of teams allows it"),
    };
    let test = AccessTest { case: Some(case), expected_effect: AccessEffect::Allow.into() };
    let result = AccessTestResult { test: Some(test), decision: Some(decision.clone()), passed: true };
    bed.on("PolicyService/TestAccess", &TestAccessResponse { results: vec![result], failed_count: 0 });
    let step = AccessStep {
        policy: text("teams"),
        rule: text("rules[0]"),
        matched: false,
        reason: text("the module matches none of `corp.example/*`"),
    };
    let matched = AccessStep {
        rule: text("rules[1]"),
        matched: true,
        reason: text("all of it applies"),
        ..step.clone()
    };
    let explained = ExplainAccessResponse {
        decision: Some(decision),
        steps: vec![step, matched],
        roles: vec![text("publisher")],
    };
    bed.on("PolicyService/ExplainAccess", &explained);
    let history =
        ListPolicyRevisionsResponse { policies: vec![policy(3), policy(2)], next_page_token: String::new() };
    bed.on("PolicyService/ListPolicyRevisions", &history);
}

fn tokens(bed: &Bed) {
    bed.on(
        "TokenService/CreateToken",
        &CreateTokenResponse { token: Some(token()), secret: text(NEW_SECRET) },
    );
    bed.on(
        "TokenService/RotateToken",
        &RotateTokenResponse { token: Some(token()), secret: text(NEW_SECRET) },
    );
    bed.on(
        "TokenService/ListTokens",
        &ListTokensResponse { tokens: vec![token()], next_page_token: String::new() },
    );
    let revoked = Token { revoke_time: at(3), ..token() };
    bed.on("TokenService/RevokeToken", &RevokeTokenResponse { token: Some(revoked) });
    let who = WhoAmIResponse {
        kind: text("token"),
        name: text("admin"),
        role: OperatorRole::Admin.into(),
        groups: vec![],
        expire_time: None,
        cluster_id: status().cluster_id,
    };
    bed.on("TokenService/WhoAmI", &who);
    let certificate = Certificate {
        subject: text("node data-1"),
        serial: "cd".repeat(20),
        expire_time: at(700),
        authority: "ab".repeat(32),
    };
    let status = GetCertificateStatusResponse { authorities: authorities(), certificates: vec![certificate] };
    bed.on("CertificateService/GetCertificateStatus", &status);
    let rotating = RotateAuthorityResponse { authorities: authorities(), job_id: text("j-17") };
    bed.on("CertificateService/RotateAuthority", &rotating);
}
