//! The go command's own test scripts, as the installed Go has them, with the server between the go command and the proxy
//! that those scripts are written for. Compiles the go command's tests, which takes its time: with `SOAK=1` only.
//!
//! Scripts that expect the words or the special paths of their own proxy are left out by name.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tests::process::eventually;
use tests::{Proxy, Settings};

/// The scripts that ask a proxy, without those that need version control or the network (`-test.short`).
const SCRIPTS: &str = "TestScript/^(mod_|work_|gotoolchain_)";

/// Scripts that cannot pass, and why.
const LEFT_OUT: &[(&str, &[&str])] = &[
    (
        "asks for paths that only their proxy has, like /sumdb-wrong and /redirect",
        &[
            "mod_download_too_many_redirects",
            "mod_gonoproxy",
            "mod_list_update_nolatest",
            "mod_proxy_invalid",
            "mod_proxy_list",
            "mod_sum_absent",
            "mod_sumdb",
            "mod_sumdb_cache",
            "mod_sumdb_proxy",
        ],
    ),
    ("expects the text of their proxy's 404", &["mod_get_nopkgs", "mod_install_pkg_version"]),
    (
        "expects the go command to refuse a zip that the server refuses",
        &["mod_bad_filenames", "mod_load_badzip"],
    ),
    ("their checksum database is wrong about dot files", &["mod_invalid_path_dotname"]),
];

/// Scripts that expect versions in a list which none of them fetches: offline, lists have what is held.
const LEFT_OUT_OFFLINE: &[&str] = &[
    "gotoolchain_local",
    "mod_download_exec_toolchain",
    "mod_get_exec_toolchain",
    "mod_get_toolchain",
    "mod_import",
    "mod_import_toolchain",
    "mod_query",
    "mod_toolchain",
    "work_get_toolchain",
    "work_init_toolchain",
    "work_sync_toolchain",
    "work_use_toolchain",
];

/// The words before the address in what their proxy says when it is up.
const RUNNING: &str = "go test proxy running at GOPROXY=";

/// The compiled scripts and, once it was started, the proxy they are written for.
struct Scripts {
    root: tempfile::TempDir,
    source: PathBuf,
    origin: Option<Child>,
}

impl Scripts {
    /// Compiles the tests of the go command; `None` where this Go came without them.
    fn compile() -> Option<Self> {
        let goroot = Command::new("go").args(["env", "GOROOT"]).output().expect("run go env").stdout;
        let source = Path::new(String::from_utf8(goroot).unwrap().trim()).join("src/cmd/go");
        let harness = source.join("script_test.go");
        let text = std::fs::read_to_string(&harness).ok().filter(|_| source.join("testdata/mod").is_dir())?;
        let root = tempfile::tempdir().expect("temporary directory");
        let patched =
            text.replace(r#""GOPROXY=" + proxyURL"#, r#""GOPROXY=" + os.Getenv("SCRIPTS_GOPROXY")"#);
        assert_ne!(text, patched, "{} sets GOPROXY in another way than expected", harness.display());
        let replacement = root.path().join("script_test.go");
        let overlay = serde_json::json!({ "Replace": { harness.to_string_lossy(): &replacement } });
        std::fs::write(&replacement, patched).expect("write the harness");
        std::fs::write(root.path().join("overlay.json"), overlay.to_string()).expect("write the overlay");
        let scripts = Self { root, source, origin: None };
        let compiled = scripts
            .command(Path::new("go"))
            .args(["test", "-c", "-overlay=overlay.json", "-o=scripts.test", "cmd/go"])
            .current_dir(scripts.root.path())
            .status()
            .expect("run go test");
        assert!(compiled.success(), "the tests of the go command do not compile");
        Some(scripts)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.source).stdin(Stdio::null()).env("TMPDIR", self.root.path());
        command.env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
        command
    }

    fn test_program(&self) -> Command {
        self.command(&self.root.path().join("scripts.test"))
    }

    /// Starts the proxy that the scripts are written for; its URL.
    fn origin(&mut self) -> String {
        let path = self.root.path().join("origin.log");
        let log = std::fs::File::create(&path).expect("create log");
        let started = self.test_program().arg("-proxy=127.0.0.1:0").stdout(Stdio::null()).stderr(log).spawn();
        self.origin = Some(started.expect("start the scripts' proxy"));
        eventually("the scripts' proxy is up", || {
            let text = std::fs::read_to_string(&path).ok()?;
            let (_, rest) = text.split_once(RUNNING)?;
            Some(rest.split_once('\n')?.0.to_owned())
        })
    }

    /// The key of the scripts' checksum database.
    fn sumdb(&self) -> String {
        let text = std::fs::read_to_string(self.source.join("proxy_test.go")).expect("read proxy_test.go");
        let (_, rest) = text.split_once("testSumDBVerifierKey = \"").expect("the database's key");
        rest.split('"').next().unwrap().to_owned()
    }

    /// Runs scripts with this GOPROXY; those that passed and those that failed, and all that was said.
    fn run(&self, goproxy: &str, which: &str) -> (Vec<String>, Vec<String>, String) {
        let left_out: Vec<&str> = LEFT_OUT.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let output = self
            .test_program()
            .args(["-test.v", "-test.short", "-test.parallel=4", "-test.timeout=20m"])
            .arg(format!("-test.run={which}"))
            .arg(format!("-test.skip=TestScript/^({})$", left_out.join("|")))
            .env("SCRIPTS_GOPROXY", goproxy)
            .output()
            .expect("run the scripts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let named = |verdict: &str| {
            let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(verdict));
            lines.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
        };
        (named("--- PASS: TestScript/"), named("--- FAIL: TestScript/"), text)
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        if let Some(origin) = &mut self.origin {
            let _ = origin.kill();
            let _ = origin.wait();
        }
    }
}

#[test]
fn scripts_of_the_go_command_pass_through_the_server() {
    if std::env::var_os("SOAK").is_none() {
        return;
    }
    let Some(mut scripts) = Scripts::compile() else {
        // Not by a macro, whose output of a test that passes nobody sees.
        let said = b"SKIPPED: scripts of the go command: this Go came without src/cmd/go/testdata\n";
        std::io::stderr().write_all(said).expect("write to standard error");
        return;
    };
    let origin = scripts.origin();
    // Some scripts are about origins that send rubbish.
    let settings = Settings::upstream(&origin).flag("--sumdb", &scripts.sumdb()).allow_all();
    let proxy = Proxy::start(&settings);
    let (passed, mut failed, text) = scripts.run(&proxy.url(), SCRIPTS);
    assert!(passed.len() > 100, "only {} scripts ran:\n{text}", passed.len());

    // What fails without the server too is this machine's affair.
    let mut excused = Vec::new();
    if !failed.is_empty() {
        let again = format!("TestScript/^({})$", failed.join("|"));
        excused = scripts.run(&origin, &again).1;
        failed.retain(|name| !excused.contains(name));
    }
    assert!(failed.is_empty(), "fail through the server only: {failed:?}\n{text}");

    // All of it once more from what is stored.
    let proxy = proxy.restart_with(settings.offline());
    let (_, mut failed, text) = scripts.run(&proxy.url(), SCRIPTS);
    failed.retain(|name| !excused.contains(name) && !LEFT_OUT_OFFLINE.contains(&name.as_str()));
    assert!(failed.is_empty(), "fail offline: {failed:?}\n{text}");
}
