//! Starts, ends and sudden deaths: exit codes, the directory's lock, draining, exhausted descriptors, kill -9.

use std::time::{Duration, Instant};
use tests::chance::rounds;
use tests::process::{eventually, free_address};
use tests::program::run_goproxyd;
use tests::raw_http::Connection;
use tests::{Bed, Call, Fault, Gate, GoClient, Module, Proxy, Settings};

/// A restart serves within this (row 1 of the list of faults).
const RESTART_MAX: Duration = Duration::from_secs(3);

#[test]
fn wrong_settings_end_with_2_and_name_the_right_one() {
    for (arguments, said) in [
        (vec!["--cache-sze=1GiB"], "--cache-size"),
        (vec!["--cache-size=lots"], "cache-size"),
        (vec!["--listen=nowhere"], "listen"),
        (vec!["--upstream=ftp://example.com"], "upstream"),
        (vec!["--sumdb=example.com"], "sumdb"),
        (vec!["--drain-timeout=soon"], "drain-timeout"),
        (vec!["--config=/absent/file.toml"], "/absent/file.toml"),
        (vec!["standalone", "--nonsense"], "--nonsense"),
        (vec!["nonsense"], "nonsense"),
    ] {
        let output = run_goproxyd(&arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?}: talk belongs on standard error");
    }
}

#[test]
fn a_second_process_on_one_directory_ends_with_3() {
    let bed = Bed::new();
    let proxy = bed.proxy();
    let data_dir = proxy.data_dir();
    let output = run_goproxyd(&[
        &format!("--data-dir={}", data_dir.display()),
        &format!("--listen={}", free_address()),
        &format!("--admin-listen={}", free_address()),
        "--rpc-listen=127.0.0.1:0",
    ]);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains(&data_dir.display().to_string()), "{text}");
    assert!(text.contains("process") || text.contains("lock"), "says nothing of the other process: {text}");
    proxy.get("/healthz").expect(200);
}

#[test]
fn a_port_that_is_taken_ends_with_1() {
    let bed = Bed::new();
    let proxy = bed.proxy();
    let directory = tempfile::tempdir().unwrap();
    let output = run_goproxyd(&[
        &format!("--data-dir={}", directory.path().display()),
        &format!("--listen={}", proxy.address()),
        &format!("--admin-listen={}", free_address()),
        "--rpc-listen=127.0.0.1:0",
    ]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&proxy.address().to_string()), "{text}");
}

#[test]
fn a_damaged_directory_ends_with_3_and_is_not_wiped() {
    let bed = Bed::new();
    let module = bed.module("example.com/held", "v1.0.0");
    let mut proxy = Proxy::start(&bed.settings().allow_all());
    proxy.get(&module.url_path(".zip")).expect(200);
    proxy.kill9();
    let files = files_below(&proxy.data_dir());
    // Of the store: without what the control plane keeps, modules are served.
    let current = proxy.data_dir().join("db/CURRENT");
    assert!(current.exists(), "RocksDB has a file CURRENT");
    std::fs::write(current, "MANIFEST-999999\n").unwrap();
    let output = run_goproxyd(&[
        &format!("--data-dir={}", proxy.data_dir().display()),
        &format!("--listen={}", free_address()),
        &format!("--admin-listen={}", free_address()),
        "--rpc-listen=127.0.0.1:0",
    ]);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(files_below(&proxy.data_dir()).len() >= files.len() - 2, "the damaged directory was cleared");
}

#[test]
fn the_database_of_another_server_is_refused_and_left_alone() {
    let (bed, other) = (Bed::new(), Bed::new());
    let module = bed.module("example.com/mine", "v1.0.0");
    let mut servers = [&bed, &other].map(|bed| Proxy::start(&bed.settings().allow_all()));
    servers[0].get(&module.url_path(".zip")).expect(200);
    servers.iter_mut().for_each(Proxy::kill9);
    let [mine, others] = [0, 1].map(|number: usize| servers[number].data_dir());
    std::fs::rename(others.join("db"), others.join("aside")).unwrap();
    std::fs::rename(mine.join("db"), others.join("db")).unwrap();
    let before = files_below(&others).len();
    let output = run_goproxyd(&[
        &format!("--data-dir={}", others.display()),
        &format!("--listen={}", free_address()),
        &format!("--admin-listen={}", free_address()),
        "--rpc-listen=127.0.0.1:0",
    ]);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("another store") && text.contains(&others.display().to_string()), "{text}");
    assert!(files_below(&others).len() >= before, "something was cleared");
    // Back where it belongs, it serves what it had.
    std::fs::rename(others.join("db"), mine.join("db")).unwrap();
    let [first, _] = servers;
    bed.origin.forget_seen();
    assert!(first.restart().get(&module.url_path(".zip")).expect(200).body == module.zip());
    assert_eq!(bed.origin.count(&module.url_path(".zip")), 0);
}

fn files_below(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            _ => files.push(entry.path()),
        }
    }
    files
}

#[test]
fn a_drain_lets_running_answers_finish() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let bed = Bed::new();
        let module = bed.large_module("example.com/drain");
        let path = module.url_path(".zip");
        let gate = Gate::new();
        bed.origin.fault(&path, [Fault::Hold { after: 700_000, gate: gate.clone() }]);
        let mut proxy = bed.proxy();
        let mut running = proxy.call("GET", &path).open().unwrap();
        let head = running.read_head("GET").unwrap();
        let mut idle = proxy.call("GET", "/healthz").open().unwrap();
        idle.read_response("GET").unwrap();
        gate.wait_for(1);

        proxy.signal(signal);
        eventually("/readyz is 503", || {
            let answer = proxy.admin_get("/readyz");
            (answer.status == 503).then_some(())
        });
        proxy.admin_get("/healthz").expect(200);
        assert!(proxy.runs(), "ended before the answer did");
        gate.open();
        let tests::raw_http::Length::Known(length) = head.length else { panic!("no length") };
        let (body, whole) = running.read_known(length);
        assert!(whole && body == module.zip());
        let status = proxy.wait();
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn a_drain_ends_after_its_time_and_at_once_when_nothing_runs() {
    let bed = Bed::new();
    let module = bed.large_module("example.com/stuck");
    let never = Gate::new();
    bed.origin.fault(&module.url_path(".zip"), [Fault::Hold { after: 700_000, gate: never.clone() }]);
    let mut proxy = Proxy::start(&bed.settings().flag("--drain-timeout", "1s").allow_all());
    let mut running = proxy.call("GET", &module.url_path(".zip")).open().unwrap();
    running.read_head("GET").unwrap();
    let begun = Instant::now();
    assert_eq!(proxy.terminate().code(), Some(0));
    assert!((1..10).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    never.open();

    let mut proxy = bed.proxy();
    let mut idle = Connection::open(proxy.address(), None).unwrap();
    idle.send(&proxy.call("GET", "/healthz").bytes()).unwrap();
    idle.read_response("GET").unwrap();
    let begun = Instant::now();
    assert_eq!(proxy.terminate().code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "an idle connection held up the end: {:?}",
        begun.elapsed()
    );
}

#[test]
fn what_is_served_after_a_clean_end_is_what_was_stored() {
    let bed = Bed::new();
    let modules: Vec<Module> =
        (0..5).map(|number| bed.module("example.com/kept", &format!("v1.0.{number}"))).collect();
    let mut proxy = bed.proxy();
    for module in &modules {
        bed.client(&proxy).download(&[&module.spec()]).success();
    }
    assert_eq!(proxy.terminate().code(), Some(0));
    bed.origin.down();
    let begun = Instant::now();
    let proxy = proxy.restart();
    assert!(begun.elapsed() < RESTART_MAX, "{:?}", begun.elapsed());
    for module in &modules {
        assert_eq!(proxy.get(&module.url_path(".zip")).expect(200).body, module.zip());
    }
}

#[test]
fn the_accept_loop_survives_exhausted_descriptors() {
    let bed = Bed::new();
    let module = bed.module("example.com/descriptors", "v1.0.0");
    let settings = Settings::new(&bed.origin).open_files(160).allow_all();
    let mut proxy = Proxy::start(&settings);
    proxy.get(&module.url_path(".zip")).expect(200);
    let crowd: Vec<_> = (0..400).map(|_| Connection::open(proxy.address(), None)).collect();
    assert!(crowd.iter().filter(|connection| connection.is_ok()).count() > 160);
    eventually("descriptors run short", || {
        assert!(proxy.runs(), "died of EMFILE");
        proxy.log().contains("failed to accept a connection").then_some(())
    });
    // Also while all of them stay and do nothing.
    for address in [proxy.address(), proxy.admin()] {
        eventually("it says that it lives", || {
            Call::new(address, "GET", "/healthz").try_send().ok().filter(|answer| answer.status == 200)
        });
    }
    drop(crowd);
    eventually("the server serves again", || {
        proxy.call("GET", &module.url_path(".zip")).try_send().ok().filter(|answer| answer.status == 200)
    });
    assert!(proxy.runs());
}

/// Modules of a round of kill -9.
const KILLED: usize = 8;

#[test]
fn kill_9_under_load_loses_nothing_whole_and_shows_nothing_half() {
    let bed = Bed::new();
    let mut proxy = Proxy::start(&bed.settings().allow_all());
    let mut modules: Vec<Module> = Vec::new();
    // What clients had whole is served for ever after.
    let mut acknowledged: Vec<bool> = Vec::new();
    for round in 0..rounds(4) {
        let new = (0..KILLED).map(|number| {
            let version = format!("v1.{round}.{number}");
            Module::new("example.com/killed", &version).filler(200_000 + number * 120_000)
        });
        let wanted: Vec<Module> = new.inspect(|module| bed.origin.publish(module)).collect();
        bed.origin.forget_seen();
        // Dies after so many requests to the origin: at another point of the work in each round.
        let dies_after = 1 + round * 7 % (3 * KILLED);
        let whole = std::thread::scope(|scope| {
            let threads: Vec<_> = wanted
                .iter()
                .map(|module| {
                    let call = proxy.call("GET", &module.url_path(".zip"));
                    scope.spawn(move || {
                        call.try_send().is_ok_and(|answer| answer.status == 200 && answer.complete)
                    })
                })
                .collect();
            let done = || threads.iter().all(std::thread::ScopedJoinHandle::is_finished);
            eventually("work is under way", || (bed.origin.total() >= dies_after || done()).then_some(()));
            proxy.kill9();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<bool>>()
        });
        acknowledged.extend(whole);
        modules.extend(wanted);
        let begun = Instant::now();
        proxy = proxy.restart();
        assert!(begun.elapsed() < RESTART_MAX, "round {round}: {:?}", begun.elapsed());
        // Those of the last rounds, all of them at the end.
        let recent = modules.len().saturating_sub(4 * KILLED);
        check_killed(&proxy, &modules[recent..], &acknowledged[recent..], round);
    }
    check_killed(&proxy, &modules, &acknowledged, usize::MAX);
    assert!(acknowledged.contains(&true), "none came whole");
    let specs: Vec<String> = modules.iter().map(Module::spec).collect();
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    bed.client(&proxy).download(&specs).success();
}

/// Each is there whole or not at all, and there if somebody had it.
fn check_killed(proxy: &Proxy, modules: &[Module], acknowledged: &[bool], round: usize) {
    for (module, acknowledged) in modules.iter().zip(acknowledged) {
        let answer = proxy.get(&format!("/cached-only{}", module.url_path(".zip")));
        let whole = answer.status == 200 && answer.complete && answer.body == module.zip();
        assert!(
            whole || answer.status == 404 && !acknowledged,
            "round {round}: {} is {}, {acknowledged}",
            module.spec(),
            answer.status
        );
    }
}

/// Points between two durable steps of the store, and how often each is passed before the process dies there.
const FAILPOINTS: [(&str, u32); 12] = [
    ("store::blob::before_chunk", 0),
    ("store::blob::before_chunk", 2),
    ("store::blob::after_marker", 0),
    ("store::blob::after_chunk", 0),
    ("store::blob::after_chunk", 3),
    ("store::blob::before_seal", 0),
    ("store::commit::before_batch", 0),
    ("store::commit::before_batch", 1),
    ("store::commit::before_batch", 2),
    ("store::commit::after_batch", 0),
    ("store::commit::after_batch", 1),
    ("store::commit::after_batch", 2),
];

/// Needs a server built with the feature `failpoints`, in which a panic at a point ends the process at once; its path is
/// in `GOPROXYD_FAILPOINTS_BIN`. `make test` builds one.
#[test]
fn death_between_any_two_durable_steps_is_healed() {
    let Some(binary) = std::env::var_os("GOPROXYD_FAILPOINTS_BIN") else { return };
    for (point, passes) in FAILPOINTS {
        let bed = Bed::new();
        let module = bed.large_module("example.com/point");
        let settings = bed.settings().binary(&binary).allow_all();
        let deadly = settings.clone().env("FAILPOINTS", &format!("{point}={passes}*off->panic"));
        // The log tells of the panic that was asked for.
        let mut proxy = Proxy::start(&deadly.allow_panics());
        let path = module.url_path(".zip");
        for suffix in [".mod", ".zip", ".info"] {
            let _ = proxy.call("GET", &module.url_path(suffix)).try_send();
        }
        let status = proxy.wait();
        assert!(!status.success(), "{point} was not reached");
        let proxy = proxy.restart_with(settings.allow_panics());
        let cached = proxy.get(&format!("/cached-only{path}"));
        assert!(cached.status == 404 || cached.status == 200 && cached.body == module.zip(), "{point}");
        assert!(proxy.get(&path).expect(200).body == module.zip(), "{point}");
        GoClient::new(&proxy.url(), &bed.sumdb.key()).download(&[&module.spec()]).success();
    }
}
