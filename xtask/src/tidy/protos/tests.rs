//! Each rule with a file that is against it, beside one that is not.

use super::super::tree::File;
use super::*;

/// A file that is against nothing.
const FINE: &str = r#"syntax = "proto3";

package goproxy.control.v1;

import "google/protobuf/duration.proto";
import "google/protobuf/timestamp.proto";

// Things.
service ThingService {
  // The things.
  rpc ListThings(ListThingsRequest) returns (ListThingsResponse);
  // Moves a thing.
  rpc MoveThing(MoveThingRequest) returns (MoveThingResponse);
}

// Options.
message MutationOptions {
  // Why.
  string reason = 1;
}

// Kinds.
enum ThingKind {
  // Not said.
  THING_KIND_UNSPECIFIED = 0;
  // Round.
  THING_KIND_ROUND = 1;
}

// Asks.
message ListThingsRequest {
  // So many.
  uint32 page_size = 1;
  // From there.
  string page_token = 2;
  // When.
  google.protobuf.Timestamp since_time = 3;
  // How long.
  google.protobuf.Duration wait_duration = 4;
}

// Answers.
message ListThingsResponse {
  // Which.
  repeated string things = 1;
  // More.
  string next_page_token = 2;
  // Kinds by name.
  map<string, ThingKind> kinds = 3;
}

// Asks.
message MoveThingRequest {
  // How.
  MutationOptions options = 1;
  // Where.
  oneof place {
    // There.
    string name = 2;
    // Or there.
    uint64 id = 3 [json_name = "ID"];
  }
  // Perhaps.
  optional bool fast = 4;
}

// Answers.
message MoveThingResponse {}
"#;

const PATH: &str = "proto/goproxy/control/v1/thing.proto";

fn tree(files: &[(&str, &str)]) -> Tree {
    let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
    Tree { files: files.iter().map(file).collect() }
}

/// What is found in a file at this path, its lock being up to date.
fn found_at(path: &str, text: &str) -> Vec<String> {
    let lock = locked(&tree(&[(path, text)]), false).unwrap();
    check(&tree(&[(path, text), (LOCK, &lock)])).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_fine_is_let_alone() {
    assert_eq!(found_at(PATH, FINE), Vec::<String>::new());
    assert_eq!(check(&tree(&[])), Vec::new());
}

#[test]
fn every_rule_can_be_broken() {
    for (from, to, rule) in [
        ("package goproxy.control.v1;", "package goproxy.control;", "not of the form goproxy.<area>.v1"),
        (
            "package goproxy.control.v1;",
            "package goproxy.control.v2;",
            "is in the folder `goproxy/control/v1`",
        ),
        ("service ThingService", "service Things", "`Things` is not PascalCase with `Service`"),
        ("rpc MoveThing(", "rpc move_thing(", "`move_thing` is not PascalCase"),
        ("rpc MoveThing(MoveThingRequest)", "rpc MoveThing(ListThingsRequest)", "is shared by"),
        ("returns (MoveThingResponse)", "returns (MutationOptions)", "not `MoveThingResponse`"),
        ("  uint32 page_size = 1;", "  uint32 pages = 1;", "`ListThings` has no page_size"),
        ("  string next_page_token", "  string next", "`ListThings` has no page_size"),
        ("  MutationOptions options = 1;", "  string options = 1;", "takes no `MutationOptions options`"),
        ("repeated string things", "repeated string Things", "`Things` is not lower_snake_case"),
        ("repeated string things", "repeated string the__things", "`the__things` is not lower_snake_case"),
        ("since_time", "since", "`since` is not a name that ends in `_time`"),
        ("wait_duration", "wait", "`wait` is not a name that ends in `_duration`"),
        ("oneof place", "oneof Place", "`Place` is not lower_snake_case"),
        ("message MoveThingResponse", "message moveThingResponse", "`moveThingResponse` is not PascalCase"),
        ("THING_KIND_ROUND", "ROUND", "`ROUND` is not UPPER_SNAKE_CASE with `THING_KIND_`"),
        ("THING_KIND_ROUND", "THING_KIND_round", "`THING_KIND_round` is not UPPER_SNAKE_CASE"),
        ("THING_KIND_UNSPECIFIED", "THING_KIND_NONE", "not `THING_KIND_UNSPECIFIED`"),
        (
            "  THING_KIND_ROUND = 1;",
            "  THING_KIND_ROUND = 1;\n  // x\n  THING_KIND_A = 1;\n  option allow_alias = true;",
            "two names for one number",
        ),
        (
            "  google.protobuf.Duration wait_duration = 4;",
            "  bool wait = 4;",
            "`google/protobuf/duration.proto`, which is not used",
        ),
        ("import \"google/protobuf/d", "import public \"google/protobuf/d", "public or weak import"),
    ] {
        let text = FINE.replace(from, to);
        // Where a type's name changes its uses do too.
        let text = if from.starts_with("message ") {
            text.replace("(MoveThingResponse)", "(moveThingResponse)")
        } else {
            text
        };
        let found = found_at(PATH, &text);
        assert!(found.iter().any(|finding| finding.contains(rule)), "{rule}: {found:?}");
    }
    let renamed = found_at("proto/goproxy/control/v1/theThing.proto", FINE);
    assert!(
        renamed.iter().any(|finding| finding.contains("`theThing` is not lower_snake_case")),
        "{renamed:?}"
    );
    let proto2 = FINE.replace("proto3", "proto2").replace("  string", "  optional string");
    assert!(
        check(&tree(&[(PATH, &proto2)])).iter().any(|finding| finding.rule.contains("proto")),
        "not proto3"
    );
}

#[test]
fn everything_has_a_comment() {
    let comments: Vec<_> = FINE.lines().filter(|line| line.trim_start().starts_with("//")).collect();
    assert_eq!(comments.len(), 24);
    for (number, line) in FINE.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//")) {
        let without: Vec<_> =
            FINE.lines().enumerate().filter(|(at, _)| *at != number).map(|(_, line)| line).collect();
        let found = found_at(PATH, &without.join("\n"));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].contains(&format!("thing.proto:{}: ", number + 1)), "{found:?}");
        assert!(found[0].contains("has no comment above it"), "{found:?}");
    }
}

#[test]
fn what_does_not_compile_is_said() {
    let found = check(&tree(&[(PATH, "syntax = \"proto3\";\nmessage {")]));
    assert!(found.len() == 1 && found[0].rule.starts_with("does not compile"), "{found:?}");
}

/// What is found when the fine file was locked and then became another.
fn since(from: &str, to: &str) -> Vec<String> {
    assert!(FINE.contains(from), "{from}");
    let lock = locked(&tree(&[(PATH, FINE)]), false).unwrap();
    let changed = tree(&[(PATH, &FINE.replace(from, to)), (LOCK, &lock)]);
    check(&changed).into_iter().filter(|finding| finding.path == LOCK).map(|finding| finding.rule).collect()
}

#[test]
fn what_was_agreed_on_does_not_change() {
    for (from, to, rule) in [
        (
            "string page_token = 2",
            "string page_token = 5",
            "ListThingsRequest 2` was `string page_token` and is neither",
        ),
        ("string page_token = 2", "bytes page_token = 2", "and is `bytes page_token`"),
        ("string page_token = 2", "string token = 2", "and is `string token`"),
        ("repeated string things", "string things", "and is `string things`"),
        ("optional bool fast", "bool fast", "and is `bool fast`"),
        (" [json_name = \"ID\"]", "", "was `uint64 id oneof=place json=ID` and is `uint64 id oneof=place`"),
        ("map<string, ThingKind>", "map<string, string>", "and is `map<string,string> kinds`"),
        ("THING_KIND_ROUND = 1", "THING_KIND_FLAT = 1", "was `THING_KIND_ROUND` and is `THING_KIND_FLAT`"),
        ("  // Round.\n  THING_KIND_ROUND = 1;\n", "", "neither there nor reserved"),
        ("  // Perhaps.\n  optional bool fast = 4;\n", "", "neither there nor reserved"),
        (
            "  // Perhaps.\n  optional bool fast = 4;\n",
            "  reserved 4;\n",
            "was `optional bool fast` and is `reserved `",
        ),
        (
            "  // Perhaps.\n  optional bool fast = 4;\n",
            "  reserved \"fast\";\n",
            "neither there nor reserved",
        ),
        ("returns (MoveThingResponse)", "returns (stream MoveThingResponse)", "-> stream goproxy"),
        ("rpc MoveThing(", "rpc PushThing(", "ThingService MoveThing` is gone"),
        ("service ThingService", "service OtherService", "ThingService` is gone"),
        ("// Answers.\nmessage MoveThingResponse {}\n", "// x\nmessage X {}\n", "MoveThingResponse` is gone"),
    ] {
        let found = if from.contains("message MoveThingResponse") {
            // Its use has to go as well for the file to compile.
            let lock = locked(&tree(&[(PATH, FINE)]), false).unwrap();
            let text = FINE.replace(from, to).replace("(MoveThingResponse)", "(X)");
            check(&tree(&[(PATH, &text), (LOCK, &lock)])).iter().map(ToString::to_string).collect()
        } else {
            since(from, to)
        };
        assert!(found.iter().any(|finding| finding.contains(rule)), "{rule}: {found:?}");
    }
}

#[test]
fn what_is_new_is_locked_and_what_is_old_may_be_reserved() {
    let fast = "  // Perhaps.\n  optional bool fast = 4;\n";
    let added = since(fast, &format!("{fast}  // More.\n  bool more = 5;\n"));
    assert_eq!(added, ["lacks `goproxy.control.v1.MoveThingRequest 5`: cargo xtask lock-protos adds it"]);

    let reserved = FINE.replace(fast, "  reserved 4;\n  reserved \"fast\";\n");
    let lock = locked(&tree(&[(PATH, FINE)]), false).unwrap();
    let found = check(&tree(&[(PATH, &reserved), (LOCK, &lock)]));
    assert!(found.len() == 1 && found[0].rule.ends_with("takes it out"), "{found:?}");
    // Once it is locked as out of use it stays that.
    let lock = locked(&tree(&[(PATH, &reserved), (LOCK, &lock)]), false).unwrap();
    assert!(lock.contains("reserved fast"), "{lock}");
    assert_eq!(check(&tree(&[(PATH, &reserved), (LOCK, &lock)])), Vec::new());
    for text in [FINE.to_owned(), FINE.replace(fast, ""), FINE.replace(fast, "  reserved 4;\n")] {
        let found = check(&tree(&[(PATH, &text), (LOCK, &lock)]));
        assert!(found.iter().any(|finding| finding.path == LOCK), "{text}");
    }
}

#[test]
fn a_lock_is_not_written_over_what_it_forbids() {
    let lock = locked(&tree(&[(PATH, FINE)]), false).unwrap();
    let changed = FINE.replace("string page_token = 2", "bytes page_token = 2");
    let tree = tree(&[(PATH, &changed), (LOCK, &lock)]);
    assert!(locked(&tree, false).unwrap_err().to_string().contains("bytes page_token"));
    assert!(locked(&tree, true).unwrap().contains("bytes page_token"));
}

#[test]
fn a_lock_has_to_be_there_and_to_be_one() {
    let rule = |files: &[(&str, &str)]| check(&tree(files)).pop().unwrap().rule;
    assert!(rule(&[(PATH, FINE)]).starts_with("is missing"));
    assert!(rule(&[(PATH, FINE), (LOCK, "{")]).starts_with("is no lock"));
}
