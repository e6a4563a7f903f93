//! What destroys asks first, and does nothing where nobody can answer.

use crate::bed::Bed;
use crate::data;

const DESTRUCTIVE: [(&str, &[&str]); 7] = [
    ("MemberService/RemoveMember", &["member", "remove", "control-3"]),
    ("NodeService/RemoveNode", &["node", "remove", "data-1"]),
    ("NodeService/FailoverNode", &["failover", "node", "data-1"]),
    ("TokenService/RevokeToken", &["token", "revoke", "ci"]),
    ("CertificateService/RotateAuthority", &["cert", "rotate"]),
    ("PolicyService/DeletePolicy", &["policy", "apply", "--delete", "--name", "teams"]),
    ("PolicyService/ApplyPolicy", &["policy", "apply", "teams.toml"]),
];

fn asked(bed: &Bed, method: &str) -> usize {
    bed.fake.asked::<()>(method).len()
}

#[test]
fn without_a_terminal_it_is_refused_and_nobody_is_asked_for_anything() {
    let bed = Bed::new();
    data::well(&bed);
    bed.file("teams.toml", "rules = []\n");
    let mut transcripts = Vec::new();
    for (method, verb) in DESTRUCTIVE {
        let run = bed.run(verb);
        assert_eq!((run.code, asked(&bed, method)), (64, 0), "{verb:?}");
        transcripts.push(run.transcript());
    }
    insta::assert_snapshot!(transcripts.join("\n"));
}

#[test]
fn yes_is_enough_and_a_dry_run_needs_none() {
    let bed = Bed::new();
    data::well(&bed);
    bed.file("teams.toml", "rules = []\n");
    for (method, verb) in DESTRUCTIVE {
        for flag in ["--yes", "--dry-run"] {
            let run = bed.run(&[verb, &[flag][..]].concat());
            assert_eq!(run.code, 0, "{verb:?} {flag}: {}", run.stderr);
        }
        assert_eq!(asked(&bed, method), 2, "{verb:?}");
    }
}

#[test]
fn a_policy_that_only_grows_needs_no_answer() {
    let bed = Bed::new();
    data::well(&bed);
    bed.file("teams.toml", "rules = []\n");
    let grows = proto::control::v1::DiffPolicyResponse {
        generation: 3,
        differences: data::differences(false),
        problems: vec![],
    };
    bed.on("PolicyService/DiffPolicy", &grows);
    assert_eq!(bed.run(&["policy", "apply", "teams.toml"]).code, 0);
    assert_eq!(asked(&bed, "PolicyService/ApplyPolicy"), 1);
}
