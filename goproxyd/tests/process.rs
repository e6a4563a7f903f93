//! The program as a process: what it prints where, its exit codes, and how signals end it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what a helper cannot do fails the test")]

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use common::clock::SystemClock;
use dataplane::store::{Durability, Store, StoreOptions};
use rustix::process::{Pid, Signal, kill_process};

fn goproxyd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goproxyd"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    goproxyd().args(arguments).output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// A server on free ports that has logged that it starts.
fn start(dir: &Path, arguments: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    start_as(goproxyd(), dir, arguments)
}

/// The same by another way to run the program.
fn start_as(
    mut command: Command,
    dir: &Path,
    arguments: &[&str],
) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = command
        .args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--upstream=off", "--log-format=json"])
        .arg(format!("--data-dir={}", dir.display()))
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().expect("a first log line");
    assert!(first.contains("\"message\":\"starting\""), "{first}");
    (child, lines)
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn data_goes_to_stdout_and_complaints_to_stderr_with_the_exit_code_for_usage() {
    for arguments in [["--version"].as_slice(), &["--help"], &["config", "example"], &["config", "show"]] {
        let output = output(arguments);
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!stdout.is_empty());
    }
    for arguments in [
        ["--nonsense"].as_slice(),
        &["data", "--join-token=x"],
        &["--memory=1"],
        &["config", "check", "/nowhere"],
    ] {
        let output = output(arguments);
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
}

#[test]
fn the_environment_is_read_and_a_flag_wins() {
    let show = |arguments: &[&str]| {
        let output = goproxyd().env("GOPROXYD_ZONE", "z1").args(["config", "show"]).args(arguments).output();
        texts(&output.unwrap()).0
    };
    assert!(show(&[]).contains("zone = \"z1\" # GOPROXYD_ZONE\n"));
    assert!(show(&["--zone=z2"]).contains("zone = \"z2\" # flag\n"));
}

#[test]
fn a_file_passes_the_check_or_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("goproxyd.toml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = output(&["config", "check", path.to_str().unwrap()]);
        (output.status.code(), texts(&output))
    };
    let name = path.display();
    assert_eq!(check("zone = \"z\"\n"), (Some(0), (format!("{name}: ok\n"), String::new())));
    let complaint = format!("error: {name}:1: zoone: unknown setting, did you mean zone?\n");
    assert_eq!(check("zoone = \"z\"\n"), (Some(2), (String::new(), complaint)));
}

#[test]
fn the_first_signal_ends_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, lines) = start(dir.path(), &[]);
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(lines.last().expect("a last log line").contains("\"message\":\"stopped\""));
    }
}

#[test]
fn a_key_that_everybody_may_read_is_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&cert, "").unwrap();
    fs::write(&key, "").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let flags = [format!("--tls-cert={}", cert.display()), format!("--tls-key={}", key.display())];
    let (mut child, lines) = start(dir.path(), &[&flags[0], &flags[1]]);
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let log: Vec<_> = lines.collect();
    assert!(log.iter().any(|line| line.contains("readable by everybody")), "{log:?}");
}

#[test]
fn a_data_node_that_no_other_machine_would_reach_is_refused_unless_all_is_on_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", dir.path().display());
    let start = |more: &[&str]| {
        let listen = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--rpc-listen=127.0.0.1:0"];
        let output = goproxyd().args(["data", "--name=data-1", &data]).args(listen).args(more).output();
        let output = output.unwrap();
        (output.status.code(), texts(&output).1)
    };
    // Nobody is asked: a token of this form is none, and no machine has this address (RFC 5737). It is elsewhere if there is a way to it.
    let is_elsewhere = UdpSocket::bind("0.0.0.0:0").unwrap().connect("192.0.2.1:8083").is_ok();
    let elsewhere = "--join=192.0.2.1:8083";
    let (code, log) = start(&[elsewhere, "--join-token=x"]);
    assert_eq!((code, log.contains("--rpc-advertise")), (Some(2), is_elsewhere), "{log}");
    let told = ["--advertise=10.0.0.5:8081", "--rpc-advertise=10.0.0.5:8083"];
    for fine in [&["--join=localhost:8083"][..], &[elsewhere, told[0], told[1]]] {
        let (code, log) = start(&[fine, &["--join-token=x"]].concat());
        assert!(code == Some(2) && log.contains("read --join-token"), "{log}");
        assert!(!log.contains("--rpc-advertise"), "{log}");
    }
    // Started again it warns of those of which it was told when it joined: they may be no more.
    let folder = dir.path().join("node");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("node.pem"), "").unwrap();
    for (members, is_warned) in [("127.0.0.1:8083", false), ("127.0.0.1:8083\n192.0.2.1:8083", is_elsewhere)]
    {
        fs::write(folder.join("members"), members).unwrap();
        let (code, log) = start(&[]);
        // Its credentials are none.
        assert!(![Some(0), Some(2)].contains(&code), "{log}");
        assert_eq!(log.matches("--rpc-advertise").count(), usize::from(is_warned), "{log}");
    }
}

/// Nothing in the sources says so, but what scripts/cargo.sh has the allocator built with; it tells at the end of a process.
#[test]
fn the_heap_asks_for_huge_pages() {
    let shipped = std::env::var_os("GOPROXYD_RELEASE_BIN");
    for program in [Some(OsString::from(env!("CARGO_BIN_EXE_goproxyd"))), shipped].into_iter().flatten() {
        let mut command = Command::new(&program);
        let output = command.env_clear().env("MALLOC_CONF", "stats_print:true").arg("--version").output();
        let (_, told) = texts(&output.unwrap());
        let built = told.lines().find(|line| line.contains("config.malloc_conf: "));
        assert!(built.is_some_and(|line| line.contains("thp:always")), "{}: {told}", program.display());
        // Of a kernel that has none it says so.
        let are_there = Path::new("/sys/kernel/mm/transparent_hugepage/enabled").exists();
        assert!(!are_there || told.contains("opt.thp: \"always\""), "{}: {told}", program.display());
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let (mut child, mut lines) = start(dir.path(), &[&format!("--rpc-listen={address}")]);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(lines.any(|line| line.contains(&address.to_string())));

    let output = goproxyd()
        .args([&format!("--listen={address}"), "--admin-listen=127.0.0.1:0", "--upstream=off"])
        .arg(format!("--data-dir={}", dir.path().display()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (_, log) = texts(&output);
    assert!(log.contains(&format!("listen on {address}")), "{log}");
}

#[test]
fn a_second_process_on_the_same_directory_ends_with_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, lines) = start(dir.path(), &[]);
    let mut lines = lines.skip_while(|line| !line.contains("serving GOPROXY"));
    lines.next().expect("the first holds the directory");
    let (mut second, log) = start(dir.path(), &[]);
    let status = second.wait().unwrap();
    let log: Vec<_> = log.collect();
    assert_eq!(status.code(), Some(3), "{log:?}");
    send(&first, Signal::TERM);
    assert_eq!(first.wait().unwrap().code(), Some(0));
}

/// The program, started by a shell that first sets the limits of open files.
fn limited(limits: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.env_clear().stdin(Stdio::null());
    command
        .args(["-c", &format!("ulimit {limits} && exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_goproxyd"));
    command
}

/// Soft and hard limit of open files of a process.
fn open_files(child: &Child) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let line =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit of open files");
    line.split_whitespace().take(2).map(str::to_owned).collect()
}

#[test]
fn as_many_files_may_be_open_as_the_system_allows_and_too_few_are_told_of() {
    for (limits, arguments, is_told) in [
        ("-n 2000 && ulimit -S -n 300", ["--max-connections=100", "--max-fetches=8"].as_slice(), false),
        ("-n 2000", ["--max-connections=100", "--max-fetches=500"].as_slice(), true),
        ("-n 2000", ["--max-connections=1000"].as_slice(), true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, lines) = start_as(limited(limits), dir.path(), arguments);
        assert_eq!(open_files(&child), ["2000", "2000"], "{limits}");
        send(&child, Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let told = lines.filter(|line| line.contains("only 2000 files and sockets may be open")).count();
        assert_eq!(told, usize::from(is_told), "{arguments:?}");
    }
}

fn open_store(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default(), Arc::new(SystemClock)).unwrap()
}

/// A directory whose server died with twenty facts in the log of its store, and then lost a bit in the middle of that.
fn with_damaged_log() -> tempfile::TempDir {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open_store(dir.path());
    for number in 0..20_u8 {
        let fact = (format!("fact {number}"), vec![number; 3000].into());
        store.sumdb_put(&[fact], Durability::Synced).unwrap();
    }
    // As a crash leaves it: copied while the store is open.
    fs::create_dir(copy.path().join("db")).unwrap();
    for folder in ["", "db"] {
        for entry in fs::read_dir(dir.path().join(folder)).unwrap().map(Result::unwrap) {
            if entry.metadata().unwrap().is_file() {
                fs::copy(entry.path(), copy.path().join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    let entries = fs::read_dir(copy.path().join("db")).unwrap().map(|entry| entry.unwrap().path());
    let log = entries.filter(|path| path.extension().is_some_and(|end| end == "log")).max().expect("a log");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).expect("twenty facts") ^= 1;
    fs::write(log, bytes).unwrap();
    copy
}

#[test]
fn the_loss_of_what_a_damaged_log_held_is_accepted_when_that_is_said() {
    let dir = with_damaged_log();
    let (mut child, lines) = start(dir.path(), &[]);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let log: Vec<_> = lines.collect();
    assert!(log.iter().any(|line| line.contains("goproxyd recover --accept-log-loss")), "{log:?}");

    let data_dir = format!("--data-dir={}", dir.path().display());
    let accept = |more: &[&str]| {
        let output = output(&[["recover", "--accept-log-loss", data_dir.as_str()].as_slice(), more].concat());
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
        stdout
    };
    for _ in 0..2 {
        let told = accept(&[]);
        assert!(told.contains(".log: bad record at byte ") && told.contains("Nothing was changed"), "{told}");
    }
    // It was in sync by what it held.
    let synced = dir.path().join("synced");
    fs::write(&synced, "").unwrap();
    let told = accept(&["--yes"]);
    assert!(!synced.exists());
    assert!(told.contains("is lost; the store holds 0 versions"), "{told}");
    assert!(accept(&["--yes"]).contains("is not damaged"));

    let store = open_store(dir.path());
    let is_there = |number: u8| store.sumdb_get(&format!("fact {number}")).unwrap().is_some();
    assert!(is_there(0) && !is_there(19));
    drop(store);
    let (mut child, lines) = start(dir.path(), &[]);
    let mut lines = lines.skip_while(|line| !line.contains("serving GOPROXY"));
    lines.next().expect("it serves");
    send(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let nowhere = dir.path().join("nowhere");
    let output = output(&["recover", "--accept-log-loss", &format!("--data-dir={}", nowhere.display())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!nowhere.exists());
}
