//! What the machine and the caller's environment say, gathered once so that the rest is a function of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::num::NonZero;
use std::path::PathBuf;

/// Facts from outside that settings depend on.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The environment, empty values left out: as for the go command they mean "not set".
    pub(crate) variables: BTreeMap<String, OsString>,
    /// Whether this is the super-user.
    pub(crate) root: bool,
    /// The machine's name.
    pub(crate) host_name: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// Whether log lines go to a terminal.
    pub(crate) terminal: bool,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self {
            variables: variables.collect(),
            root: rustix::process::geteuid().is_root(),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            cores: std::thread::available_parallelism().map_or(1, NonZero::get),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// The file that the environment names.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.variables.get("GOPROXYD_CONFIG").map(PathBuf::from)
    }

    /// Defaults that differ from machine to machine, by key.
    pub(super) fn defaults(&self) -> Vec<(&'static str, OsString)> {
        let mut found = vec![
            ("data-dir", self.data_dir().into_os_string()),
            ("name", self.host_name.clone().into()),
            ("worker-threads", self.cores.to_string().into()),
            ("log-format", if self.terminal { "text" } else { "json" }.into()),
        ];
        found.extend(self.variables.get("SSL_CERT_FILE").map(|file| ("upstream-ca", file.clone())));
        found
    }

    /// `/var/lib/goproxyd` for root, else by the XDG base directory specification.
    fn data_dir(&self) -> PathBuf {
        if self.root {
            return "/var/lib/goproxyd".into();
        }
        // A relative path is to be ignored, says the specification.
        let absolute =
            |name: &str| self.variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data =
            absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
        data.map_or_else(|| "goproxyd-data".into(), |data| data.join("goproxyd"))
    }

    /// Surroundings that are the same on every machine.
    #[cfg(test)]
    pub(crate) fn of_tests() -> Self {
        Self {
            variables: BTreeMap::new(),
            root: true,
            host_name: "host-1".to_owned(),
            cores: 4,
            terminal: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_follows_the_user() {
        let user = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
            Surroundings { root: false, variables: variables.collect(), ..Surroundings::of_tests() }
                .data_dir()
        };
        assert_eq!(Surroundings::of_tests().data_dir(), PathBuf::from("/var/lib/goproxyd"));
        assert_eq!(user(&[("HOME", "/home/u")]), PathBuf::from("/home/u/.local/share/goproxyd"));
        assert_eq!(user(&[("HOME", "/home/u"), ("XDG_DATA_HOME", "/d")]), PathBuf::from("/d/goproxyd"));
        assert_eq!(
            user(&[("HOME", "/home/u"), ("XDG_DATA_HOME", "d")]),
            PathBuf::from("/home/u/.local/share/goproxyd")
        );
        assert_eq!(user(&[]), PathBuf::from("goproxyd-data"));
    }
}
