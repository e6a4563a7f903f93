//! Where tests lie: an authority, fake control nodes, a home directory, and the program run as a process.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use cluster::{ClusterId, MemberId};
use common::clock::{Clock as _, SystemClock};
use identity::{Authority, Bundle, Credentials, Grant, HotCredentials, KeyRequest, SigningRequest, Who};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::fake::{Fake, Reply};

/// The operator's token that the fakes know.
pub(crate) const TOKEN: &str = "gpt1.0123456789abcdef.c2VjcmV0LXRoYXQtbXVzdC1ub3QtYmUtc2hvd24tISE";

/// Variables of whoever runs the tests that would change what is seen.
const FOREIGN: [&str; 3] = ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "COMPLETE"];

/// What a run of the program came to.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    line: String,
}

impl Run {
    /// All of it, for a snapshot.
    pub(crate) fn transcript(&self) -> String {
        let mut text = format!("$ {}\n{}", self.line, self.stdout);
        if !self.stderr.is_empty() {
            let _ = write!(text, "--- stderr\n{}", self.stderr);
        }
        let _ = writeln!(text, "--- exit {}", self.code);
        text
    }
}

/// An authority, one fake control node and more if wanted, and a home directory.
pub(crate) struct Bed {
    pub(crate) fake: Fake,
    pub(crate) home: tempfile::TempDir,
    runtime: Runtime,
    tls: TlsAcceptor,
    more: Vec<String>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let home = tempfile::tempdir().unwrap();
        let (ca, tls) = authority();
        let bed_file = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        };
        bed_file("ca.pem", &ca);
        bed_file("admin.token", &format!("{TOKEN}\n"));
        let fake = runtime.block_on(Fake::start(tls.clone()));
        Self { fake, home, runtime, tls, more: Vec::new() }
    }

    /// One more control node.
    pub(crate) fn another(&mut self) -> Fake {
        let fake = self.runtime.block_on(Fake::start(self.tls.clone()));
        self.more.push(fake.address.to_string());
        fake
    }

    /// A server with credentials of its own.
    pub(crate) fn apart(&self, tls: TlsAcceptor) -> Fake {
        self.runtime.block_on(Fake::start(tls))
    }

    /// A method's one answer.
    pub(crate) fn on(&self, method: &str, message: &impl prost::Message) {
        self.fake.on(method, vec![Reply::say(message)]);
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program, with server, authority and token set in the environment, in the home directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command
            .env("GOPROXYCTL_SERVER", self.fake.address.to_string())
            .env("GOPROXYCTL_CA", self.home.path().join("ca.pem"))
            .env("GOPROXYCTL_TOKEN_FILE", self.home.path().join("admin.token"));
        command
    }

    /// The program with nothing set.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goproxyctl"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GOPROXYCTL_") {
                command.env_remove(name);
            }
        }
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("HOME", self.home.path())
            // Nothing is there; without this, root would find what a server on this machine has left.
            .env("GOPROXYD_DATA_DIR", self.home.path().join("none/goproxyd"))
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.finish(&mut self.command(arguments))
    }

    pub(crate) fn finish(&self, command: &mut Command) -> Run {
        let output = command.output().unwrap();
        let line: Vec<_> = command.get_args().map(|argument| argument.to_str().unwrap()).collect();
        Run {
            code: output.status.code().unwrap(),
            stdout: self.same_everywhere(&String::from_utf8(output.stdout).unwrap()),
            stderr: self.same_everywhere(&String::from_utf8(output.stderr).unwrap()),
            line: self.same_everywhere(&format!("goproxyctl {}", line.join(" "))),
        }
    }

    /// Ports, folders and versions differ from run to run.
    fn same_everywhere(&self, text: &str) -> String {
        let mut text = text.replace(&self.fake.address.to_string(), "127.0.0.1:8083");
        for (at, address) in self.more.iter().enumerate() {
            text = text.replace(address, &format!("127.0.0.1:9{at:03}"));
        }
        text.replace(&self.home.path().display().to_string(), "/home/me")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(self.home.path()).join(name)
    }
}

/// An authority as PEM, and TLS for a control node that it vouches for.
pub(crate) fn authority() -> (String, TlsAcceptor) {
    vouched(Who::Member(MemberId::new(1).unwrap()))
}

/// An authority as PEM, and TLS for somebody whom it vouches for.
pub(crate) fn vouched(who: Who) -> (String, TlsAcceptor) {
    let clock = Arc::new(SystemClock);
    let cluster = ClusterId::from_bytes([7; 16]);
    let authority = Authority::create(cluster, clock.now_us()).unwrap();
    let request = KeyRequest::make().unwrap();
    let signing = SigningRequest::check(request.request()).unwrap();
    // Without names: it is called by its address, which its certificate does not have.
    let issued = authority.sign(&signing, &Grant { who, hosts: BTreeSet::new() }, clock.now_us()).unwrap();
    let bundle = Bundle::new([authority.certificate().clone()]).unwrap();
    let pem = bundle.to_pem();
    let credentials = Credentials::new(issued.chain, request.private_key(), bundle).unwrap();
    let credentials = HotCredentials::new(credentials, clock).unwrap();
    (pem, TlsAcceptor::from(credentials.server_config()))
}
