//! Changes: the options that they carry, the key that stays the same, several at once, several pages.

use std::collections::BTreeSet;

use proto::ErrorCode;
use proto::control::v1::*;

use crate::bed::Bed;
use crate::data;
use crate::fake::Reply;

#[test]
fn a_change_carries_what_was_said() {
    let bed = Bed::new();
    data::well(&bed);
    let run = bed.run(&[
        "node",
        "add",
        "data-4",
        "--zone",
        "b",
        "--weight",
        "200",
        "--label",
        "rack=r7",
        "--no-apply",
        "--token-lifetime",
        "1h",
        "--dry-run",
        "--reason",
        "more room",
        "--idempotency-key",
        "mine",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("dry run: the server evaluated this and changed nothing"), "{}", run.stderr);
    let asked = bed.fake.asked::<AddNodeRequest>("NodeService/AddNode");
    let options =
        MutationOptions { idempotency_key: "mine".to_owned(), dry_run: true, reason: "more room".to_owned() };
    let expected = AddNodeRequest {
        options: Some(options),
        name: "data-4".to_owned(),
        zone: "b".to_owned(),
        weight: 200,
        labels: [("rack".to_owned(), "r7".to_owned())].into(),
        no_apply: true,
        join_token_lifetime_duration: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
    };
    assert_eq!(asked, [expected]);
}

#[test]
fn each_run_draws_a_key_of_its_own_and_keeps_it_over_attempts() {
    let bed = Bed::new();
    let drained = DrainNodeResponse { node: Some(data::node(1, NodeState::Draining)), job_id: String::new() };
    let trouble = vec![
        Reply::refuse(ErrorCode::NoQuorum, "an election is under way"),
        Reply::Cut,
        Reply::refuse(ErrorCode::Overloaded, "too much at once"),
        Reply::say(&drained),
    ];
    bed.fake.on("NodeService/DrainNode", trouble);
    for _ in 0..2 {
        let run = bed.run(&["node", "drain", "data-1"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let keys: Vec<_> = bed
        .fake
        .asked::<DrainNodeRequest>("NodeService/DrainNode")
        .into_iter()
        .map(|request| request.options.unwrap().idempotency_key)
        .collect();
    assert_eq!(keys.len(), 5, "four attempts of the first run, one of the second");
    assert_eq!(keys[..4].iter().collect::<BTreeSet<_>>().len(), 1);
    assert_ne!(keys[0], keys[4]);
    assert!(keys.iter().all(|key| key.len() == 32));
}

#[test]
fn what_is_refused_for_good_is_asked_once() {
    let bed = Bed::new();
    bed.fake.on(
        "LayoutService/ApplyLayout",
        vec![Reply::refuse(ErrorCode::WrongEpoch, "the next layout would get 14, not 13")],
    );
    let run = bed.run(&["layout", "apply", "--expect-epoch", "13"]);
    assert_eq!(run.code, 3);
    let asked = bed.fake.asked::<ApplyLayoutRequest>("LayoutService/ApplyLayout");
    assert_eq!((asked.len(), asked[0].expected_epoch), (1, 13));
}

#[test]
fn whether_it_was_done_can_be_found_out() {
    let bed = Bed::new();
    bed.fake.on("NodeService/DrainNode", vec![Reply::Hang]);
    let run = bed.run(&["node", "drain", "data-1", "--timeout", "300ms", "--idempotency-key", "k1"]);
    insta::assert_snapshot!(run.transcript());
}

#[test]
fn several_nodes_are_reported_one_by_one() {
    let bed = Bed::new();
    let cordoned =
        |number| Reply::say(&CordonNodeResponse { node: Some(data::node(number, NodeState::Cordoned)) });
    let replies =
        vec![cordoned(1), Reply::refuse(ErrorCode::NotFound, "there is no node data-9"), cordoned(2)];
    bed.fake.on("NodeService/CordonNode", replies.clone());
    let table = bed.run(&["node", "cordon", "data-1", "data-9", "data-2", "--idempotency-key", "k"]);
    bed.fake.on("NodeService/CordonNode", replies);
    let json = bed.run(&["node", "cordon", "data-1", "data-9", "data-2", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["failures"][0]["code"], "not-found");
    insta::assert_snapshot!(table.transcript());
    let keys: Vec<_> = bed.fake.asked::<CordonNodeRequest>("NodeService/CordonNode");
    let keys: Vec<_> =
        keys.iter().map(|request| request.options.as_ref().unwrap().idempotency_key.as_str()).collect();
    assert_eq!(keys[..3], ["k", "k.1", "k.2"]);
}

#[test]
fn lists_are_read_to_their_end_or_their_limit() {
    let bed = Bed::new();
    let page = |number, next: &str| {
        let nodes = vec![data::node(number, NodeState::Active)];
        Reply::say(&ListNodesResponse { nodes, next_page_token: next.to_owned() })
    };
    bed.fake.on("NodeService/ListNodes", vec![page(1, "a"), page(2, "b"), page(3, "")]);
    let run = bed.run(&["node", "list", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let names: Vec<_> =
        json["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["data-1", "data-2", "data-3"]);
    let tokens: Vec<_> = bed.fake.asked::<ListNodesRequest>("NodeService/ListNodes");
    assert_eq!(tokens.iter().map(|request| request.page_token.as_str()).collect::<Vec<_>>(), ["", "a", "b"]);

    let page = Reply::say(&ListLayoutsResponse {
        layouts: vec![data::layout(3, false), data::layout(2, false)],
        next_page_token: "more".to_owned(),
    });
    bed.fake.on("LayoutService/ListLayouts", vec![page]);
    let run = bed.run(&["layout", "history", "--limit", "2"]);
    assert_eq!((run.code, bed.fake.asked::<ListLayoutsRequest>("LayoutService/ListLayouts").len()), (0, 1));
    // A server that turns in circles is not followed for ever.
    assert_eq!(bed.run(&["layout", "history", "--limit", "0"]).code, 1);
}

#[test]
fn a_policy_goes_as_toml_whatever_it_is_written_in() {
    let bed = Bed::new();
    data::well(&bed);
    let text = "# kept\n[[rules]]\neffect = \"deny\"\n";
    bed.file("teams.toml", text);
    bed.file("teams.json", r#"{"rules": [{"effect": "deny"}]}"#);
    for file in ["teams.toml", "teams.json"] {
        let run = bed.run(&["policy", "apply", file, "--yes", "--expect-generation", "3"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let asked = bed.fake.asked::<ApplyPolicyRequest>("PolicyService/ApplyPolicy");
    assert_eq!((asked[0].content.as_str(), asked[0].name.as_str()), (text, "teams"));
    assert_eq!(asked[1].content, "[[rules]]\neffect = \"deny\"\n");
    assert_eq!(asked[1].expected_generation, Some(3));
}

#[test]
fn tests_of_policy_that_fail_fail() {
    let bed = Bed::new();
    let test = |passed: bool| AccessTestResult {
        test: Some(AccessTest {
            case: Some(AccessCase {
                principal: "anonymous".to_owned(),
                verb: "read".to_owned(),
                ..AccessCase::default()
            }),
            expected_effect: AccessEffect::Deny.into(),
        }),
        decision: Some(AccessDecision {
            effect: if passed { AccessEffect::Deny } else { AccessEffect::Allow }.into(),
            ..AccessDecision::default()
        }),
        passed,
    };
    bed.on(
        "PolicyService/TestAccess",
        &TestAccessResponse { results: vec![test(true), test(false)], failed_count: 1 },
    );
    bed.file(
        "cases.toml",
        "[[test]]\nprincipal = \"anonymous\"\nverb = \"read\"\nmodule = \"m.example\"\nexpect = \"deny\"\n",
    );
    bed.file("teams.toml", "rules = []\n");
    let run = bed.run(&["policy", "test", "cases.toml", "--document", "teams.toml"]);
    insta::assert_snapshot!(run.transcript());
    let asked = bed.fake.asked::<TestAccessRequest>("PolicyService/TestAccess");
    assert_eq!((asked[0].name.as_str(), asked[0].content.as_str()), ("teams", "rules = []\n"));
}

#[test]
fn plan_and_diff_say_by_their_exit_code_whether_something_would_change() {
    let bed = Bed::new();
    data::well(&bed);
    bed.file("teams.toml", "rules = []\n");
    assert_eq!(bed.run(&["layout", "plan"]).code, 2);
    assert_eq!(bed.run(&["policy", "diff", "teams.toml"]).code, 2);
    let plan = LayoutPlan { epoch: 13, ..LayoutPlan::default() };
    bed.on("LayoutService/PlanLayout", &PlanLayoutResponse { plan: Some(plan) });
    bed.on(
        "PolicyService/DiffPolicy",
        &DiffPolicyResponse { generation: 3, ..DiffPolicyResponse::default() },
    );
    assert_eq!(bed.run(&["layout", "plan"]).code, 0);
    assert_eq!(bed.run(&["policy", "diff", "teams.toml"]).code, 0);
    let problems = vec!["line 1: unknown key `rule`".to_owned()];
    bed.on("PolicyService/DiffPolicy", &DiffPolicyResponse { problems, ..DiffPolicyResponse::default() });
    let run = bed.run(&["policy", "diff", "teams.toml"]);
    assert_eq!(run.code, 64);
    assert!(run.stderr.contains("line 1: unknown key `rule`"), "{}", run.stderr);
}
