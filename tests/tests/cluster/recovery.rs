//! A majority of control nodes that is lost for good: docs/operations/losing-machines.md, done.

use std::process::{Command, Stdio};

use serde_json::Value;
use tests::cluster::Told;
use tests::process::eventually;
use tests::program::executable;
use tests::{Call, Cluster, GoClient, Module, Node, Origin};

/// What a member says that hears that the cluster was recovered without it.
const LEFT_BEHIND: &str = "the cluster was recovered without this member";

fn origin() -> Origin {
    let origin = Origin::start();
    origin.publish(&Module::new("example.com/one", "v1.0.0").file("one.go", "package one\n"));
    origin
}

/// A cluster of so many control nodes with a data node that is in the layout.
fn cluster_of(members: usize, origin: &Origin) -> Cluster {
    let mut cluster = Cluster::of(members);
    cluster.add_node("data-1", "a", &origin.url());
    cluster.wait_state("data-1", "active");
    cluster
}

fn metric(node: &Node, name: &str) -> Option<f64> {
    let text = Call::new(node.admin(), "GET", "/metrics").try_send().ok()?.text();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// What was acknowledged: so many credentials.
fn write_tokens(cluster: &Cluster, servers: &str, names: &[&str]) {
    for name in names {
        cluster.ctl_at(servers, &["token", "create", name, "--role", "viewer"]).code(0);
    }
}

fn token_names(cluster: &Cluster, servers: &str) -> Vec<String> {
    let list = cluster.ctl_at(servers, &["token", "list", "-o", "json"]).json();
    let tokens = list["tokens"].as_array().unwrap().iter();
    tokens.map(|token| token["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a member has applied everything that the cluster agreed on so far.
fn wait_caught_up(cluster: &Cluster, name: &str) {
    let revision = cluster.status().unwrap()["revision"].as_u64().unwrap();
    eventually(&format!("{name} has caught up"), || {
        let status = cluster.status()?;
        let member = status["members"].as_array()?.iter().find(|member| member["name"] == name)?.clone();
        (member["applied_index"].as_u64()? >= revision).then_some(())
    });
}

fn data_dir(node: &Node) -> String {
    node.data_dir().display().to_string()
}

fn served(node: &Node) {
    GoClient::new(&format!("http://{}", node.http()), "off")
        .run(&["get", "example.com/one@v1.0.0"])
        .success();
}

/// Waits until the data node has taken up what these control nodes agree on now.
fn wait_follows(cluster: &Cluster, servers: &str, node: &Node) {
    let revision = eventually("the cluster's status", || {
        let told = cluster.ctl_at(servers, &["cluster", "status", "-o", "json"]);
        (told.code == 0).then(|| told.json()["revision"].as_f64().unwrap())
    });
    let label = format!("seen=r{revision}");
    cluster.ctl_at(servers, &["node", "label", node.name(), &label]).code(0);
    eventually(&format!("{} follows", node.name()), || {
        let followed = metric(node, "goproxy_cluster_view_revision")? > revision
            && metric(node, "goproxy_cluster_control_connected")? >= 1.0;
        followed.then_some(())
    });
}

#[test]
fn two_of_three_are_lost_and_the_cluster_goes_on_from_the_third() {
    let origin = origin();
    let mut cluster = cluster_of(3, &origin);
    let everybody = cluster.servers();
    write_tokens(&cluster, &everybody, &["one", "two", "three"]);
    let id = cluster.status().unwrap()["cluster_id"].clone();
    let survivor = (cluster.leader() + 1) % 3;
    let name = cluster.control[survivor].name().to_owned();
    wait_caught_up(&cluster, &name);

    // Two machines burn.
    let kept = cluster.control.remove(survivor);
    drop(std::mem::replace(&mut cluster.control, vec![kept]));
    served(&cluster.data[0]);
    let folder = data_dir(&cluster.control[0]);
    let recover = ["cluster", "recover", "--data-dir", &folder, "-o", "json"];

    // It has to be stopped, and nothing happens before somebody says so.
    let told = cluster.ctl(&[&recover[..], &["--yes"]].concat()).code(3);
    assert!(told.stderr.contains("in use by another process"), "{}", told.stderr);
    cluster.control[0].terminate();
    let plan = cluster.ctl(&[&recover[..], &["--dry-run"]].concat()).json();
    assert_eq!((&plan["cluster_id"], &plan["member"]["name"]), (&id, &Value::from(name.as_str())));
    assert_eq!(plan["gone"].as_array().unwrap().len(), 2);
    assert!(plan["last_index"].as_u64() >= plan["committed_index"].as_u64(), "{plan}");
    let told = cluster.ctl(&recover).code(64);
    assert!(told.stderr.contains("GOES FOR GOOD"), "{}", told.stderr);
    assert_eq!(cluster.ctl(&[&recover[..], &["--dry-run"]].concat()).json(), plan, "nothing has changed");
    cluster.ctl(&[&recover[..], &["--yes", "--reason", "two machines burnt"]].concat()).code(0);
    let told = cluster.ctl(&[&recover[..], &["--yes"]].concat()).code(3);
    assert!(told.stderr.contains("the only one of its cluster"), "{}", told.stderr);

    cluster.control[0].start(&[]);
    cluster.control[0].wait_ready();
    let survivor = cluster.servers();
    write_tokens(&cluster, &survivor, &["four"]);
    let names = token_names(&cluster, &survivor);
    for name in ["admin", "one", "two", "three", "four"] {
        assert!(names.iter().any(|there| there == name), "{name} of {names:?}");
    }
    let audit = cluster.ctl(&["cluster", "audit", "-o", "json"]).json();
    let entries = audit["records"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry.to_string().contains("recover-cluster"));
    assert_eq!(entry.expect("an entry of the recovery")["reason"], "two machines burnt");

    // Data nodes follow by themselves, and two new members make it three again.
    wait_follows(&cluster, &survivor, &cluster.data[0]);
    cluster.add_member("control-4");
    cluster.add_member("control-5");
    cluster.wait_voters(3);
    let status = cluster.status().unwrap();
    assert_eq!(status["cluster_id"], id);
    assert_eq!(status["members"].as_array().unwrap().len(), 3);
    wait_follows(&cluster, &cluster.servers(), &cluster.data[0]);
    cluster.wait_state("data-1", "active");
    served(&cluster.data[0]);

    // Now one may be lost again, and be it the one that all of it came from.
    cluster.control[0].kill9();
    let others = format!("{},{}", cluster.control[1].rpc(), cluster.control[2].rpc());
    eventually("the new members go on", || {
        let told = cluster.ctl_at(&others, &["token", "create", "five", "--role", "viewer"]);
        (told.code == 0).then_some(())
    });
    assert!(token_names(&cluster, &others).iter().any(|name| name == "three"));
}

#[test]
fn members_that_were_left_behind_lead_no_data_node() {
    let origin = origin();
    let mut cluster = cluster_of(3, &origin);
    let everybody = cluster.servers();
    write_tokens(&cluster, &everybody, &["before"]);
    wait_caught_up(&cluster, "control-3");
    for node in &mut cluster.control {
        node.kill9();
    }
    let folder = data_dir(&cluster.control[2]);
    cluster.ctl(&["cluster", "recover", "--data-dir", &folder, "--yes"]).code(0);
    cluster.control[2].start(&[]);
    cluster.control[2].wait_ready();
    let survivor = cluster.control[2].rpc().to_string();
    wait_follows(&cluster, &survivor, &cluster.data[0]);

    // The one that went on is down when the two that were said never to come back do, and they are a majority of what they know.
    cluster.control[2].kill9();
    for old in [0, 1] {
        cluster.control[old].allow(LEFT_BEHIND);
        cluster.control[old].start(&[]);
    }
    let old = format!("{},{}", cluster.control[0].rpc(), cluster.control[1].rpc());
    eventually("the old members take changes", || {
        let told = cluster.ctl_at(&old, &["token", "create", "astray", "--role", "viewer"]);
        (told.code == 0).then_some(())
    });
    // A start makes no difference: what the node knows is on its disk.
    cluster.data[0].kill9();
    cluster.data[0].flag("--log-level", "debug");
    cluster.data[0].start(&[]);
    cluster.data[0].wait_ready();
    served(&cluster.data[0]);
    for refused in ["a heartbeat was not taken", "following the control plane broke off"] {
        eventually("the old members refuse the data node", || {
            let log = cluster.data[0].log();
            let mut lines = log.lines().filter(|line| line.contains(refused));
            lines.any(|line| line.contains("knows of 0 recoveries of the cluster, not of 1")).then_some(())
        });
    }
    assert_eq!(metric(&cluster.data[0], "goproxy_cluster_control_connected"), Some(0.0));

    // When it is back, the old ones hear from it that they were left behind, and step aside.
    cluster.control[2].start(&[]);
    cluster.control[2].wait_ready();
    wait_follows(&cluster, &survivor, &cluster.data[0]);
    for old in [0, 1] {
        eventually("it steps aside", || {
            let servers = cluster.control[old].rpc().to_string();
            let told = cluster.ctl_at(&servers, &["--timeout", "2s", "token", "list"]);
            (told.code == 5 && told.stderr.contains("left-behind")).then_some(())
        });
        assert!(cluster.control[old].log().contains(LEFT_BEHIND));
    }
    let names = token_names(&cluster, &survivor);
    assert!(names.iter().any(|name| name == "before") && !names.iter().any(|name| name == "astray"));
}

/// Cuts a recovery off at a point; a build with the feature `failpoints` dies there.
fn cut_off_at(binary: &std::ffi::OsStr, folder: &str, point: &str) {
    let mut command = Command::new(binary);
    command.args(["recover", "--data-dir", folder, "--yes"]).env("FAILPOINTS", format!("{point}=panic"));
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), None, "it dies at {point}");
}

#[test]
fn a_recovery_that_is_cut_off_is_whole_or_was_never_begun() {
    let Some(binary) = std::env::var_os("GOPROXYD_FAILPOINTS_BIN") else { return };
    let mut cluster = Cluster::of(2);
    write_tokens(&cluster, &cluster.servers(), &["kept"]);
    wait_caught_up(&cluster, "control-2");
    for node in &mut cluster.control {
        node.kill9();
    }
    let folder = data_dir(&cluster.control[1]);

    let before = planned(&cluster, &folder).json();
    for point in ["raft::rescue::before_stage", "raft::rescue::before_install"] {
        cut_off_at(&binary, &folder, point);
        assert_eq!(planned(&cluster, &folder).json(), before, "as it was after {point}");
    }
    // As it was: with the other one it is a majority.
    for node in &mut cluster.control {
        node.start(&[]);
    }
    cluster.wait_voters(2);
    for node in &mut cluster.control {
        node.kill9();
    }
    cut_off_at(&binary, &folder, "raft::rescue::after_install");
    let told = planned(&cluster, &folder).code(3).stderr;
    assert!(told.contains("the only one of its cluster"), "{told}");
    cluster.control[1].start(&[]);
    cluster.control[1].wait_ready();
    let servers = cluster.control[1].rpc().to_string();
    assert!(token_names(&cluster, &servers).iter().any(|name| name == "kept"));
}

fn planned(cluster: &Cluster, folder: &str) -> Told {
    cluster.ctl(&["cluster", "recover", "--data-dir", folder, "--dry-run", "-o", "json"])
}

#[test]
fn what_is_no_control_node_is_not_recovered() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = format!("--data-dir={}", folder.path().display());
    let mut command = Command::new(executable());
    let told = command.args(["recover", &data_dir, "--yes"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(told.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&told.stderr).contains("holds no control node"));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
}
