//! What the process finds around it: environment, user, terminals. Nothing else looks there, so that tests can say what is found.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use common::redacted::Redacted;

/// What is around the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    variables: BTreeMap<String, OsString>,
    token: Option<Redacted<String>>,
    is_root: bool,
    /// Whether a person reads standard output.
    pub(crate) terminal_out: bool,
    /// Whether a person reads standard error and can answer on standard input.
    pub(crate) terminal_ask: bool,
}

/// Variables that are looked at beside those of goproxyctl's own.
const OTHERS: [&str; 5] = ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "NO_COLOR", DATA_DIR_VARIABLE];
/// The setting of goproxyd that says where its state is, so that one environment does for both programs.
const DATA_DIR_VARIABLE: &str = "GOPROXYD_DATA_DIR";
/// What goproxyctl's own variables begin with.
const PREFIX: &str = "GOPROXYCTL_";

/// The variable that holds the token itself, which is kept apart from the others.
pub(crate) const TOKEN_VARIABLE: &str = "GOPROXYCTL_TOKEN";

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let known =
                name != TOKEN_VARIABLE && (name.starts_with(PREFIX) || OTHERS.contains(&name.as_str()));
            // An empty variable is one that is not set, as shells have it.
            (known && !value.is_empty()).then_some((name, value))
        });
        Self {
            variables: variables.collect(),
            token: std::env::var(TOKEN_VARIABLE)
                .ok()
                .filter(|text| !text.trim().is_empty())
                .map(Redacted::new),
            is_root: rustix::process::geteuid().is_root(),
            terminal_out: std::io::stdout().is_terminal(),
            terminal_ask: std::io::stderr().is_terminal() && std::io::stdin().is_terminal(),
        }
    }

    /// A variable's value.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(name)
    }

    /// The token that the environment has.
    pub(crate) fn token(&self) -> Option<&Redacted<String>> {
        self.token.as_ref()
    }

    /// Where the profiles are.
    pub(crate) fn config_file(&self) -> Option<PathBuf> {
        self.folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("goproxyctl/config.toml"))
    }

    /// Where goproxyd keeps its state on this machine: where its own variable says, else its default.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        if let Some(folder) = self.variable(DATA_DIR_VARIABLE) {
            return Some(folder.into());
        }
        if self.is_root {
            return Some(PathBuf::from("/var/lib/goproxyd"));
        }
        self.folder("XDG_DATA_HOME", ".local/share").map(|folder| folder.join("goproxyd"))
    }

    /// Whether colours may be used on standard output.
    pub(crate) fn colour(&self) -> bool {
        self.terminal_out && self.variable("NO_COLOR").is_none()
    }

    fn folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        // A relative path there is to be passed over, says the specification of these variables.
        let named = self.variable(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        named.or_else(|| self.variable("HOME").map(|home| PathBuf::from(home).join(below_home)))
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), OsString::from(value));
        Self { variables: variables.iter().map(own).collect(), ..Self::default() }
    }
}
