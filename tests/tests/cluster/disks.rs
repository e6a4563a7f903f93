//! Disks of control nodes that are full, cut off in the middle of a write, or damaged.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tests::cluster::Told;
use tests::process::eventually;
use tests::{Cluster, GoClient, Module, Origin};

/// Room for the log of a small cluster and its reserve, and not for much more.
const DISK_BYTES: u64 = 24 << 20;

/// A token is created by this name; the exit code.
fn write(cluster: &Cluster, servers: &str, name: &str) -> i32 {
    cluster.ctl_at(servers, &["--timeout", "3s", "token", "create", name, "--role", "viewer"]).code
}

/// Takes all room there is on the disk of a data directory; given back by the returned file's removal.
fn fill(data_dir: &Path) -> PathBuf {
    let ballast = data_dir.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    for size in [1 << 20, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    ballast
}

/// A document that takes much of a small disk, written over and over: the log of Raft's database has room set aside for small writes.
fn write_much(cluster: &Cluster) -> Told {
    let rule = format!(
        "[[rules]]\neffect = \"deny\"\nverbs = [\"read\"]\nsubjects = [\"anyone\"]\nmodules = \"example.com/x\"\nreason = \"{}\"\n",
        "x".repeat(100)
    );
    let file = cluster.credentials().join("large.toml");
    fs::write(&file, rule.repeat(900)).unwrap();
    cluster.ctl(&["--timeout", "3s", "policy", "apply", file.to_str().unwrap(), "--yes"])
}

fn is_halted(cluster: &Cluster, member: usize) -> bool {
    metric(cluster, member, "goproxy_control_halted") == Some(1)
}

fn metric(cluster: &Cluster, member: usize, name: &str) -> Option<u64> {
    let told = tests::Call::new(cluster.control[member].admin(), "GET", "/metrics").try_send().ok()?.text();
    told.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn with_small_disks() -> Cluster {
    let mut cluster = Cluster::prepared(3, |node| node.disk(DISK_BYTES));
    for node in &mut cluster.control {
        node.allow("raft");
        node.allow("disk");
        node.allow("No space left");
    }
    cluster
}

/// Row 7 of the list of faults: the disk of one member is full.
#[test]
fn a_member_whose_disk_is_full_steps_aside_and_comes_back() {
    let cluster = with_small_disks();
    let leader = cluster.leader();
    let ballast = fill(&cluster.control[leader].data_dir());
    eventually("it steps aside", || {
        write_much(&cluster);
        is_halted(&cluster, leader).then_some(())
    });
    let others = (0..3).filter(|at| *at != leader).map(|at| cluster.control[at].rpc().to_string());
    let others = others.collect::<Vec<_>>().join(",");
    eventually("the others go on", || (write(&cluster, &others, "while-full") == 0).then_some(()));
    fs::remove_file(ballast).unwrap();
    cluster.wait_voters(3);
    assert!(!is_halted(&cluster, leader));
}

/// Row 8 of the list of faults: the disks of all members are full. What is known is read, modules are served, and room is enough.
#[test]
fn while_all_disks_are_full_nothing_changes_and_everything_is_served() {
    let origin = Origin::start();
    origin.publish(&Module::new("example.com/one", "v1.0.0").file("one.go", "package one\n"));
    let mut cluster = with_small_disks();
    cluster.add_node("data-1", "a", &origin.url());
    cluster.wait_state("data-1", "active");
    let ballast: Vec<_> = cluster.control.iter().map(|node| fill(&node.data_dir())).collect();
    let told = eventually("no change is taken", || Some(write_much(&cluster)).filter(|told| told.code != 0));
    // There is no quorum; or the last that was asked had just stopped.
    assert!(matches!(told.code, 5 | 6), "{told:?}");
    GoClient::new(&format!("http://{}", cluster.data[0].http()), "off")
        .run(&["get", "example.com/one@v1.0.0"])
        .success();
    for ballast in ballast {
        fs::remove_file(ballast).unwrap();
    }
    eventually("changes are taken again", || {
        (write(&cluster, &cluster.servers(), "after-full") == 0).then_some(())
    });
    cluster.wait_voters(3);
}

/// Row 5 of the list of faults: power was cut in the middle of a write. What was acknowledged is there.
#[test]
fn a_write_that_was_cut_off_is_no_damage() {
    let mut cluster = Cluster::of(3);
    cluster.ctl(&["token", "create", "kept", "--role", "viewer"]).code(0);
    for member in 0..3 {
        cluster.control[member].kill9();
    }
    for node in &mut cluster.control {
        // The beginning of a record whose rest never reached the disk.
        let mut log = OpenOptions::new().append(true).open(newest_log(&node.data_dir())).unwrap();
        log.write_all(&[0x5a, 0x13, 0x77, 0x21, 0xff, 0x01, 0x01, 0x42]).unwrap();
        node.start(&[]);
    }
    cluster.wait_voters(3);
    let tokens = cluster.ctl(&["token", "list", "-o", "json"]).json().to_string();
    assert!(tokens.contains("kept"), "{tokens}");
}

/// Row 5 of the list of faults: what was on disk already is damaged. A member that dropped what follows could forget its vote.
#[test]
fn a_member_with_a_damaged_log_is_refused() {
    let mut cluster = Cluster::of(3);
    for number in 0..5 {
        cluster.ctl(&["token", "create", &format!("token-{number}"), "--role", "viewer"]).code(0);
    }
    let victim = (cluster.leader() + 1) % 3;
    cluster.control[victim].kill9();
    let log = newest_log(&cluster.control[victim].data_dir());
    let middle = fs::metadata(&log).unwrap().len() / 2;
    let mut file = OpenOptions::new().write(true).open(&log).unwrap();
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.write_all(&[0xff; 64]).unwrap();
    cluster.control[victim].allow("");
    cluster.control[victim].start(&[]);
    let status = cluster.control[victim].wait();
    assert_eq!(status.code(), Some(3), "{}", cluster.control[victim].log());
    cluster.ctl(&["token", "create", "without", "--role", "viewer"]).code(0);
}

/// The write-ahead log that Raft's database writes to.
pub(super) fn newest_log(data_dir: &Path) -> PathBuf {
    let files = fs::read_dir(data_dir.join("control/raft/db")).unwrap().map(|entry| entry.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max().unwrap()
}
