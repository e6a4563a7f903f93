//! What a person at a terminal sees and is asked: colours, names to be typed, pictures over pictures, a bar.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};

use proto::control::v1::*;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::bed::Bed;
use crate::data;
use crate::fake::Reply;

/// Starts the program at a terminal; the other end of that.
fn start(mut command: Command) -> (Child, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = || File::options().read(true).write(true).open(&path).unwrap();
    command.stdin(theirs()).stdout(theirs()).stderr(theirs());
    // The command goes, and with it our copies of its end: only then the terminal ends when the program does.
    (command.spawn().unwrap(), File::from(ours))
}

/// Runs the program at a terminal where somebody types `input`. The exit code, and everything that was to be seen.
fn at_terminal(command: Command, input: &str) -> (i32, String) {
    let (mut child, mut ours) = start(command);
    ours.write_all(input.as_bytes()).unwrap();
    let mut seen = Vec::new();
    // Linux says by an error that nobody is at the other end any more.
    let _ = ours.read_to_end(&mut seen);
    (child.wait().unwrap().code().unwrap(), String::from_utf8_lossy(&seen).replace("\r\n", "\n"))
}

#[test]
fn only_who_types_the_name_destroys() {
    let bed = Bed::new();
    data::well(&bed);
    let remove = || bed.command(&["node", "remove", "data-1"]);
    let removed = || bed.fake.asked::<RemoveNodeRequest>("NodeService/RemoveNode").len();
    let (code, seen) = at_terminal(remove(), "yes\n");
    assert_eq!((code, removed()), (130, 0));
    assert!(seen.contains("This will take node data-1 out for good.\nType `data-1` to go on: "), "{seen}");
    assert!(seen.contains("error: not confirmed, nothing was changed"), "{seen}");
    let (code, seen) = at_terminal(remove(), "data-1\n");
    assert_eq!((code, removed()), (0, 1), "{seen}");
}

#[test]
fn who_removes_by_force_is_told_first_what_nobody_else_has() {
    let bed = Bed::new();
    data::well(&bed);
    let versions =
        |count: usize| (0..count).map(|number| format!("example.com/m{number:02}@v1.0.0")).collect();
    let removed = |count: usize| RemoveNodeResponse {
        node: Some(data::node(1, NodeState::Removed)),
        last_copies: versions(count),
        last_copy_count: count as u64,
        ..RemoveNodeResponse::default()
    };
    bed.on("NodeService/RemoveNode", &removed(12));
    let remove = || bed.command(&["node", "remove", "data-1", "--force"]);
    let (code, seen) = at_terminal(remove(), "no\n");
    assert_eq!(code, 130);
    assert!(
        seen.contains(
            "out for good; no other node that is up has what was published as example.com/m00@v1.0.0, "
        ),
        "{seen}"
    );
    assert!(seen.contains("m09@v1.0.0, and 2 more.\nType `data-1` to go on: "), "{seen}");
    let asked = || bed.fake.asked::<RemoveNodeRequest>("NodeService/RemoveNode");
    assert!(asked().iter().all(|request| request.options.as_ref().is_some_and(|options| options.dry_run)));
    let (code, _) = at_terminal(remove(), "data-1\n");
    assert_eq!(code, 0);
    let real = |request: &RemoveNodeRequest| request.options.as_ref().is_some_and(|options| !options.dry_run);
    assert_eq!(asked().iter().filter(|request| real(request)).count(), 1);
}

#[test]
fn who_is_asked_can_press_ctrl_c() {
    let bed = Bed::new();
    data::well(&bed);
    bed.file("teams.toml", "rules = []\n");
    // A verb that has talked to the cluster before it asks, so that it listens to signals already.
    let (mut child, mut ours) = start(bed.command(&["policy", "apply", "teams.toml"]));
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("to go on: ") {
        let mut piece = [0; 256];
        let length = ours.read(&mut piece).unwrap();
        seen.extend_from_slice(&piece[..length]);
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(bed.fake.asked::<ApplyPolicyRequest>("PolicyService/ApplyPolicy").is_empty());
}

#[test]
fn colours_are_for_terminals_and_can_be_refused() {
    let bed = Bed::new();
    data::well(&bed);
    let (_, seen) = at_terminal(bed.command(&["cluster", "status"]), "");
    assert!(seen.contains("\u{1b}[31mdown\u{1b}[0m"), "{seen}");
    let mut command = bed.command(&["cluster", "status"]);
    command.env("NO_COLOR", "1");
    let (_, plain) = at_terminal(command, "");
    assert!(!plain.contains('\u{1b}') && plain.contains("down"), "{plain}");
    let (_, json) = at_terminal(bed.command(&["cluster", "status", "-o", "json"]), "");
    assert!(!json.contains('\u{1b}'), "{json}");
}

#[test]
fn a_picture_goes_over_the_one_before() {
    let bed = Bed::new();
    let states = [1 << 30, 0].map(|left| WatchLayoutStatusResponse { status: Some(data::moving(left)) });
    bed.fake.on("LayoutService/WatchLayoutStatus", vec![Reply::stream(&states)]);
    let (code, seen) = at_terminal(bed.command(&["layout", "status", "--watch"]), "");
    assert_eq!(code, 0);
    assert_eq!(seen.matches("\u{1b}[8A\u{1b}[J").count(), 1, "{seen}");
}

#[test]
fn who_waits_sees_a_bar_and_then_the_job() {
    let bed = Bed::new();
    data::well(&bed);
    let steps = [(JobState::Running, 1 << 30), (JobState::Succeeded, 3 << 30)];
    let steps = steps.map(|(state, done)| WatchJobResponse { job: Some(data::job(state, done)) });
    bed.fake.on("OperationService/WatchJob", vec![Reply::stream(&steps)]);
    let (code, seen) = at_terminal(bed.command(&["node", "drain", "data-1", "--wait"]), "");
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("drain-node node data-1") && seen.contains("1.00 GiB/3.00 GiB"), "{seen}");
    assert!(seen.contains("succeeded"), "{seen}");
}
