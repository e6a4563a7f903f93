//! Real modules from the real upstream, verified against the real checksum database. Asks the network only with
//! `GOPROXYD_TEST_ONLINE=1` (`make test-online`).
#![expect(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::time::Duration;
use tests::process::eventually;
use tests::{GoClient, Proxy, Settings};

/// Longest download of the whole list.
const PATIENCE: Duration = Duration::from_mins(15);

/// Versions stored before the server is killed in the middle.
const STORED_BEFORE_DEATH: usize = 10;

fn modules() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/online/modules.txt");
    let text = std::fs::read_to_string(path).expect("read the list of modules");
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

/// The first entry of the user's own GOPROXY.
fn upstream() -> String {
    let output = std::process::Command::new("go").args(["env", "GOPROXY"]).output().expect("run go env");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.split([',', '|']).next().unwrap_or_default().to_owned()
}

fn settings() -> Settings {
    let settings = Settings::upstream(&upstream()).allow_all();
    match std::env::var("SSL_CERT_FILE") {
        Ok(path) => settings.env("SSL_CERT_FILE", &path),
        Err(_) => settings,
    }
}

fn client(proxy: &Proxy) -> GoClient {
    GoClient::new(&proxy.url(), "sum.golang.org").patient(PATIENCE)
}

#[test]
fn real_modules_download_verified_survive_kill_9_and_are_served_offline() {
    if std::env::var_os("GOPROXYD_TEST_ONLINE").is_none() {
        return;
    }
    let modules = modules();
    let specs: Vec<&str> = modules.iter().map(String::as_str).collect();
    let mut proxy = Proxy::start(&settings());

    // Killed in the middle of the first run.
    std::thread::scope(|scope| {
        let first = client(&proxy);
        let specs = &specs;
        let run = scope.spawn(move || first.download(specs));
        eventually("the first versions are stored", || {
            let stored = proxy.get("/index").text().lines().count();
            (stored >= STORED_BEFORE_DEATH).then_some(())
        });
        proxy.kill9();
        assert!(!run.join().expect("the client thread").ok, "the first run ended before the server died");
    });

    let proxy = proxy.restart();
    client(&proxy).download(&specs).success();

    // The upstream is not asked for any of it again.
    let proxy = proxy.restart_with(settings().offline());
    client(&proxy).download(&specs).success();
    for spec in &modules {
        let (path, version) = spec.split_once('@').expect("module@version");
        let escaped = |text: &str| tests::module::escape(text);
        let zip = proxy.get(&format!("/{}/@v/{}.zip", escaped(path), escaped(version))).expect(200);
        assert_eq!(zip.expect_header("x-cache"), "hit", "{spec}");
    }
}
