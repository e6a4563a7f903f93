//! Going on from a member of this machine: goproxyd is run, and nobody is asked.

use std::os::unix::fs::PermissionsExt;

use crate::bed::Bed;

/// A goproxyd that says what it is asked, and a plan.
pub(crate) const PLANS: &str = r#"echo "$@" >> asked
echo '{"cluster_id":"4f1c0000000000000000000000000000","member":{"name":"control-3","id":3,"role":"voter","rpc_address":"10.0.0.3:8083"},
"term":4,"last_term":4,"last_index":120,"committed_index":118,"applied_index":118,"gone":[{"name":"control-1","id":1,"role":"voter","rpc_address":"10.0.0.1:8083"},
{"name":"control-2","id":2,"role":"voter","rpc_address":"10.0.0.2:8083"},{"name":"control-4","id":4,"role":"staged","rpc_address":""}],
"node_count":3,"layout_epoch":5,"recovery":1,"new_index":1000000120,"new_term":5}'
"#;

/// Puts a program in the place of goproxyd.
pub(crate) fn goproxyd(bed: &Bed, script: &str) {
    let path = bed.file("goproxyd", &format!("#!/bin/sh\n{script}"));
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

const RECOVER: [&str; 6] = ["cluster", "recover", "--goproxyd", "./goproxyd", "--data-dir", "/srv/control"];

fn asked(bed: &Bed) -> String {
    std::fs::read_to_string(bed.path("asked")).unwrap_or_default()
}

#[test]
fn what_will_be_is_shown_and_nothing_is_done_unless_somebody_says_so() {
    let bed = Bed::new();
    goproxyd(&bed, PLANS);
    let look = "recover --data-dir /srv/control --json\n";
    let run = bed.run(&RECOVER);
    assert_eq!((run.code, asked(&bed).as_str()), (64, look));
    insta::assert_snapshot!(run.transcript());
    let run = bed.run(&[&RECOVER[..], &["--dry-run"]].concat());
    assert_eq!((run.code, asked(&bed)), (0, look.repeat(2)));
    let run = bed.run(&[&RECOVER[..], &["--yes", "--reason", "two burnt"]].concat());
    let done = "recover --data-dir /srv/control --json --yes --reason=two burnt\n";
    assert_eq!((run.code, asked(&bed)), (0, look.repeat(3) + done));
}

#[test]
fn what_goproxyd_refuses_is_told_with_an_exit_code_of_ours() {
    let bed = Bed::new();
    let mut text = Vec::new();
    for (says, code) in [
        ("echo 'error: open the data directory: it is in use by another process' >&2; exit 3", 3),
        (
            "echo 'error: recover the cluster: this member is the only one of its cluster: start it' >&2; exit 2",
            3,
        ),
        ("echo 'error: serve: no room' >&2; exit 1", 1),
        ("echo well", 1),
    ] {
        goproxyd(&bed, says);
        let run = bed.run(&[&RECOVER[..], &["--yes"]].concat());
        assert_eq!(run.code, code, "{says}");
        text.push(run.transcript());
    }
    let run = bed.run(&["cluster", "recover", "--goproxyd", "/no/such/program", "--yes"]);
    assert_eq!(run.code, 1);
    text.push(run.transcript());
    insta::assert_snapshot!(text.join("\n"));
}
