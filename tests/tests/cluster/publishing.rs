//! What is published is at most of its replicas before that is said, served by every node, and never becomes something else.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tests::cluster::{Told, metric};
use tests::fault_proxy::{FaultProxy, Spoil};
use tests::go_client::GoClient;
use tests::process::eventually;
use tests::{Call, Cluster, Module, Origin};

use super::nodes::{cluster_with, get, owners, settled, strangers};

const PRIVATE: &str = "corp.example/*";

/// Four data nodes, three of which hold a module.
fn cluster(origin: &Origin) -> Cluster {
    cluster_with(origin, 4, |node| {
        node.flag("--private", PRIVATE);
        node.allow("cannot be reached");
    })
}

fn module(version: &str, text: &str) -> Module {
    Module::new("corp.example/lib", version).file("lib.go", text).filler(700_000)
}

/// Writes the module's zip where it can be published from.
fn zip_of(module: &Module, folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("module.zip");
    std::fs::write(&path, module.zip()).unwrap();
    path
}

fn publish(cluster: &Cluster, module: &Module) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let zip = zip_of(module, &folder);
    cluster.ctl(&["module", "publish", &module.spec(), zip.to_str().unwrap(), "-o", "json"])
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Every node of these answers with the module, and lists it.
fn is_served(cluster: &Cluster, nodes: &[usize], module: &Module) {
    for number in nodes {
        let node = &cluster.data[*number];
        assert!(get(node, &module.url_path(".zip")).expect(200).body == module.zip(), "{}", node.name());
        assert_eq!(get(node, &module.url_path(".mod")).expect(200).body, module.go_mod(), "{}", node.name());
        let info = get(node, &module.url_path(".info")).expect(200).text();
        assert!(info.contains(&format!("\"Version\":\"{}\"", module.version)), "{info}");
        let list = get(node, &format!("/{}/@v/list", module.path)).expect(200).text();
        assert!(list.lines().any(|line| line == module.version), "{}: {list}", node.name());
    }
}

fn is_nowhere(cluster: &Cluster, nodes: &[usize], module: &Module) {
    for number in nodes {
        let answer = get(&cluster.data[*number], &module.url_path(".info"));
        assert_ne!(answer.status, 200, "{}", cluster.data[*number].name());
    }
}

#[test]
fn what_is_published_is_served_by_all_and_fetched_from_nowhere() {
    let origin = Origin::start();
    let cluster = cluster(&origin);
    let first = module("v1.0.0", "package lib\n");
    let told = publish(&cluster, &first).json();
    assert_eq!(told["zip_h1"], first.h1());
    assert_eq!(told["go_mod_h1"], first.go_mod_h1());
    let holders = names(&told["nodes"]);
    let owned: Vec<_> =
        owners(&cluster, &first).iter().map(|number| cluster.data[*number].name().to_owned()).collect();
    assert!(holders.len() == 3 && owned.iter().all(|name| holders.contains(name)), "{holders:?} {owned:?}");
    is_served(&cluster, &[0, 1, 2, 3], &first);
    // The newest is the latest, at every node, at once.
    let second = module("v1.1.0", "package lib // again\n");
    publish(&cluster, &second).code(0);
    is_served(&cluster, &[0, 1, 2, 3], &second);
    for node in &cluster.data {
        let latest = get(node, "/corp.example/lib/@latest").expect(200).text();
        assert!(latest.contains("v1.1.0"), "{}: {latest}", node.name());
    }
    let infos: Vec<_> =
        cluster.data.iter().map(|node| get(node, &first.url_path(".info")).expect(200).text()).collect();
    assert!(infos.iter().all(|info| *info == infos[0]), "{infos:?}");
    // The go command, with nothing but a proxy.
    let stranger = strangers(&cluster, &first)[0];
    let go = GoClient::new(&format!("http://{}", cluster.data[stranger].http()), "off");
    go.download(&["corp.example/lib@latest"]).success();
    assert_eq!(origin.total(), 0, "{:?}", origin.seen());
    let shown = cluster.ctl(&["module", "show", &first.spec(), "-o", "json"]).json();
    let copies = shown["versions"][0]["copies"].as_array().unwrap();
    let published = copies.iter().filter(|copy| copy["class"] == "published").count();
    assert_eq!(published, 3, "{shown}");
}

/// Row 6: said apart from nodes that are away, and over as soon as there is room.
#[test]
fn where_there_is_no_room_that_is_said_and_nothing_is_published() {
    let Some(program) = std::env::var_os("GOPROXYD_FAILPOINTS_BIN").map(PathBuf::from) else { return };
    let origin = Origin::start();
    let mut cluster = cluster_with(&origin, 1, |node| {
        node.flag("--private", PRIVATE);
        for expected in ["No space left on device", "the disk takes writes again"] {
            node.allow(expected);
        }
    });
    let first = module("v1.0.0", "package lib\n");
    publish(&cluster, &first).code(0);
    let restart = |cluster: &mut Cluster, trouble: &str| {
        let node = &mut cluster.data[0];
        node.terminate();
        node.program(program.clone());
        node.env("FAILPOINTS", trouble);
        node.start(&[]);
        node.wait_ready();
    };
    restart(&mut cluster, "store::rocks::write=return(28);store::heal::try_disk=return");
    let large = module("v1.1.0", "package lib // large\n");
    let small = Module::new("corp.example/lib", "v1.2.0").file("lib.go", "package lib // small\n");
    for module in [&large, &small] {
        let refused = publish(&cluster, module).code(5);
        for text in ["can store nothing", "nothing was published; make room"] {
            assert!(refused.stderr.contains(text), "{}", refused.stderr);
        }
        is_nowhere(&cluster, &[0], module);
    }
    is_served(&cluster, &[0], &first);
    restart(&mut cluster, "");
    for module in [&large, &small] {
        publish(&cluster, module).code(0);
        is_served(&cluster, &[0], module);
    }
}

#[test]
fn a_name_never_gets_other_content() {
    let origin = Origin::start();
    let cluster = cluster(&origin);
    let first = module("v1.0.0", "package lib\n");
    let told = publish(&cluster, &first).json();
    assert_eq!(told["was_published"], false);
    let again = publish(&cluster, &first).json();
    assert_eq!(
        (&again["was_published"], &again["publish_time"]),
        (&Value::Bool(true), &told["publish_time"])
    );
    let other = module("v1.0.0", "package lib // other\n");
    let refused = publish(&cluster, &other).code(3);
    assert!(refused.stderr.contains("already"), "{}", refused.stderr);
    is_served(&cluster, &[0, 1, 2, 3], &first);
    // Nothing brings it back, so it is not purged by mistake.
    let kept = cluster.ctl(&["module", "purge", &first.spec(), "--yes"]).code(3);
    assert!(kept.stderr.contains("published"), "{}", kept.stderr);
    is_served(&cluster, &[0], &first);
    cluster.ctl(&["module", "takedown", &first.spec(), "--reason", "malware", "--yes"]).code(0);
    // Not 410, after which the go command would name it to its next proxy.
    eventually("it is gone everywhere", || {
        let gone = cluster.data.iter().all(|node| get(node, &first.url_path(".zip")).status == 403);
        gone.then_some(())
    });
    assert_eq!(publish(&cluster, &first).code, 3);
}

#[test]
fn what_is_no_private_module_is_not_published() {
    let origin = Origin::start();
    let cluster = cluster(&origin);
    let public = Module::new("example.com/public", "v1.0.0");
    let refused = publish(&cluster, &public).code(3);
    assert!(refused.stderr.contains("--private"), "{}", refused.stderr);
    let folder = tempfile::tempdir().unwrap();
    let module = module("v1.0.0", "package lib\n");
    let zip = zip_of(&module, &folder);
    // Under another version the names in the zip are wrong.
    let wrong = cluster.ctl(&["module", "publish", "corp.example/lib@v1.0.1", zip.to_str().unwrap()]);
    assert!(wrong.code != 0 && wrong.stderr.contains("zip"), "{}", wrong.stderr);
    std::fs::write(&zip, b"no zip at all").unwrap();
    cluster.ctl(&["module", "publish", "corp.example/lib@v1.0.1", zip.to_str().unwrap()]).code(64);
    is_nowhere(&cluster, &[0, 1, 2, 3], &module);
}

#[test]
fn most_replicas_are_enough_and_fewer_are_not() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin);
    let first = module("v1.0.0", "package lib\n");
    let owners = owners(&cluster, &first);
    let stranger = strangers(&cluster, &first)[0];
    cluster.data[owners[2]].kill9();
    let told = publish(&cluster, &first).json();
    assert_eq!(names(&told["nodes"]).len(), 2, "{told}");
    assert_eq!(names(&told["missing_nodes"]), [cluster.data[owners[2]].name()]);
    is_served(&cluster, &[owners[0], owners[1], stranger], &first);
    // With one of three nothing is published, and nothing can be seen of it.
    cluster.data[owners[1]].kill9();
    let second = module("v1.1.0", "package lib // again\n");
    let refused = publish(&cluster, &second);
    assert!(refused.code != 0 && refused.stderr.contains("not enough"), "{}", refused.stderr);
    is_nowhere(&cluster, &[owners[0], stranger], &second);
    // What was said to be published survives that all lose their power.
    cluster.data[owners[0]].kill9();
    for number in &owners {
        cluster.data[*number].start(&[]);
        cluster.data[*number].wait_ready();
    }
    is_served(&cluster, &[0, 1, 2, 3], &first);
    eventually("the one that was away has taken it", || {
        let shown = cluster.ctl(&["module", "show", &first.spec(), "-o", "json"]).json();
        let copies = shown["versions"][0]["copies"].as_array()?.clone();
        (copies.iter().filter(|copy| copy["class"] == "published").count() == 3).then_some(())
    });
    for number in &owners[..2] {
        cluster.data[*number].kill9();
    }
    is_served(&cluster, &[owners[2]], &first);
}

#[test]
fn what_was_bound_shows_though_nobody_said_so() {
    let Some(program) = std::env::var_os("GOPROXYD_FAILPOINTS_BIN") else { return };
    let origin = Origin::start();
    let mut cluster = Cluster::prepared(1, move |node| {
        node.program(PathBuf::from(&program));
        node.env("FAILPOINTS", "publish::before_bind=1*return;publish::before_reveal=return");
    });
    for number in 1..=3 {
        let (name, zone) = (format!("data-{number}"), format!("zone-{number}"));
        cluster.add_node_with(&name, &zone, &origin.url(), |node| node.flag("--private", PRIVATE));
    }
    for number in 1..=3 {
        cluster.wait_state(&format!("data-{number}"), "active");
    }
    settled(&cluster);
    let module = module("v1.0.0", "package lib\n");
    // Whoever publishes dies when all have it and its name is not bound.
    let folder = tempfile::tempdir().unwrap();
    let zip = zip_of(&module, &folder);
    let arguments = ["module", "publish", &module.spec(), zip.to_str().unwrap(), "-o", "json"];
    assert_ne!(cluster.ctl(&arguments).code, 0);
    is_nowhere(&cluster, &[0, 1, 2], &module);
    let told = cluster.ctl(&arguments).json();
    assert_eq!(told["was_published"], false);
    // And the second time when it is bound and none of them has heard so.
    eventually("they ask, and show it", || {
        let shown = cluster.data.iter().all(|node| get(node, &module.url_path(".info")).status == 200);
        shown.then_some(())
    });
    is_served(&cluster, &[0, 1, 2], &module);
}

/// Nobody may fetch it: only the other replicas can go on.
#[test]
fn a_published_zip_goes_on_when_its_lender_ends_in_the_middle() {
    const BYTES: usize = 3_000_000;
    let origin = Origin::start();
    let links = Mutex::new(Vec::new());
    let mut cluster = cluster_with(&origin, 4, |node| {
        let link = FaultProxy::start(node.rpc());
        // Slow enough to be met in the middle.
        link.spoil(Spoil::Drip(16_000, Duration::from_millis(20)));
        node.flag("--rpc-advertise", &link.address().to_string());
        node.flag("--private", PRIVATE);
        node.allow("cannot be reached");
        links.lock().unwrap().push(link);
    });
    let module = Module::new("corp.example/large", "v1.0.0").filler(BYTES);
    publish(&cluster, &module).code(0);
    let (owner, stranger) = (owners(&cluster, &module)[0], strangers(&cluster, &module)[0]);
    let (address, admin) = (cluster.data[stranger].http(), cluster.data[stranger].admin());
    let path = module.url_path(".zip");
    let before = metric(admin, "goproxy_peer_bytes_total");
    let asking = std::thread::spawn(move || Call::new(address, "GET", &path).send());
    eventually("bytes have come to the stranger", || {
        (metric(admin, "goproxy_peer_bytes_total") > before + BYTES as u64 / 4).then_some(())
    });
    cluster.data[owner].kill9();
    let answer = asking.join().expect("an answer").expect(200);
    assert!(answer.body == module.zip(), "{} bytes", answer.body.len());
}

/// What was heard of a module before it was private is no reason to hide what is published.
#[test]
fn what_was_listed_before_a_module_was_private_hides_nothing() {
    let origin = Origin::start();
    let (first, second) = (module("v1.0.0", "package lib\n"), module("v1.1.0", "package lib // more\n"));
    origin.publish(&first);
    origin.set_latest(&first);
    let mut cluster = cluster_with(&origin, 3, |_| {});
    let list = format!("/{}/@v/list", first.path);
    let latest = format!("/{}/@latest", first.path);
    for node in &cluster.data {
        for path in [&list, &latest, &first.url_path(".zip")] {
            get(node, path).expect(200);
        }
    }
    for node in &mut cluster.data {
        node.allow("cannot be reached");
        node.flag("--private", PRIVATE);
        assert!(node.terminate().success());
        node.start(&[]);
        node.wait_ready();
    }
    for node in &cluster.data {
        assert!(get(node, &list).expect(200).text().contains("v1.0.0"), "{}", node.name());
    }
    publish(&cluster, &second).code(0);
    for node in &cluster.data {
        let told = get(node, &list).expect(200).text();
        assert!(told.contains("v1.0.0") && told.contains("v1.1.0"), "{}: {told}", node.name());
        let told = get(node, &latest).expect(200).text();
        assert!(told.contains("v1.1.0"), "{}: {told}", node.name());
    }
}

/// The go command asks for every prefix of a package's path, whichever node it asks.
#[test]
fn a_package_of_a_published_module_is_found_at_every_node() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin);
    let lib = module("v1.0.0", "package lib\n")
        .file("sub/sub.go", "package sub\n\nconst Version = \"sub\"\n")
        .file("cmd/x/main.go", "package main\n\nfunc main() { println(\"x\") }\n");
    publish(&cluster, &lib).code(0);
    for node in &cluster.data {
        for path in ["lib/sub/@v/list", "lib/sub/@latest", "lib/cmd/x/@v/v1.0.0.info", "lib/v2/@v/list"] {
            let answer = get(node, &format!("/corp.example/{path}")).expect(404);
            assert_eq!(answer.expect_header("cache-control"), "no-store", "{}: {path}", node.name());
        }
        for path in ["lib/sub/@v/v1.0.0.mod", "lib/@v/v9.9.9.info", "other/sub/@v/list"] {
            let answer = get(node, &format!("/corp.example/{path}"));
            assert_eq!(answer.status, 503, "{}: {path}", node.name());
        }
        let client = || GoClient::new(&format!("http://{}", node.http()), "off");
        let go = client();
        go.program(&[], &["corp.example/lib/sub"]);
        go.run(&["mod", "tidy"]).success();
        assert!(go.read("go.mod").contains("corp.example/lib v1.0.0"), "{}", go.read("go.mod"));
        client().run(&["get", "corp.example/lib/sub@latest"]).success();
        client().run(&["install", "corp.example/lib/cmd/x@v1.0.0"]).success();
    }
    // A module of its own is one, at all nodes, and what it does not have is not said to be nowhere.
    let nested = Module::new("corp.example/lib/sub", "v0.1.0");
    publish(&cluster, &nested).code(0);
    is_served(&cluster, &[0, 1, 2, 3], &nested);
    for node in &cluster.data {
        assert_eq!(get(node, "/corp.example/lib/sub/@v/v0.2.0.info").status, 503, "{}", node.name());
    }
    // As long as most of those that would hold it are away, nobody knows that there is nothing.
    let away = Module::new("corp.example/lib/away", "v1.0.0");
    let owners = owners(&cluster, &away);
    let stranger = strangers(&cluster, &away)[0];
    let list = format!("/{}/@v/list", away.path);
    cluster.data[owners[0]].kill9();
    get(&cluster.data[stranger], &list).expect(404);
    cluster.data[owners[1]].kill9();
    assert_eq!(get(&cluster.data[stranger], &list).status, 503);
    assert!(origin.seen().iter().all(|seen| !seen.path.contains("lib")), "{:?}", origin.seen());
}

/// All three that hold a module end at once, and the fourth takes over: who ended, and who is left.
fn lose_all_replicas(cluster: &mut Cluster, lib: &Module) -> (Vec<usize>, usize) {
    let (dead, left) = (owners(cluster, lib), strangers(cluster, lib)[0]);
    for number in &dead {
        cluster.data[*number].kill9();
    }
    for number in &dead {
        cluster.ctl(&["failover", "node", cluster.data[*number].name(), "--force", "--yes"]).code(0);
    }
    eventually("the one that is left holds everything", || (owners(cluster, lib) == [left]).then_some(()));
    eventually("no slot moves", || {
        let status = cluster.ctl(&["layout", "status", "-o", "json"]).json();
        (status["state"] == "stable").then_some(())
    });
    (dead, left)
}

/// Who took over from three nodes that were gone all at once has nothing of them.
#[test]
fn a_dead_node_that_may_have_the_last_copy_is_not_removed() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin);
    let lib = module("v1.0.0", "package lib\n");
    publish(&cluster, &lib).code(0);
    settled(&cluster);
    let (dead, left) = lose_all_replicas(&mut cluster, &lib);
    let names: Vec<String> = dead.iter().map(|number| cluster.data[*number].name().to_string()).collect();
    let refused = cluster.ctl(&["node", "remove", &names[0], "--yes"]).code(3);
    assert!(refused.stderr.contains(&lib.spec()) && refused.stderr.contains("is down"), "{}", refused.stderr);
    // Back from where it was, it hands over what nobody else has, and the others are not needed any more.
    cluster.data[dead[0]].start(&[]);
    cluster.data[dead[0]].wait_ready();
    eventually("the one that is left has the module", || {
        let answer = get(&cluster.data[left], &lib.url_path(".zip"));
        (answer.status == 200 && answer.body == lib.zip()).then_some(())
    });
    eventually("a node whose copies are elsewhere is removed", || {
        (cluster.ctl(&["node", "remove", &names[1], "--yes"]).code == 0).then_some(())
    });
}

/// That it is back, and others are to copy what only it has, does not mean that they have.
#[test]
fn a_node_that_is_back_is_removed_only_when_others_have_what_it_has() {
    let origin = Origin::start();
    let links = Mutex::new(Vec::new());
    let mut cluster = cluster_with(&origin, 4, |node| {
        let link = FaultProxy::start(node.rpc());
        node.flag("--rpc-advertise", &link.address().to_string());
        node.flag("--private", PRIVATE);
        node.allow("cannot be reached");
        links.lock().unwrap().push(link);
    });
    let links = links.into_inner().unwrap();
    let lib = module("v1.0.0", "package lib\n");
    publish(&cluster, &lib).code(0);
    settled(&cluster);
    let (dead, left) = lose_all_replicas(&mut cluster, &lib);
    // Who is to copy it hears of nothing, and does not say what it has.
    links[left].freeze(true);
    cluster.data[dead[0]].start(&[]);
    let name = cluster.data[dead[0]].name().to_owned();
    cluster.wait_state(&name, "cordoned");
    let refused = cluster.ctl(&["node", "remove", &name, "--yes"]).code(3).stderr;
    for text in [lib.spec().as_str(), "holds no slot", cluster.data[left].name()] {
        assert!(refused.contains(text), "{text}: {refused}");
    }
    // One that does not answer costs only part of the time.
    let forced = cluster.ctl(&["node", "remove", &name, "--force", "--dry-run", "-o", "json"]).json();
    assert_eq!(forced["last_copies"], serde_json::json!([lib.spec()]), "{forced}");
    links[left].freeze(false);
    eventually("the one that is left has the module", || {
        let answer = get(&cluster.data[left], &lib.url_path(".zip"));
        (answer.status == 200 && answer.body == lib.zip()).then_some(())
    });
    cluster.data[dead[0]].allow("was removed from its cluster");
    eventually("it is removed when its copies are elsewhere", || {
        (cluster.ctl(&["node", "remove", &name, "--yes"]).code == 0).then_some(())
    });
    cluster.data[dead[0]].kill9();
    assert!(get(&cluster.data[left], &lib.url_path(".zip")).expect(200).body == lib.zip());
}
