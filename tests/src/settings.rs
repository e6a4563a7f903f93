//! How a test wants its `goproxyd` started.

use crate::origin::Origin;
use crate::sumdb::SumDb;

/// Flags, environment and allowed log lines of one server. Flags are those of the documentation.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) allowed: Vec<String>,
    pub(crate) panics_allowed: bool,
    pub(crate) open_files: Option<u32>,
    pub(crate) tls: bool,
    pub(crate) group: Option<std::path::PathBuf>,
    pub(crate) disk_bytes: Option<u64>,
    pub(crate) binary: Option<std::path::PathBuf>,
}

impl Settings {
    /// The server in front of `origin`, with the checksum database off.
    pub fn new(origin: &Origin) -> Self {
        Self::upstream(&origin.url()).flag("--sumdb", "off")
    }

    /// The server in front of `origin`, verifying against `sumdb` as the origin serves it.
    pub fn verified(origin: &Origin, sumdb: &SumDb) -> Self {
        Self::upstream(&origin.url()).flag("--sumdb", &sumdb.key())
    }

    /// The server in front of a chain in GOPROXY's syntax, nothing else said.
    pub fn upstream(chain: &str) -> Self {
        Self::default().flag("--upstream", chain)
    }

    /// Sets a flag; a former value of it is dropped.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        let prefix = format!("{name}=");
        self.arguments.retain(|argument| !argument.starts_with(&prefix));
        self.arguments.push(prefix + value);
        self
    }

    /// Sets a flag that takes no value.
    #[must_use]
    pub fn switch(mut self, name: &str) -> Self {
        self.arguments.push(name.to_owned());
        self
    }

    /// Fetches nothing.
    #[must_use]
    pub fn offline(self) -> Self {
        self.switch("--offline")
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Allows WARN and ERROR lines that contain this text; any other fails the test.
    #[must_use]
    pub fn allow(mut self, text: &str) -> Self {
        self.allowed.push(text.to_owned());
        self
    }

    /// Allows every WARN and ERROR line: for tests that are about something else.
    #[must_use]
    pub fn allow_all(self) -> Self {
        self.allow("")
    }

    /// Allows panics too: for tests that ask for one.
    #[must_use]
    pub fn allow_panics(mut self) -> Self {
        self.panics_allowed = true;
        self
    }

    /// Limits the number of open files (`RLIMIT_NOFILE`).
    #[must_use]
    pub fn open_files(mut self, count: u32) -> Self {
        self.open_files = Some(count);
        self
    }

    /// Starts the server in a control group.
    #[must_use]
    pub fn group(mut self, group: &crate::Group) -> Self {
        self.group = Some(group.path().to_owned());
        self
    }

    /// Gives the server a disk of this size: a tmpfs in a mount namespace of its own, gone with the process.
    #[must_use]
    pub fn disk(mut self, bytes: u64) -> Self {
        self.disk_bytes = Some(bytes);
        self
    }

    /// Starts this program instead of the usual build.
    #[must_use]
    pub fn binary(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// Serves HTTPS with these PEM files.
    #[must_use]
    pub fn tls(mut self, certificate: &std::path::Path, key: &std::path::Path) -> Self {
        self.tls = true;
        self.flag("--tls-cert", &certificate.to_string_lossy()).flag("--tls-key", &key.to_string_lossy())
    }
}
