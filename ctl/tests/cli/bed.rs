//! Where tests lie: an authority, fake control nodes, a home directory, and the program run as a process.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::fake::{Fake, Reply};

/// The operator's token that the fakes know.
pub const TOKEN: &str = "gpt1.0123456789abcdef.c2VjcmV0LXRoYXQtbXVzdC1ub3Qtc2hvdw";

/// Variables of whoever runs the tests that would change what is seen.
const FOREIGN: [&str; 3] = ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "COMPLETE"];

/// What a run of the program came to.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    line: String,
}

impl Run {
    /// All of it, for a snapshot.
    pub fn transcript(&self) -> String {
        let mut text = format!("$ {}\n{}", self.line, self.stdout);
        if !self.stderr.is_empty() {
            let _ = write!(text, "--- stderr\n{}", self.stderr);
        }
        let _ = writeln!(text, "--- exit {}", self.code);
        text
    }
}

/// An authority, one fake control node and more if wanted, and a home directory.
pub struct Bed {
    pub fake: Fake,
    pub home: tempfile::TempDir,
    runtime: Runtime,
    tls: TlsAcceptor,
    more: Vec<String>,
}

impl Bed {
    pub fn new() -> Self {
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
    pub fn another(&mut self) -> Fake {
        let fake = self.runtime.block_on(Fake::start(self.tls.clone()));
        self.more.push(fake.address.to_string());
        fake
    }

    /// A method's one answer.
    pub fn on(&self, method: &str, message: &impl prost::Message) {
        self.fake.on(method, vec![Reply::say(message)]);
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program, with server, authority and token set in the environment, in the home directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command
            .env("GOPROXYCTL_SERVER", self.fake.address.to_string())
            .env("GOPROXYCTL_CA", self.home.path().join("ca.pem"))
            .env("GOPROXYCTL_TOKEN_FILE", self.home.path().join("admin.token"));
        command
    }

    /// The program with nothing set.
    pub fn bare(&self, arguments: &[&str]) -> Command {
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
            .env("XDG_DATA_HOME", self.home.path().join("none"))
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.finish(&mut self.command(arguments))
    }

    pub fn finish(&self, command: &mut Command) -> Run {
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

    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(self.home.path()).join(name)
    }
}

/// An authority as PEM, and TLS for servers that it vouches for.
pub fn authority() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}
