//! Operators' credentials: revoked, rotated, and seen to be.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tests::{Cluster, Network};

/// A revoked credential is refused everywhere within this.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

/// Writes a token to a file, as goproxyctl takes it.
fn keep(cluster: &Cluster, name: &str, secret: &serde_json::Value) -> PathBuf {
    let path = cluster.credentials().join(name);
    std::fs::write(&path, secret.as_str().unwrap()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

/// Row 64 of the list of faults: a token has leaked and is revoked. Every control node refuses it soon; one that is cut off from the
/// others, and cannot have heard, answers nobody. What was done with it stands in the audit trail.
#[test]
fn a_revoked_token_is_refused_everywhere() {
    let mut cluster = Network::of(3).map_or_else(|| Cluster::of(3), |network| Cluster::on(network, 3));
    let created = cluster.ctl(&["token", "create", "leaked", "--role", "operator", "-o", "json"]).json();
    let leaked = keep(&cluster, "leaked.token", &created["secret"]);
    cluster.ctl_with(&cluster.servers(), &leaked, &["node", "add", "intruder"]).code(0);
    let lonely = (cluster.leader() + 1) % 3;
    if let Some(network) = &cluster.network {
        network.isolate(lonely);
    }
    let together = (0..3).filter(|at| cluster.network.is_none() || *at != lonely);
    let together: Vec<_> = together.map(|at| cluster.control[at].rpc().to_string()).collect();
    cluster.ctl_at(&together.join(","), &["token", "revoke", "leaked", "--yes"]).code(0);
    let revoked = Instant::now();
    for server in &together {
        cluster.ctl_with(server, &leaked, &["node", "list"]).code(4);
    }
    assert!(revoked.elapsed() < REFUSED_WITHIN);
    if let Some(network) = &cluster.network {
        let server = cluster.control[lonely].rpc().to_string();
        let told = cluster.ctl_with(&server, &leaked, &["--timeout", "2s", "node", "list"]);
        assert!([5, 6].contains(&told.code), "{told:?}");
        network.heal();
    }
    cluster.wait_voters(3);
    let trail = cluster.ctl(&["cluster", "audit", "-o", "json"]).json();
    let records = trail["records"].as_array().unwrap();
    assert!(
        records.iter().any(|one| one["caller"].to_string().contains("leaked")
            && one["subject"].to_string().contains("intruder")),
        "{trail}"
    );
    allow_cuts(&mut cluster);
}

/// Whoever did not hear the answer asks again, and perhaps another control node: what was given out is given out again.
#[test]
fn who_asks_again_under_a_key_is_shown_the_same_secret() {
    let cluster = Cluster::of(3);
    let servers: Vec<_> = cluster.control.iter().map(|node| node.rpc().to_string()).collect();
    let ask = |at: usize, arguments: &[&str]| cluster.ctl_at(&servers[at], arguments).json();
    cluster.ctl(&["token", "create", "turning", "--role", "viewer"]).code(0);
    let asked: [(&[&str], &str); 5] = [
        (&["node", "add", "data-1", "--zone", "a"], "join_token"),
        (&["node", "replace", "data-1", "--with", "data-2"], "join_token"),
        (&["member", "add", "control-4"], "join_token"),
        (&["token", "create", "fresh", "--role", "viewer"], "secret"),
        (&["token", "rotate", "turning"], "secret"),
    ];
    for (arguments, secret) in asked {
        let key = format!("key-of-{}-{}", arguments[0], arguments[1]);
        let arguments = [arguments, &["--idempotency-key", &key, "-o", "json"]].concat();
        let first = ask(0, &arguments);
        assert!(first[secret].as_str().is_some_and(|secret| !secret.is_empty()), "{first}");
        for at in [1, 2, 0] {
            assert_eq!(ask(at, &arguments), first, "{arguments:?}");
        }
        let other: Vec<_> =
            arguments.iter().map(|one| if *one == key { "another-key" } else { one }).collect();
        let told = cluster.ctl(&other);
        assert!(told.code != 0 || told.json()[secret] != first[secret], "{arguments:?}");
    }
    let fresh = ask(
        0,
        &[
            "token",
            "create",
            "fresh",
            "--role",
            "viewer",
            "--idempotency-key",
            "key-of-token-create",
            "-o",
            "json",
        ],
    );
    let kept = keep(&cluster, "fresh.token", &fresh["secret"]);
    cluster.ctl_with(&cluster.servers(), &kept, &["node", "list"]).code(0);
}

/// Who asks why a credential may do something is told of the groups that it is in.
#[test]
fn access_of_a_credential_is_explained_with_its_groups() {
    let cluster = Cluster::bootstrap();
    cluster.ctl(&["token", "create", "ci", "--role", "viewer", "--group", "builders"]).code(0);
    cluster.ctl(&["token", "create", "other", "--role", "viewer"]).code(0);
    let file = cluster.credentials().join("builders.toml");
    std::fs::write(
        &file,
        "[roles]\npublisher = [\"publish\"]\n\
         [[bindings]]\nrole = \"publisher\"\nsubjects = [\"group:builders\"]\nmodules = \"example.com/*\"\n",
    )
    .unwrap();
    cluster.ctl(&["policy", "apply", file.to_str().unwrap(), "--yes"]).code(0);
    let explained = |principal: &str| {
        let arguments = [
            "policy",
            "explain",
            "--principal",
            principal,
            "--verb",
            "publish",
            "example.com/m",
            "-o",
            "json",
        ];
        cluster.ctl(&arguments).json()
    };
    let (ci, other) = (explained("token:ci"), explained("token:other"));
    assert!(ci["roles"].to_string().contains("publisher"), "{ci}");
    assert!(!other["roles"].to_string().contains("publisher"), "{other}");
}

fn allow_cuts(cluster: &mut Cluster) {
    for node in &mut cluster.control {
        node.allow("raft: ");
    }
}

/// Row 65 of the list of faults: a token is rotated with a grace. Both texts are good until it ends, one afterwards; nobody restarts.
#[test]
fn a_rotated_token_is_good_as_long_as_was_said() {
    let cluster = Cluster::of(3);
    let created = cluster.ctl(&["token", "create", "ci", "--role", "viewer", "-o", "json"]).json();
    let old = keep(&cluster, "old.token", &created["secret"]);
    let grace = Duration::from_secs(4);
    let rotated_at = Instant::now();
    let rotated = cluster.ctl(&["token", "rotate", "ci", "--grace", "4s", "-o", "json"]).json();
    let new = keep(&cluster, "new.token", &rotated["secret"]);
    let within = |token: &PathBuf| -> Vec<i32> {
        let look =
            |node: &tests::Node| cluster.ctl_with(&node.rpc().to_string(), token, &["node", "list"]).code;
        cluster.control.iter().map(look).collect()
    };
    let during = within(&old);
    assert!(rotated_at.elapsed() > grace || during == [0, 0, 0], "{during:?}");
    assert_eq!(within(&new), [0, 0, 0]);
    tests::process::eventually("the old text is good nowhere", || (within(&old) == [4, 4, 4]).then_some(()));
    assert!(rotated_at.elapsed() >= grace, "it was refused before its grace was over");
    assert_eq!(within(&new), [0, 0, 0]);
}
