//! The JSON that scripts rely on, made of the messages that goproxyctl prints.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use proto::control::v1::{
    AddMemberResponse, AddNodeResponse, Alarm, ClusterStatus, CreateTokenResponse, Health, LayoutPlan,
    LayoutState, LayoutStatus, ListNodesRequest, LocateModuleResponse, Member, MemberRole, Node, NodeState,
    SlotChange, WatchStatusRequest,
};
use proto::join::v1::JoinMemberResponse;
use proto::{ErrorCode, Named};
use serde_json::{Value, json};

/// Whether `found` has everything that `wanted` has; more may be there.
fn assert_has(found: &Value, wanted: &Value, path: &str) {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            for (key, wanted) in wanted {
                let path = format!("{path}.{key}");
                assert_has(found.get(key).unwrap_or_else(|| panic!("{path} is not there")), wanted, &path);
            }
        }
        (Value::Array(found), Value::Array(wanted)) => {
            assert_eq!(found.len(), wanted.len(), "{path}");
            for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                assert_has(found, wanted, &format!("{path}[{at}]"));
            }
        }
        _ => assert_eq!(found, wanted, "{path}"),
    }
}

fn check(message: impl serde::Serialize, wanted: &Value) {
    assert_has(&serde_json::to_value(message).unwrap(), wanted, "");
}

#[test]
fn cluster_status_is_what_scripts_expect() {
    let status = ClusterStatus {
        cluster_id: "00".repeat(16),
        leader: "control-1".to_owned(),
        members: vec![Member {
            name: "control-1".to_owned(),
            role: MemberRole::Voter.into(),
            health: Health::Ok.into(),
            applied_index: u64::MAX,
            ..Member::default()
        }],
        nodes: vec![Node {
            name: "data-1".to_owned(),
            zone: "a".to_owned(),
            state: NodeState::Draining.into(),
            listen: "127.0.0.1:8081".to_owned(),
            epoch: 3,
            ..Node::default()
        }],
        layout: Some(LayoutStatus {
            epoch: 3,
            state: LayoutState::Moving.into(),
            bytes_left: 1 << 40,
            ..LayoutStatus::default()
        }),
        alarms: vec![Alarm {
            code: "certificate-expires".to_owned(),
            message: "in 7 days".to_owned(),
            ..Alarm::default()
        }],
        ..ClusterStatus::default()
    };
    check(
        status,
        &json!({
            "cluster_id": "00000000000000000000000000000000", "leader": "control-1",
            "members": [{"name": "control-1", "role": "voter", "health": "ok", "applied_index": u64::MAX}],
            "nodes": [{"name": "data-1", "zone": "a", "state": "draining", "listen": "127.0.0.1:8081", "epoch": 3,
                       "join_time": null, "labels": {}}],
            "layout": {"epoch": 3, "state": "moving", "bytes_left": 1_u64 << 40},
            "alarms": [{"code": "certificate-expires", "message": "in 7 days"}],
        }),
    );
}

#[test]
fn what_is_added_comes_with_its_token() {
    let expire_time = Some(prost_types::Timestamp { seconds: 1_893_456_000, nanos: 0 });
    let wanted = json!({"name": "data-1", "join_token": "gpj1.x", "expires": "2030-01-01T00:00:00Z", "command": "goproxyd"});
    let (name, join_token, command) = ("data-1".to_owned(), "gpj1.x".to_owned(), "goproxyd".to_owned());
    check(
        AddMemberResponse {
            name: name.clone(),
            join_token: join_token.clone(),
            expire_time,
            command: command.clone(),
        },
        &wanted,
    );
    check(AddNodeResponse { name, join_token, expire_time, command }, &wanted);
}

#[test]
fn placement_is_what_scripts_expect() {
    check(
        LocateModuleResponse {
            module: "example.com/m".to_owned(),
            slot: 4095,
            epoch: 2,
            owners: vec!["a".to_owned(), "b".to_owned()],
        },
        &json!({"module": "example.com/m", "slot": 4095, "epoch": 2, "owners": ["a", "b"]}),
    );
    check(
        LayoutPlan {
            epoch: 4,
            changes: vec![SlotChange { slot: 0, from: vec!["a".to_owned()], to: vec!["b".to_owned()] }],
            bytes: 7,
            fullest_over_mean: 1.006,
            ..LayoutPlan::default()
        },
        &json!({"epoch": 4, "changes": [{"slot": 0, "from": ["a"], "to": ["b"]}], "bytes": 7,
                "fullest_over_mean": 1.006, "warnings": []}),
    );
}

#[test]
fn other_kinds_of_fields_have_their_forms() {
    check(
        ListNodesRequest { states: vec![NodeState::Active.into(), 99], ..ListNodesRequest::default() },
        &json!({"states": ["active", "unspecified"]}),
    );
    let interval = prost_types::Duration { seconds: 1, nanos: 500_000_000 };
    check(WatchStatusRequest { interval_duration: Some(interval) }, &json!({"interval_duration": 1.5}));
}

#[test]
fn short_names_read_back_in_one_spelling() {
    assert_eq!(MemberRole::from_short_name("learner"), Some(MemberRole::Learner));
    assert_eq!(ErrorCode::from_short_name("wrong-epoch"), Some(ErrorCode::WrongEpoch));
    assert_eq!(ErrorCode::WrongEpoch.to_string(), "wrong-epoch");
    for wrong in ["Learner", "wrong_epoch", "", "MEMBER_ROLE_LEARNER"] {
        assert_eq!(MemberRole::from_short_name(wrong), None);
        assert_eq!(ErrorCode::from_short_name(wrong), None);
    }
}

#[test]
fn secrets_are_not_in_debug() {
    let secret = "do-not-show".to_owned();
    let added =
        AddNodeResponse { join_token: secret.clone(), command: secret.clone(), ..AddNodeResponse::default() };
    let created = CreateTokenResponse { secret, ..CreateTokenResponse::default() };
    let joined = JoinMemberResponse {
        sealing_key: b"do-not-show".as_slice().into(),
        member_id: 7,
        ..JoinMemberResponse::default()
    };
    for text in [format!("{added:?}"), format!("{created:?}"), format!("{joined:?}")] {
        assert!(text.contains("[redacted]") && !text.contains("do-not-show"), "{text}");
    }
    assert!(format!("{joined:?}").contains("member_id: 7"));
}
