//! What data nodes did of what was asked of all of them: who has not heard, what is bad, what was said twice.

use proto::control::v1::*;

use crate::bed::{Bed, Run};
use crate::fake::Reply;

const WARM: &str = "ModuleService/WarmVersions";
const VERIFY: &str = "ModuleService/VerifyModule";

fn json(run: &Run) -> serde_json::Value {
    serde_json::from_str(&run.stdout).unwrap()
}

fn warmed(version: &str, problem: &str) -> WarmVersionsResponse {
    let item = WarmItem {
        module_path: "example.com/m".to_owned(),
        version: version.to_owned(),
        ..WarmItem::default()
    };
    WarmVersionsResponse {
        item: Some(item),
        node: "data-1".to_owned(),
        bytes: 100,
        problem: problem.to_owned(),
        ..WarmVersionsResponse::default()
    }
}

fn verified(node: &str, problem: &str) -> VerifyModuleResponse {
    VerifyModuleResponse {
        node: node.to_owned(),
        version: "v1.0.0".to_owned(),
        bytes: 100,
        problems: (!problem.is_empty()).then(|| problem.to_owned()).into_iter().collect(),
        ..VerifyModuleResponse::default()
    }
}

#[test]
fn who_has_not_heard_of_a_takedown_is_named() {
    let bed = Bed::new();
    let result = |node: &str, problem: &str| PurgeResult {
        node: node.to_owned(),
        problem: problem.to_owned(),
        ..PurgeResult::default()
    };
    let told = MarkModuleResponse {
        mark: Some(Mark { module_path: "example.com/evil".to_owned(), ..Mark::default() }),
        behind_nodes: vec!["data-2".to_owned()],
        results: vec![
            result("data-1", ""),
            result("data-2", ""),
            result("data-3", "its disk takes no writes"),
        ],
    };
    bed.on("ModuleService/MarkModule", &told);
    let take_down = ["module", "takedown", "example.com/evil", "--reason", "malware", "--yes"];
    let run = bed.run(&[&take_down[..], &["--idempotency-key", "k1", "-o", "json"]].concat());
    assert_eq!(run.code, 7, "{}", run.stderr);
    let answer = json(&run);
    assert_eq!(
        (&answer["behind_nodes"][0], &answer["results"][2]["node"]),
        (&"data-2".into(), &"data-3".into())
    );
    assert!(run.stderr.contains("data-2") && run.stderr.contains("--idempotency-key k1"), "{}", run.stderr);
    assert!(run.stderr.contains("data-3 has not removed it yet: its disk takes no writes"), "{}", run.stderr);
    assert!(!run.stderr.contains("data-1"), "{}", run.stderr);
    bed.on("ModuleService/MarkModule", &MarkModuleResponse { behind_nodes: vec![], results: vec![], ..told });
    assert_eq!(bed.run(&take_down).code, 0);
}

#[test]
fn what_is_said_again_after_a_stream_broke_takes_the_place_of_what_was_said() {
    let bed = Bed::new();
    let again = vec![
        Reply::broken(&[warmed("v1.0.0", "the origin does not answer"), warmed("v1.1.0", "")]),
        Reply::stream(&[warmed("v1.1.0", ""), warmed("v1.0.0", "")]),
    ];
    let warm = ["module", "warm", "example.com/m@v1.0.0", "example.com/m@v1.1.0", "-o", "json"];
    bed.fake.on(WARM, again.clone());
    let run = bed.run(&warm);
    let answer = json(&run);
    assert_eq!((run.code, &answer["failed"]), (0, &0.into()), "{}", run.stderr);
    assert_eq!(answer["results"].as_array().unwrap().len(), 2);
    // What came of each is shown once, and once more if that is something else.
    bed.fake.on(WARM, again);
    let run = bed.run(&[&warm[..], &["--watch"]].concat());
    assert_eq!((run.code, run.stdout.lines().count()), (0, 3), "{}", run.stdout);

    let again = vec![
        Reply::broken(&[verified("data-1", "node data-1 did not answer in time")]),
        Reply::stream(&[verified("data-1", ""), verified("data-2", "")]),
    ];
    bed.fake.on(VERIFY, again);
    let run = bed.run(&["module", "verify", "example.com/m", "-o", "json"]);
    let answer = json(&run);
    assert_eq!((run.code, &answer["bad"]), (0, &0.into()), "{}", run.stderr);
    assert_eq!(answer["results"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_bad_ends_with_7_and_what_is_nowhere_with_1() {
    let bed = Bed::new();
    let verify = |results: &[VerifyModuleResponse]| {
        bed.fake.on(VERIFY, vec![Reply::stream(results)]);
        bed.run(&["module", "verify", "example.com/m"])
    };
    let bad = |set_aside: bool| VerifyModuleResponse {
        set_aside,
        checksum_database: "refused".to_owned(),
        ..verified("data-1", "its zip is h1:a, the checksum database has h1:b")
    };
    let left = || VerifyModuleResponse { not_held: true, ..verified("data-2", "") };
    let all_bad = verify(&[bad(true)]);
    assert_eq!(all_bad.code, 7, "{}", all_bad.stderr);
    assert!(all_bad.stdout.contains("yes") && all_bad.stdout.contains("refused"), "{}", all_bad.stdout);
    assert!(!verify(&[bad(false)]).stdout.contains("yes"));
    let some_left = verify(&[verified("data-1", ""), left()]);
    assert_eq!(some_left.code, 0, "{}", some_left.stderr);
    assert!(some_left.stdout.contains("not held"), "{}", some_left.stdout);
    let nowhere = verify(&[left()]);
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.stderr.contains("no node holds anything of it"), "{}", nowhere.stderr);
}

#[test]
fn a_repair_that_was_broken_off_is_not_done() {
    let bed = Bed::new();
    let repaired = |problem: &str, unreachable: &[&str]| RepairCacheResponse {
        node: "data-1".to_owned(),
        problem: problem.to_owned(),
        unreachable_nodes: unreachable.iter().map(ToString::to_string).collect(),
        done: true,
        ..RepairCacheResponse::default()
    };
    let code = |told: RepairCacheResponse| {
        bed.fake.on("CacheService/RepairCache", vec![Reply::stream(&[told])]);
        bed.run(&["cache", "repair"]).code
    };
    assert_eq!(code(repaired("", &[])), 0);
    assert_eq!(code(repaired("the layout changed meanwhile: repair again", &[])), 7);
    assert_eq!(code(repaired("", &["data-3"])), 7);
}

#[test]
fn what_a_walk_meets_twice_is_told_once() {
    let bed = Bed::new();
    let at = |bytes: u64, finding: &str| ScrubCacheResponse {
        node: "data-1".to_owned(),
        bytes,
        finding: finding.to_owned(),
        done: finding.is_empty(),
        ..ScrubCacheResponse::default()
    };
    let found = "example.com/m@v1.0.0: Blob CRC mismatch; not whole yet";
    let replies = vec![Reply::broken(&[at(10, found)]), Reply::stream(&[at(10, found), at(20, "")])];
    bed.fake.on("CacheService/ScrubCache", replies);
    let run = bed.run(&["cache", "scrub", "-o", "json"]);
    let answer = json(&run);
    assert_eq!(answer["findings"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["nodes"][0]["bytes"], 20);
}
