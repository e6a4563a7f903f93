//! How errors look, and the exit code of each.

use std::fmt::Write as _;

use proto::control::v1::*;
use proto::{ErrorCode, Fault};

use crate::bed::Bed;
use crate::data;
use crate::fake::Reply;

#[test]
fn refusals_say_who_refused_and_what_to_do() {
    let bed = Bed::new();
    let fault = Fault::new(ErrorCode::WrongEpoch, "the next layout would get epoch 14, not 13")
        .about("layout")
        .hint("Run `goproxyctl layout plan` again.");
    bed.fake.on("LayoutService/ApplyLayout", vec![Reply::Refuse(fault)]);
    insta::assert_snapshot!(bed.run(&["layout", "apply", "--expect-epoch", "13"]).transcript());
}

#[test]
fn every_reason_has_its_exit_code() {
    let bed = Bed::new();
    let codes = (1..).map_while(|number| ErrorCode::try_from(number).ok());
    let mut text = String::new();
    for code in codes {
        bed.fake.on("ClusterService/GetStatus", vec![Reply::refuse(code, "no")]);
        let run = bed.run(&["cluster", "status", "--timeout", "300ms"]);
        assert_eq!(run.code, i32::from(code.meaning().exit), "{code}");
        let hint = run.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or("no hint");
        writeln!(text, "{} {code}: {hint}", run.code).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_unhealthy_cluster_is_an_answer_with_exit_code_5() {
    let bed = Bed::new();
    let problems = vec!["control-2 is down".to_owned()];
    let health = GetHealthResponse { health: Health::Suspect.into(), quorum: true, problems };
    bed.on("ClusterService/GetHealth", &health);
    insta::assert_snapshot!(bed.run(&["cluster", "health"]).transcript());
}

#[test]
fn health_needs_no_token_and_the_rest_says_that_it_does() {
    let bed = Bed::new();
    data::well(&bed);
    let bare = |arguments: &[&str]| {
        let mut command = bed.bare(arguments);
        command
            .env("GOPROXYCTL_SERVER", bed.fake.address.to_string())
            .env("GOPROXYCTL_CA", bed.path("ca.pem"));
        bed.finish(&mut command)
    };
    assert_eq!(bare(&["cluster", "health"]).code, 0);
    assert_eq!(bed.fake.authorizations(), [None]);
    insta::assert_snapshot!(bare(&["cluster", "status"]).transcript());
}

#[test]
fn nothing_listens_there() {
    let bed = Bed::new();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (one, two) = (free(), free());
    let run = bed.run(&["cluster", "status", "--server", &format!("{one},{two},nowhere.invalid:1")]);
    assert_eq!(run.code, 6);
    let text = run.transcript().replace(&one, "127.0.0.1:1").replace(&two, "127.0.0.1:2");
    // What a resolver says differs from machine to machine.
    let lines = text.lines().map(|line| {
        line.split_once("resolve name: ")
            .map_or(line.to_owned(), |(head, _)| format!("{head}resolve name: …"))
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn nothing_is_set() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.finish(&mut bed.bare(&["cluster", "status"])).transcript());
}

#[test]
fn usage_ends_with_64() {
    let bed = Bed::new();
    let runs: [&[&str]; 9] = [
        &["node", "frobnicate"],
        &["node", "add"],
        &["nodes", "list"],
        &["node", "list", "--state", "activ"],
        &["cluster", "status", "--server", "a:b"],
        &["layout", "apply"],
        &["help", "nothing"],
        &["node", "label", "data-1"],
        &["cluster", "audit", "--since", "yesterday"],
    ];
    let mut text = String::new();
    for arguments in runs {
        let run = bed.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (64, ""), "{arguments:?}");
        text.push_str(&run.transcript());
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_answer_that_does_not_come_ends_with_6() {
    let bed = Bed::new();
    bed.fake.on("ClusterService/GetStatus", vec![Reply::Hang]);
    insta::assert_snapshot!(bed.run(&["cluster", "status", "--timeout", "200ms"]).transcript());
}

#[test]
fn a_server_that_says_too_little_is_not_believed() {
    let bed = Bed::new();
    bed.on("ClusterService/GetStatus", &GetStatusResponse { status: None });
    let run = bed.run(&["cluster", "status"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("the server's answer has no status"), "{}", run.stderr);
}
