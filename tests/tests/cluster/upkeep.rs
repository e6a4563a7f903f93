//! What operators have data nodes do with modules and stores: list, warm, purge, verify, mark, scrub, repair, collect.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tests::module::noise;
use tests::process::eventually;
use tests::{Call, Cluster, Module, Origin, SumDb};

use super::nodes::{cluster, get, owners};

fn publish(origin: &Origin, stem: &str, count: usize, bytes: usize) -> Vec<Module> {
    (0..count)
        .map(|number| {
            let module = Module::new(&format!("example.com/{stem}{number}"), "v1.0.0").filler(bytes);
            origin.publish(&module);
            module
        })
        .collect()
}

fn files(module: &Module) -> [String; 3] {
    [".info", ".mod", ".zip"].map(|suffix| module.url_path(suffix))
}

/// Fetches modules through one node.
fn fetch(cluster: &Cluster, modules: &[Module]) {
    for path in modules.iter().flat_map(files) {
        get(&cluster.data[0], &path).expect(200);
    }
}

fn versions(told: &Value) -> Vec<Value> {
    told["versions"].as_array().expect("versions").clone()
}

#[test]
fn what_nodes_hold_is_listed_shown_purged_and_fetched_anew() {
    let origin = Origin::start();
    let modules = publish(&origin, "held", 5, 30_000);
    let cluster = cluster(&origin, 3);
    fetch(&cluster, &modules);
    let listed = eventually("replicas have copies", || {
        let listed = cluster.ctl(&["module", "list", "-o", "json"]).json();
        let all = versions(&listed);
        let copied = all.iter().all(|version| version["copies"].as_array().unwrap().len() > 1);
        (all.len() == 5 && copied).then_some(all)
    });
    assert!(
        listed.iter().all(|version| version["conflict"] == false && version["zip_size"].as_u64() > Some(0))
    );
    let some = cluster.ctl(&["module", "list", "example.com/held[01]", "--limit", "0", "-o", "json"]).json();
    assert_eq!(versions(&some).len(), 2);
    let table = cluster.ctl(&["module", "list"]).code(0).stdout;
    assert!(table.contains("example.com/held4") && table.lines().all(|line| line.len() <= 100), "{table}");

    let spec = modules[0].spec();
    let shown = cluster.ctl(&["module", "show", &spec, "-o", "json"]).json();
    let version = &versions(&shown)[0];
    assert_eq!(version["zip_h1"], modules[0].h1());
    let holders = version["copies"].as_array().unwrap().iter().map(|copy| copy["node"].clone());
    let holders: Vec<_> = holders.collect();
    let owned = shown["owners"].as_array().unwrap();
    assert_eq!(owned[0], *cluster.data[owners(&cluster, &modules[0])[0]].name());
    assert!(holders.contains(&owned[0]), "{holders:?} {owned:?}");

    let path = modules[0].url_path(".zip");
    assert_eq!(origin.count(&path), 1);
    cluster.ctl(&["module", "purge", &spec]).code(64);
    cluster.ctl(&["module", "purge", &spec, "--yes", "--dry-run"]).code(0);
    assert_eq!(versions(&cluster.ctl(&["module", "show", &spec, "-o", "json"]).json()).len(), 1);
    cluster.ctl(&["module", "purge", &spec, "--yes", "--reason", "it was broken"]).code(0);
    assert_eq!(versions(&cluster.ctl(&["module", "show", &spec, "-o", "json"]).json()).len(), 0);
    assert!(get(&cluster.data[1], &path).expect(200).body == modules[0].zip());
    assert_eq!(origin.count(&path), 2);

    let usage = cluster.ctl(&["cache", "usage", "-o", "json"]).json();
    let nodes = usage["nodes"].as_array().unwrap();
    assert!(nodes.len() == 3 && nodes.iter().all(|node| node["store_bytes"].as_u64() > Some(0)), "{usage}");
    cluster.ctl(&["cache", "gc", "data-1"]).code(0);
    cluster.ctl(&["cache", "gc", "data-9"]).code(1);
    let audit = cluster.ctl(&["cluster", "audit", "--limit", "0", "-o", "json"]).json();
    let entries = audit["records"].as_array().unwrap();
    let purge = entries.iter().find(|entry| entry["reason"] == "it was broken").expect("it is on record");
    assert!(purge.to_string().contains("purge-module") && purge.to_string().contains(&spec), "{purge}");
}

#[test]
fn a_go_sum_file_is_warmed_and_what_differs_from_it_is_told() {
    let origin = Origin::start();
    let modules = publish(&origin, "warm", 4, 30_000);
    let cluster = cluster(&origin, 3);
    let mut text = String::new();
    for module in &modules[..2] {
        text += &module.sum_lines();
    }
    // Of one only the go.mod is needed, and one is said to be another.
    writeln!(text, "{} {}/go.mod {}", modules[2].path, modules[2].version, modules[2].go_mod_h1()).unwrap();
    writeln!(text, "{} {} {}", modules[3].path, modules[3].version, modules[0].h1()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("go.sum");
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let told = cluster.ctl(&["module", "warm", "--go-sum", &file, "-o", "json"]).code(7);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let problems: Vec<_> = told["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|result| result["problem"] != "")
        .map(|result| result["item"]["module_path"].clone())
        .collect();
    assert_eq!(problems, [modules[3].path.as_str()], "{told}");
    let before = origin.total();
    for path in modules[..2].iter().flat_map(files) {
        get(&cluster.data[2], &path).expect(200);
    }
    get(&cluster.data[2], &modules[2].url_path(".mod")).expect(200);
    assert_eq!(origin.total(), before, "all of it was there");
    assert_eq!(origin.count(&modules[2].url_path(".zip")), 0, "nobody needs it");
    cluster.ctl(&["module", "warm", "--go-sum", &file, "--watch", "-o", "json"]).code(7);
    cluster.ctl(&["module", "warm", &modules[0].spec()]).code(0);
    cluster.ctl(&["module", "warm", "example.com/nowhere@v1.0.0"]).code(1);
    let verified = cluster.ctl(&["module", "verify", &modules[0].spec(), "-o", "json"]).json();
    assert!(!verified["results"].as_array().unwrap().is_empty(), "{verified}");
}

#[test]
fn what_was_taken_down_or_quarantined_is_served_and_listed_by_no_node() {
    let origin = Origin::start();
    let path = "example.com/marked";
    let versions = ["v1.0.0", "v1.1.0", "v1.2.0"].map(|version| Module::new(path, version).filler(30_000));
    for module in &versions {
        origin.publish(module);
    }
    origin.set_latest(&versions[2]);
    let cluster = cluster(&origin, 3);
    let list = format!("/{path}/@v/list");
    let latest = format!("/{path}/@latest");
    for node in &cluster.data {
        for path in versions.iter().flat_map(files).chain([list.clone(), latest.clone()]) {
            get(node, &path).expect(200);
        }
    }
    let bad = &versions[2];
    cluster.ctl(&["module", "takedown", &bad.spec(), "--yes"]).code(64);
    cluster.ctl(&["module", "takedown", &bad.spec(), "--yes", "--reason", "it steals keys"]).code(0);
    cluster.ctl(&["module", "takedown", &bad.spec(), "--yes", "--reason", "again"]).code(3);
    let everywhere = |path: &str, status: u16| {
        eventually(&format!("{path} is answered {status} by all"), || {
            cluster.data.iter().all(|node| get(node, path).status == status).then_some(())
        });
    };
    for path in files(bad) {
        everywhere(&path, 410);
    }
    for node in &cluster.data {
        let answer = get(node, &bad.url_path(".zip"));
        assert!(answer.text().contains("it steals keys"), "{}", answer.text());
        assert_eq!(get(node, &list).expect(200).text(), "v1.0.0\nv1.1.0\n");
        assert!(get(node, &latest).expect(200).text().contains("v1.1.0"));
        assert_eq!(get(node, &format!("/cached-only{}", bad.url_path(".mod"))).status, 410);
        for path in versions[..2].iter().flat_map(files) {
            get(node, &path).expect(200);
        }
    }
    // Also a copy that was on its way.
    eventually("its bytes are gone", || {
        let held = cluster.ctl(&["module", "show", &bad.spec(), "-o", "json"]).json();
        held["versions"].as_array().unwrap().is_empty().then_some(())
    });

    let odd = &versions[1];
    cluster.ctl(&["module", "quarantine", &odd.spec(), "--reason", "looked at"]).code(0);
    everywhere(&odd.url_path(".zip"), 403);
    everywhere(&odd.url_path(".mod"), 200);
    assert_eq!(get(&cluster.data[0], &list).expect(200).text(), "v1.0.0\n");
    let before = origin.total();
    cluster.ctl(&["module", "quarantine", &odd.spec(), "--lift"]).code(0);
    everywhere(&odd.url_path(".zip"), 200);
    assert_eq!(origin.count(&odd.url_path(".zip")), 1, "what is held stays where it is");
    assert!(origin.total() <= before + 2, "only lists were asked for again");

    cluster.ctl(&["module", "pin", path, "--reason", "needed"]).code(0);
    let marks = cluster.ctl(&["module", "marks", "-o", "json"]).json();
    let kinds: Vec<_> = marks["marks"].as_array().unwrap().iter().map(|mark| mark["kind"].clone()).collect();
    assert_eq!(kinds, ["pinned", "taken-down"], "{marks}");
    cluster.ctl(&["module", "unpin", path]).code(0);
    cluster.ctl(&["module", "unpin", path]).code(1);
    cluster.ctl(&["module", "takedown", &bad.spec(), "--lift", "--yes"]).code(0);
    everywhere(&bad.url_path(".zip"), 200);
}

#[test]
fn what_is_pinned_is_not_evicted() {
    let origin = Origin::start();
    let modules = publish(&origin, "pinned", 12, 400_000);
    let cluster = super::nodes::cluster_with(&origin, 1, |node| node.flag("--cache-size", "2MiB"));
    cluster.ctl(&["module", "pin", &modules[0].spec()]).code(0);
    fetch(&cluster, &modules[..1]);
    fetch(&cluster, &modules[1..]);
    eventually("some have been evicted", || {
        cluster.ctl(&["cache", "gc"]).code(0);
        let held = cluster.ctl(&["module", "list", "-o", "json"]).json();
        let zips =
            versions(&held).into_iter().filter(|version| version["zip_size"].as_u64() > Some(0)).count();
        (zips < 8).then_some(())
    });
    let shown = cluster.ctl(&["module", "show", &modules[0].spec(), "-o", "json"]).json();
    assert!(versions(&shown)[0]["zip_size"].as_u64() > Some(0), "{shown}");
}

/// Flips: as many as there are zips, each in another one.
fn flips() -> usize {
    if tests::chance::is_soak() { std::env::var("FLIPS").map_or(1000, |t| t.parse().unwrap()) } else { 60 }
}

/// Files below `folder` in which contents of zips are.
fn contents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.extension().is_some_and(|end| end == "blob") {
            found.push(path);
        }
    }
    found
}

/// Flips one bit in the middle of a module's zip, wherever that is below `folder`.
pub(super) fn flip(folder: &Path, module: &Module) -> bool {
    let zip = module.zip();
    let part = &zip[zip.len() / 2..][..64];
    for path in contents(folder) {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = memchr::memmem::find(&bytes, part) {
            bytes[at + 7] ^= 0x10;
            std::fs::write(&path, bytes).unwrap();
            return true;
        }
    }
    false
}

/// Rows 10 and 11, of a cluster: bits that changed on disks are found, never served, and made whole from other nodes.
#[test]
fn bits_that_flipped_on_disk_are_found_and_healed_from_other_nodes() {
    let origin = Origin::start();
    let modules: Vec<Module> = (0..flips())
        .map(|number| {
            let path = format!("example.com/flipped{number}");
            // Its own bytes, so that it can be found on a disk.
            let module = Module::new(&path, "v1.0.0").file("noise", noise(24_000, number as u64 + 1));
            origin.publish(&module);
            module
        })
        .collect();
    let mut cluster = cluster(&origin, 3);
    fetch(&cluster, &modules);
    for node in &mut cluster.data {
        node.allow("does not verify");
        node.allow("damaged");
        node.allow("cannot be reached");
        node.allow("origin");
    }
    let zips = |told: &Value| {
        let copies = told["versions"].as_array().unwrap().iter();
        copies.map(|version| version["copies"].as_array().unwrap().len()).filter(|copies| *copies > 1).count()
    };
    eventually("every zip is at two nodes", || {
        let listed = cluster.ctl(&["module", "list", "--limit", "0", "-o", "json"]).json();
        (zips(&listed) == modules.len()).then_some(())
    });
    // One copy of each changes, at one node or another, while that does not look.
    let at: Vec<usize> =
        modules.iter().enumerate().map(|(n, module)| owners(&cluster, module)[n % 2]).collect();
    let mut flipped = 0;
    for node in 0..cluster.data.len() {
        assert!(cluster.data[node].terminate().success());
        for (module, _) in modules.iter().zip(&at).filter(|(_, at)| **at == node) {
            flipped += usize::from(flip(&cluster.data[node].data_dir(), module));
        }
        cluster.data[node].start(&[]);
        cluster.data[node].wait_ready();
    }
    assert_eq!(flipped, modules.len(), "each zip was found on a disk");
    origin.down();
    // Clients meet some of it first.
    for (module, node) in modules.iter().zip(&at).step_by(5) {
        let answer = Call::new(cluster.data[*node].http(), "GET", &module.url_path(".zip")).send();
        assert!(answer.status != 200 || !answer.complete || answer.body == module.zip(), "wrong bytes");
    }
    let told = cluster.ctl(&["cache", "scrub", "-o", "json"]);
    assert_eq!(told.code, 0, "{}\n{}", told.stdout, told.stderr);
    let scrubbed: Value = serde_json::from_str(&told.stdout).unwrap();
    let sum = |told: &Value, what: &str| -> u64 {
        told["nodes"].as_array().unwrap().iter().map(|node| node[what].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&scrubbed, "bad_count"), sum(&scrubbed, "healed_count"), "{scrubbed}");
    assert!(sum(&scrubbed, "bad_count") as usize >= modules.len() - modules.len().div_ceil(5), "{scrubbed}");
    let usage = cluster.ctl(&["cache", "usage", "-o", "json"]).json();
    assert_eq!(sum(&usage, "quarantined_count") as usize, modules.len(), "each flip was met once: {usage}");
    let again = cluster.ctl(&["cache", "scrub", "-o", "json"]).json();
    assert_eq!(sum(&again, "bad_count"), 0, "{again}");
    for (module, node) in modules.iter().zip(&at) {
        let answer = get(&cluster.data[*node], &module.url_path(".zip")).expect(200);
        assert!(answer.body == module.zip(), "{}", module.path);
    }
}

/// Whoever has a copy is asked in the end, also a node that only borrowed it.
#[test]
fn what_is_damaged_at_all_who_should_have_it_is_taken_from_who_borrowed_it() {
    let origin = Origin::start();
    let module = Module::new("example.com/borrowed", "v1.0.0").file("noise", noise(24_000, 7));
    origin.publish(&module);
    let mut cluster = cluster(&origin, 4);
    for node in &mut cluster.data {
        for text in ["does not verify", "damaged", "cannot be reached", "origin"] {
            node.allow(text);
        }
    }
    let stranger = super::nodes::strangers(&cluster, &module)[0];
    for path in files(&module) {
        get(&cluster.data[stranger], &path).expect(200);
    }
    let holders = |cluster: &Cluster| -> Vec<usize> {
        let shown = cluster.ctl(&["module", "show", &module.spec(), "-o", "json"]).json();
        let copies = versions(&shown)[0]["copies"].as_array().unwrap().clone();
        let holds = |copy: &&Value| copy["zip_size"].as_u64() > Some(0);
        let number =
            |copy: &Value| cluster.data.iter().position(|node| *node.name() == copy["node"]).unwrap();
        copies.iter().filter(holds).map(number).collect()
    };
    eventually("a replica has a copy", || (holders(&cluster).len() > 2).then_some(()));
    let damaged: Vec<_> = holders(&cluster).into_iter().filter(|node| *node != stranger).collect();
    for node in &damaged {
        assert!(cluster.data[*node].terminate().success());
        assert!(flip(&cluster.data[*node].data_dir(), &module), "the zip was found on the disk");
    }
    origin.down();
    for node in damaged {
        cluster.data[node].start(&[]);
        cluster.data[node].wait_ready();
    }
    let told = cluster.ctl(&["cache", "scrub", "-o", "json"]);
    assert_eq!(told.code, 0, "{}\n{}", told.stdout, told.stderr);
    for node in &cluster.data {
        assert!(get(node, &module.url_path(".zip")).expect(200).body == module.zip());
    }
}

#[test]
fn a_node_that_lost_its_disk_is_repaired_from_the_others() {
    let origin = Origin::start();
    let modules = publish(&origin, "lost", 10, 30_000);
    let mut cluster = cluster(&origin, 3);
    fetch(&cluster, &modules);
    eventually("copies are where they belong", || {
        let listed = cluster.ctl(&["module", "list", "-o", "json"]).json();
        let all = versions(&listed);
        let copied = all.iter().all(|version| version["copies"].as_array().unwrap().len() > 1);
        (all.len() == modules.len() && copied).then_some(())
    });
    cluster.ctl(&["module", "purge", "example.com/lost0", "--yes"]).code(0);
    for node in &mut cluster.data {
        node.allow("cannot be reached");
        node.allow("origin");
    }
    origin.down();
    let repaired = cluster.ctl(&["cache", "repair", "-o", "json"]).json();
    let taken: u64 =
        repaired["nodes"].as_array().unwrap().iter().map(|node| node["taken_count"].as_u64().unwrap()).sum();
    let listed = cluster.ctl(&["module", "list", "-o", "json"]).json();
    let copies = versions(&listed);
    assert!(copies.iter().all(|version| version["copies"].as_array().unwrap().len() == 3), "{listed}");
    assert!(taken > 0, "{repaired}");
    let again = cluster.ctl(&["cache", "repair", "-o", "json"]).json();
    assert!(again["nodes"].as_array().unwrap().iter().all(|node| node["taken_count"] == 0), "{again}");
}

/// What a takedown or a quarantine says of who has heard of it is so at that moment.
#[test]
fn whoever_is_not_named_serves_nothing_that_was_taken_down() {
    let origin = Origin::start();
    let modules = publish(&origin, "heard", 2, 30_000);
    let mut cluster = cluster(&origin, 3);
    for node in &cluster.data {
        for path in modules.iter().flat_map(files) {
            get(node, &path).expect(200);
        }
    }
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    let refuse = |nodes: &[tests::Node], module: &Module, status: u16| {
        for (node, path) in nodes.iter().flat_map(|node| files(module).map(|path| (node, path))) {
            // Every module graph that names a version has its go.mod, built or not.
            let may_pass = status == 403 && path.ends_with(".mod");
            assert_eq!(
                get(node, &path).status,
                if may_pass { 200 } else { status },
                "{path} at {}",
                node.name()
            );
        }
    };
    let told = cluster.ctl(&["module", "quarantine", &modules[0].spec(), "-o", "json"]).json();
    assert_eq!(told["behind_nodes"], json!([]), "{told}");
    refuse(&cluster.data, &modules[0], 403);

    cluster.data[2].kill9();
    let evil = modules[1].spec();
    let take_down =
        ["module", "takedown", &evil, "--reason", "malware", "--yes", "--idempotency-key", "evil"];
    let take_down = [&take_down[..], &["-o", "json"]].concat();
    let told = cluster.ctl(&take_down).code(7);
    assert!(told.stderr.contains("data-3"), "{}", told.stderr);
    let answer: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(answer["behind_nodes"], json!(["data-3"]), "{answer}");
    for result in answer["results"].as_array().unwrap() {
        assert_eq!(result["problem"] != "", result["node"] == "data-3", "{answer}");
    }
    refuse(&cluster.data[..2], &modules[1], 410);
    cluster.data[2].start(&[]);
    cluster.data[2].wait_ready();
    eventually("all have heard of it", || (cluster.ctl(&take_down).code == 0).then_some(()));
    refuse(&cluster.data, &modules[1], 410);
}

#[test]
fn a_copy_that_the_checksum_database_refuses_is_set_aside() {
    let origin = Origin::start();
    let modules = publish(&origin, "listed", 2, 30_000);
    let mut cluster = cluster(&origin, 2);
    for node in &cluster.data {
        for path in modules.iter().flat_map(files) {
            get(node, &path).expect(200);
        }
    }
    // From now on there is one, and it lists something else.
    let sumdb = SumDb::new("sums.example");
    sumdb.pad(20);
    sumdb.add(&modules[0]);
    sumdb.add_with_wrong_h1(&modules[1]);
    origin.serve_sumdb(&sumdb);
    for node in &mut cluster.data {
        for text in ["damaged", "checksum database", "refused a", "of no use", "cannot be reached"] {
            node.allow(text);
        }
        node.flag("--sumdb", &sumdb.key());
        assert!(node.terminate().success());
        node.start(&[]);
        node.wait_ready();
    }
    let nowhere = cluster.ctl(&["module", "verify", "example.com/nowhere"]).code(1);
    assert!(nowhere.stderr.contains("no node holds anything"), "{}", nowhere.stderr);
    let good = cluster.ctl(&["module", "verify", &modules[0].spec(), "-o", "json"]).json();
    let results = good["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{good}");
    assert!(results.iter().all(|result| result["checksum_database"] == "listed"), "{good}");

    let bad = modules[1].spec();
    let verify = ["module", "verify", &bad, "-o", "json"];
    let told = cluster.ctl(&verify).code(7);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["bad"], 2, "{told}");
    for result in told["results"].as_array().unwrap() {
        assert_eq!((&result["checksum_database"], &result["set_aside"]), (&"refused".into(), &true.into()));
        assert!(result["problems"][0].as_str().unwrap().contains(&modules[1].h1()), "{result}");
    }
    // One may have taken it from the other in between.
    eventually("no bad copy is left", || (cluster.ctl(&verify).code != 7).then_some(()));
    for node in &cluster.data {
        assert_ne!(get(node, &modules[1].url_path(".zip")).status, 200, "{}", node.name());
    }
}

#[test]
fn a_dry_run_of_publishing_is_refused_where_publishing_would_be() {
    let origin = Origin::start();
    let mut cluster = super::nodes::cluster_with(&origin, 3, |node| {
        node.flag("--private", "corp.example/*");
        node.allow("cannot be reached");
    });
    let folder = tempfile::tempdir().unwrap();
    let publish = |cluster: &Cluster, module: &Module, more: &[&str]| {
        let zip = folder.path().join("module.zip");
        std::fs::write(&zip, module.zip()).unwrap();
        let arguments = ["module", "publish", &module.spec(), zip.to_str().unwrap(), "-o", "json"];
        cluster.ctl(&[&arguments[..], more].concat())
    };
    let [first, second] = ["v1.0.0", "v1.1.0"]
        .map(|version| Module::new("corp.example/lib", version).file("a.go", "package a\n"));
    let told = publish(&cluster, &first, &["--dry-run"]).json();
    assert_eq!(
        (&told["was_published"], told["nodes"].as_array().unwrap().len()),
        (&false.into(), 3),
        "{told}"
    );
    assert_ne!(get(&cluster.data[0], &first.url_path(".info")).status, 200, "nothing was published");
    publish(&cluster, &first, &[]).code(0);
    let told = publish(&cluster, &first, &["--dry-run"]).json();
    assert_eq!(told["was_published"], true, "{told}");
    cluster.ctl(&["module", "takedown", &first.spec(), "--reason", "a test", "--yes"]).code(0);
    let refused = publish(&cluster, &first, &["--dry-run"]).code(3);
    assert!(refused.stderr.contains("taken-down"), "{}", refused.stderr);
    cluster.data[0].kill9();
    let told = publish(&cluster, &second, &["--dry-run"]).json();
    assert_eq!(told["missing_nodes"], json!(["data-1"]), "{told}");
    cluster.data[1].kill9();
    let refused = publish(&cluster, &second, &["--dry-run"]).code(5);
    assert!(refused.stderr.contains("not enough"), "{}", refused.stderr);
}

/// goproxyctl, which goes on until it is killed.
fn begin(cluster: &Cluster, arguments: &[&str]) -> Child {
    let program = tests::program::executable().with_file_name("goproxyctl");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("HOME", cluster.credentials())
        .env("GOPROXYCTL_SERVER", cluster.servers())
        .env("GOPROXYCTL_CA", cluster.credentials().join("ca.pem"))
        .env("GOPROXYCTL_TOKEN_FILE", cluster.credentials().join("admin.token"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("start goproxyctl")
}

#[test]
fn a_scrub_ends_with_whoever_listens_and_the_next_has_its_turn() {
    let origin = Origin::start();
    let modules = publish(&origin, "slowly", 4, 300_000);
    let cluster = cluster(&origin, 1);
    fetch(&cluster, &modules);
    // It sleeps for minutes after the first zip.
    let mut listener = begin(&cluster, &["cache", "scrub", "--rate", "1KiB"]);
    let scrub = || cluster.ctl(&["cache", "scrub"]);
    eventually("it is under way", || {
        let told = scrub();
        (told.code == 7 && told.stdout.contains("under way")).then_some(())
    });
    listener.kill().expect("kill goproxyctl");
    listener.wait().expect("wait for goproxyctl");
    scrub().code(0);
}

#[test]
fn a_repair_names_the_replicas_that_are_away() {
    let origin = Origin::start();
    let modules = publish(&origin, "away", 3, 30_000);
    let mut cluster = cluster(&origin, 3);
    fetch(&cluster, &modules);
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    cluster.ctl(&["cache", "repair"]).code(0);
    // So that no layout goes without it.
    cluster.ctl(&["layout", "pause"]).code(0);
    cluster.data[2].kill9();
    cluster.ctl(&["failover", "node", "data-3", "--force", "--yes"]).code(0);
    cluster.wait_state("data-3", "down");
    let told = cluster.ctl(&["cache", "repair", "-o", "json"]).code(7);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    for node in &told["nodes"].as_array().unwrap()[..2] {
        assert_eq!(node["unreachable_nodes"], json!(["data-3"]), "{told}");
    }
}
