//! How every verb's answer looks: as a table, as JSON, as YAML.

use unicode_width::UnicodeWidthStr as _;

use crate::bed::Bed;
use crate::{data, data_modules, recover};

/// Every verb once, by noun. A new one belongs here.
const VERBS: [(&str, &[&[&str]]); 11] = [
    (
        "cluster",
        &[
            &["cluster", "status"],
            &["cluster", "health"],
            &["cluster", "transfer-leader", "control-2", "--reason", "kernel update"],
            &["cluster", "recover", "--yes", "--goproxyd", "./goproxyd"],
            &["cluster", "audit"],
            &["cluster", "jobs", "list"],
            &["cluster", "jobs", "show", "j-17"],
            &["cluster", "jobs", "cancel", "j-17"],
        ],
    ),
    (
        "member",
        &[
            &["member", "add", "control-4"],
            &["member", "list"],
            &["member", "promote", "control-3"],
            &["member", "remove", "control-3", "--yes"],
        ],
    ),
    (
        "node",
        &[
            &["node", "add", "data-4", "--zone", "a"],
            &["node", "list"],
            &["node", "show", "data-1"],
            &["node", "cordon", "data-1"],
            &["node", "uncordon", "data-1"],
            &["node", "drain", "data-1"],
            &["node", "remove", "data-1", "--yes"],
            &["node", "replace", "data-1", "--with", "data-4"],
            &["node", "label", "data-1", "rack=r7", "old-"],
        ],
    ),
    (
        "layout",
        &[
            &["layout", "show", "--slots"],
            &["layout", "locate", "github.com/spf13/cobra"],
            &["layout", "plan", "--slots"],
            &["layout", "apply", "--expect-epoch", "13"],
            &["layout", "revert", "--expect-epoch", "13"],
            &["layout", "status"],
            &["layout", "pause"],
            &["layout", "resume"],
            &["layout", "history"],
        ],
    ),
    ("failover", &[&["failover", "leader"], &["failover", "node", "data-1", "--yes"]]),
    (
        "policy",
        &[
            &["policy", "show"],
            &["policy", "show", "teams"],
            &["policy", "diff", "teams.toml"],
            &["policy", "apply", "teams.toml", "--yes"],
            &["policy", "apply", "--delete", "--name", "teams", "--yes"],
            &["policy", "test", "cases.toml"],
            &["policy", "explain", "--principal", "token:ci", "--verb", "publish", "example.com/m"],
            &["policy", "history", "teams"],
        ],
    ),
    (
        "module",
        &[
            &["module", "list"],
            &["module", "show", "github.com/spf13/cobra"],
            &["module", "warm", "github.com/spf13/cobra@v1.8.0"],
            &["module", "purge", "github.com/spf13/cobra", "--yes"],
            &["module", "pin", "github.com/spf13/cobra"],
            &["module", "unpin", "github.com/spf13/cobra"],
            &["module", "quarantine", "github.com/spf13/cobra@v1.7.0", "--reason", "see ticket 12"],
            &["module", "quarantine", "github.com/spf13/cobra@v1.7.0", "--lift"],
            &["module", "verify", "github.com/spf13/cobra@v1.8.0"],
            &["module", "takedown", "github.com/spf13/cobra@v1.7.0", "--reason", "see ticket 12", "--yes"],
            &["module", "marks"],
        ],
    ),
    ("cache", &[&["cache", "usage"], &["cache", "gc"], &["cache", "scrub"], &["cache", "repair", "data-1"]]),
    (
        "token",
        &[
            &["token", "create", "ci", "--role", "viewer"],
            &["token", "list"],
            &["token", "rotate", "ci"],
            &["token", "revoke", "ci", "--yes"],
            &["token", "whoami"],
        ],
    ),
    ("cert", &[&["cert", "status"], &["cert", "rotate", "--yes"]]),
    ("own", &[&["env"], &["help", "exit-codes"]]),
];

fn bed() -> Bed {
    let bed = Bed::new();
    data::well(&bed);
    data_modules::well(&bed);
    bed.file("teams.toml", "[[rules]]\neffect = \"allow\"\n");
    let case = "[[test]]\nprincipal = \"token:ci\"\nverb = \"publish\"\nmodule = \"example.com/m\"\nexpect = \"allow\"\n";
    bed.file("cases.toml", case);
    recover::goproxyd(&bed, recover::PLANS);
    bed
}

fn transcripts(bed: &Bed, verbs: &[&[&str]], form: &[&str]) -> String {
    let runs = verbs.iter().map(|verb| bed.run(&[*verb, form].concat()).transcript());
    runs.collect::<Vec<_>>().join("\n")
}

#[test]
fn tables() {
    let bed = bed();
    for (noun, verbs) in VERBS {
        let mut text = transcripts(&bed, verbs, &[]);
        if noun == "own" {
            // The columns are as wide as the folder's name, which is another each time.
            text = text
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
                .collect();
        }
        insta::assert_snapshot!(format!("table_{noun}"), text);
    }
}

#[test]
fn json() {
    let bed = bed();
    for (noun, verbs) in VERBS {
        insta::assert_snapshot!(format!("json_{noun}"), transcripts(&bed, verbs, &["-o", "json"]));
    }
}

#[test]
fn yaml() {
    let bed = bed();
    for (noun, verbs) in VERBS {
        insta::assert_snapshot!(format!("yaml_{noun}"), transcripts(&bed, verbs, &["-o", "yaml"]));
    }
}

#[test]
fn json_is_json_and_yaml_says_the_same_lines() {
    let bed = bed();
    for verb in VERBS.iter().flat_map(|(_, verbs)| *verbs) {
        let json = bed.run(&[*verb, &["-o", "json"]].concat()).stdout;
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{verb:?}: {json}");
    }
}

/// Texts that are to be copied are whole, however wide they are.
fn is_to_be_copied(line: &str) -> bool {
    line.starts_with("gpj1.") || line.starts_with("goproxyd ")
}

#[test]
fn no_line_is_wider_than_a_hundred_columns() {
    let bed = bed();
    for verb in VERBS.iter().flat_map(|(_, verbs)| *verbs) {
        let run = bed.run(verb);
        for line in run.stdout.lines().filter(|line| !is_to_be_copied(line)) {
            assert!(line.width() <= 100, "{verb:?}: {} columns: {line}", line.width());
        }
    }
}

#[test]
fn not_even_where_everything_has_the_longest_name() {
    let bed = bed();
    let long = "n".repeat(63);
    let mut status = data::status();
    for node in &mut status.nodes {
        (node.name, node.zone, node.listen) =
            (long.clone(), long.clone(), format!("{}.example:65535", "h".repeat(240)));
        (node.weight, node.epoch) = (u32::MAX, u64::MAX);
    }
    for member in &mut status.members {
        (member.name, member.version, member.applied_index) = (long.clone(), long.clone(), u64::MAX);
    }
    status.leader = long.clone();
    status.alarms[0].message = "words and ".repeat(100);
    let response = proto::control::v1::GetStatusResponse { status: Some(status) };
    bed.on("ClusterService/GetStatus", &response);
    let run = bed.run(&["cluster", "status"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for line in run.stdout.lines() {
        assert!(line.width() <= 100, "{} columns: {line}", line.width());
    }
    insta::assert_snapshot!("wide", run.stdout);
}

#[test]
fn what_others_wrote_does_nothing_to_a_terminal() {
    let bed = bed();
    let mut status = data::status();
    status.alarms[0].message = "\u{1b}[2J\u{7}gone".to_owned();
    bed.on("ClusterService/GetStatus", &proto::control::v1::GetStatusResponse { status: Some(status) });
    let run = bed.run(&["cluster", "status"]);
    assert!(!run.stdout.contains('\u{1b}') && !run.stdout.contains('\u{7}'), "{}", run.stdout);
}

#[test]
fn whoever_stops_reading_ends_it_quietly() {
    let bed = bed();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = bed.command(&["cluster", "status"]);
    command.stdout(writer).stderr(std::process::Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
