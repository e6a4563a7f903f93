//! No secret is where it was not asked for.

use std::os::unix::fs::PermissionsExt as _;

use crate::bed::{Bed, TOKEN};
use crate::data::{self, JOIN_TOKEN, NEW_SECRET};

#[test]
fn the_operators_token_is_never_shown() {
    let bed = Bed::new();
    data::well(&bed);
    let secret = TOKEN.rsplit('.').next().unwrap();
    let commands: [&[&str]; 6] = [
        &["cluster", "status"],
        &["env"],
        &["doctor"],
        &["token", "whoami"],
        &["token", "create", "ci"],
        &["node", "remove", "data-1"],
    ];
    for arguments in commands {
        for form in ["table", "json", "yaml"] {
            let run = bed.run(&[arguments, &["-v", "-o", form][..]].concat());
            assert!(
                !run.stdout.contains(secret) && !run.stderr.contains(secret),
                "{arguments:?}: {}",
                run.transcript()
            );
        }
    }
}

#[test]
fn new_secrets_are_on_standard_output_only() {
    let bed = Bed::new();
    data::well(&bed);
    let given: [(&[&str], &str); 4] = [
        (&["node", "add", "data-4"], JOIN_TOKEN),
        (&["member", "add", "control-4"], JOIN_TOKEN),
        (&["token", "create", "ci"], NEW_SECRET),
        (&["token", "rotate", "ci"], NEW_SECRET),
    ];
    for (arguments, secret) in given {
        for form in ["table", "json", "yaml"] {
            let run = bed.run(&[arguments, &["-v", "-o", form][..]].concat());
            assert!(run.stdout.contains(secret) && !run.stderr.contains(secret), "{}", run.transcript());
        }
    }
    // So that it can be redirected.
    assert_eq!(bed.run(&["token", "create", "ci"]).stdout, format!("{NEW_SECRET}\n"));
}

#[test]
fn a_secret_that_goes_to_a_file_is_nowhere_else() {
    let bed = Bed::new();
    data::well(&bed);
    for form in ["table", "json"] {
        let run = bed.run(&["token", "create", "ci", "--out", "ci.token", "-o", form]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(!run.stdout.contains(NEW_SECRET) && !run.stderr.contains(NEW_SECRET));
    }
    assert_eq!(std::fs::read_to_string(bed.path("ci.token")).unwrap(), format!("{NEW_SECRET}\n"));
    assert_eq!(std::fs::metadata(bed.path("ci.token")).unwrap().permissions().mode() & 0o777, 0o600);
    // A token that could not be kept is not made.
    let run = bed.run(&["token", "create", "ci", "--out", "no/such/folder/ci.token"]);
    assert_eq!(run.code, 1);
    let asked = bed.fake.asked::<proto::control::v1::CreateTokenRequest>("TokenService/CreateToken");
    assert_eq!(asked.len(), 2);
}
