//! Bytes on disk that change behind the server's back: never served, and healed where the origin still has them.

use std::path::{Path, PathBuf};
use tests::log_scan;
use tests::process::eventually;
use tests::{Bed, Module, Proxy};

/// Files of the data directory whose names end so, larger than a few bytes.
fn files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if path.to_string_lossy().ends_with(suffix)
            && entry.metadata().is_ok_and(|data| data.len() > 100)
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Flips a bit at each of these fractions (in thousandths) of a file.
fn flip(path: &Path, thousandths: &[usize]) {
    let mut bytes = std::fs::read(path).unwrap();
    for part in thousandths {
        let at = bytes.len() * part / 1000;
        bytes[at] ^= 0x04;
    }
    std::fs::write(path, bytes).unwrap();
}

/// A data directory with some large modules whose content has reached table files, and no process on it.
fn stored() -> (Bed, Proxy, Vec<Module>) {
    let bed = Bed::new();
    let modules: Vec<Module> =
        (0..3).map(|number| bed.large_module(&format!("example.com/damaged{number}"))).collect();
    let proxy = Proxy::start(&bed.settings().allow_all());
    for module in &modules {
        bed.client(&proxy).download(&[&module.spec()]).success();
    }
    // The restart writes what was only in the log to tables.
    let mut proxy = proxy.restart();
    assert_eq!(proxy.terminate().code(), Some(0));
    (bed, proxy, modules)
}

fn assert_never_wrong(proxy: &Proxy, modules: &[Module]) {
    for module in modules {
        for (suffix, right) in [(".zip", module.zip()), (".mod", module.go_mod()), (".info", module.info())] {
            // An answer that breaks off is well, even before its head.
            let Ok(answer) = proxy.call("GET", &module.url_path(suffix)).try_send() else { continue };
            let whole = answer.status == 200 && answer.complete;
            assert!(!whole || answer.body == right, "{} of {} is wrong", suffix, module.spec());
            assert_ne!(answer.status, 404, "{} of {}", suffix, module.spec());
        }
    }
}

#[test]
fn flipped_bits_in_content_are_never_served_and_are_healed_from_the_origin() {
    let (bed, proxy, modules) = stored();
    let mut content = files(&proxy.data_dir(), ".blob");
    if content.is_empty() {
        content = files(&proxy.data_dir(), ".sst");
    }
    assert!(!content.is_empty(), "no file holds the content");
    for path in &content {
        flip(path, &[200, 500, 800]);
    }
    let proxy = proxy.restart();
    assert_never_wrong(&proxy, &modules);
    for module in &modules {
        eventually(&format!("{} is whole again", module.spec()), || {
            let answer = proxy.call("GET", &module.url_path(".zip")).try_send().ok()?;
            (answer.status == 200 && answer.complete && answer.body == module.zip()).then_some(())
        });
    }
    let damaged = proxy.metric("goproxy_serve_damaged_total", "").unwrap_or_default();
    assert!(damaged > 0.0, "operators are not told");
    let specs: Vec<String> = modules.iter().map(Module::spec).collect();
    for spec in &specs {
        bed.client(&proxy).download(&[spec]).success();
    }
}

#[test]
fn damage_to_what_is_private_is_logged_without_its_name() {
    let (bed, proxy, modules) = stored();
    for path in files(&proxy.data_dir(), ".blob") {
        flip(&path, &[200, 500, 800]);
    }
    // Nobody said before that it is private.
    proxy.forget_log();
    let settings = bed.settings().flag("--private", "example.com").flag("--log-level", "info,private=debug");
    let proxy = proxy.restart_with(settings.allow_all());
    assert_never_wrong(&proxy, &modules);
    let lines = |level: &str, text: &str| {
        let log = proxy.log();
        let found = log.lines().filter(|line| log_scan::level(line).as_deref() == Some(level));
        found.filter(|line| line.contains(text)).count()
    };
    eventually("the damage is logged", || (lines("ERROR", "(private)") > 0).then_some(()));
    assert_eq!(log_scan::above_debug(&proxy.log(), "example.com/damaged"), None);
    // Whoever has to act asks for the names.
    assert!(lines("DEBUG", "example.com/damaged") > 0);
}

#[test]
fn without_an_origin_damaged_content_is_an_error_and_the_rest_is_served() {
    let (bed, proxy, modules) = stored();
    for path in files(&proxy.data_dir(), ".blob") {
        flip(&path, &[500]);
    }
    bed.origin.down();
    let Some(proxy) = proxy.restart_unless_damaged() else { return };
    assert_never_wrong(&proxy, &modules);
    for module in &modules {
        proxy.get(&module.url_path(".mod")).expect(200);
    }
}

#[test]
fn flipped_bits_in_tables_logs_and_manifests_are_noticed() {
    for suffix in [".sst", ".log"] {
        let (_bed, proxy, modules) = stored();
        for path in files(&proxy.data_dir(), suffix) {
            flip(&path, &[100, 300, 500, 700]);
        }
        if let Some(proxy) = proxy.restart_unless_damaged() {
            assert_never_wrong(&proxy, &modules);
        }
    }
    let (_bed, proxy, modules) = stored();
    let manifest = files(&proxy.data_dir(), "")
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST")));
    flip(&manifest.expect("RocksDB has a manifest"), &[300, 600]);
    if let Some(proxy) = proxy.restart_unless_damaged() {
        assert_never_wrong(&proxy, &modules);
    }
}

#[test]
fn content_files_that_are_swapped_are_not_served_under_each_others_names() {
    let (_bed, proxy, modules) = stored();
    let content = files(&proxy.data_dir(), ".blob");
    let [first, .., last] = content.as_slice() else { return };
    let (one, other) = (std::fs::read(first).unwrap(), std::fs::read(last).unwrap());
    std::fs::write(first, other).unwrap();
    std::fs::write(last, one).unwrap();
    if let Some(proxy) = proxy.restart_unless_damaged() {
        assert_never_wrong(&proxy, &modules);
    }
}

#[test]
fn a_cut_file_is_noticed() {
    let (_bed, proxy, modules) = stored();
    for path in files(&proxy.data_dir(), ".blob") {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }
    if let Some(proxy) = proxy.restart_unless_damaged() {
        assert_never_wrong(&proxy, &modules);
    }
}

#[test]
fn a_torn_end_of_the_log_is_cut_off_and_not_believed() {
    for torn_bytes in [1, 100, 5_000] {
        let bed = Bed::new();
        let modules: Vec<Module> =
            (0..2).map(|number| bed.large_module(&format!("example.com/torn{number}"))).collect();
        let mut proxy = Proxy::start(&bed.settings().allow_all());
        for module in &modules {
            bed.client(&proxy).download(&[&module.spec()]).success();
        }
        // What a power cut leaves: the newest log without its last bytes.
        proxy.kill9();
        let log = files(&proxy.data_dir(), ".log").pop().expect("RocksDB has a log");
        let bytes = std::fs::read(&log).unwrap();
        std::fs::write(&log, &bytes[..bytes.len().saturating_sub(torn_bytes)]).unwrap();
        let proxy = proxy.restart_unless_damaged().expect("a torn end is no damage");
        assert_never_wrong(&proxy, &modules);
        for module in &modules {
            bed.client(&proxy).download(&[&module.spec()]).success();
        }
    }
}
