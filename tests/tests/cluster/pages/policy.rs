//! docs/operations/policy.md.

use serde_json::Value;
use tests::Cluster;

/// The page's document, cases for it, and going back to what it was.
#[test]
fn who_may_do_what() {
    let cluster = Cluster::bootstrap();
    let page = include_str!("../../../../docs/operations/policy.md");
    let document = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let cases = [
        ("token:ci", "publish", "corp.example/lib", "allow"),
        ("token:ci", "read", "corp.example/secret", "deny"),
        ("user:ann,group:platform", "read", "corp.example/secret", "allow"),
        ("anonymous", "read", "corp.example/lib", "deny"),
        ("anonymous", "read", "golang.org/x/text", "allow"),
        ("user:ann,group:platform", "publish", "golang.org/x/text", "deny"),
        ("token:ci", "purge", "corp.example/lib", "deny"),
    ];
    let written = cases.map(|(principal, verb, module, expect)| {
        format!(
            "[[test]]\nprincipal = \"{principal}\"\nverb = \"{verb}\"\nmodule = \"{module}\"\nexpect = \"{expect}\"\n"
        )
    });
    let (teams, cases) =
        (file(&cluster, "teams.toml", document), file(&cluster, "cases.toml", &written.concat()));
    cluster.ctl(&["policy", "diff", &teams]).code(2);
    cluster.ctl(&["policy", "test", &cases, "--document", &teams]).code(0);
    cluster.ctl(&["policy", "test", &cases]).code(1);
    cluster.ctl(&["policy", "apply", &teams, "--yes", "--reason", "the platform team publishes"]).code(0);
    cluster.ctl(&["policy", "diff", &teams]).code(0);
    cluster.ctl(&["policy", "test", &cases]).code(0);
    let explain = ["policy", "explain", "corp.example/lib", "--principal", "token:ci", "--verb", "publish"];
    assert!(cluster.ctl(&explain).stdout.contains("publisher"));

    // Taking away is asked about; without a terminal it is refused.
    let without = document.replace("[\"group:platform\", \"token:ci\"]", "[\"group:platform\"]");
    let less = file(&cluster, "less.toml", &without);
    cluster.ctl(&["policy", "apply", &less, "--name", "teams"]).code(64);
    cluster.ctl(&["policy", "apply", &less, "--name", "teams", "--yes", "--expect-generation", "1"]).code(0);
    cluster.ctl(&["policy", "apply", &less, "--name", "teams", "--yes", "--expect-generation", "1"]).code(3);
    cluster.ctl(&["policy", "test", &cases]).code(1);
    let before = cluster.ctl(&["policy", "show", "teams", "--generation", "1"]).code(0).stdout.clone();
    let before = file(&cluster, "before.toml", &before);
    cluster.ctl(&["policy", "apply", &before, "--name", "teams", "--yes"]).code(0);
    cluster.ctl(&["policy", "test", &cases]).code(0);
    assert_eq!(list(&cluster, &["policy", "history", "teams"], "policies").len(), 3);
    let trail = list(&cluster, &["cluster", "audit", "--subject", "teams"], "records");
    assert_eq!(trail.len(), 3, "{trail:?}");
    assert_eq!(trail[2]["reason"], "the platform team publishes");

    cluster.ctl(&["policy", "apply", "--delete", "--name", "teams"]).code(64);
    cluster.ctl(&["policy", "apply", "--delete", "--name", "teams", "--yes"]).code(0);
    assert!(list(&cluster, &["policy", "show"], "policies").is_empty());
}

fn file(cluster: &Cluster, name: &str, text: &str) -> String {
    let path = cluster.credentials().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn list(cluster: &Cluster, arguments: &[&str], what: &str) -> Vec<Value> {
    let told = cluster.ctl(&[arguments, &["-o", "json"]].concat()).json();
    told[what].as_array().unwrap().clone()
}
