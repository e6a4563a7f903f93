//! From flags, environment, profile and the data directory of this machine to the settings in force, each with its source.
//!
//! Invariant: the token of the data directory goes only to servers that the authority of the same directory vouches for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use common::duration_text::parse_duration;
use proto::limits::DEADLINE_DEFAULT;

use crate::args::global::{Format, Global};
use crate::failure::Failure;
use crate::files::is_readable;
use crate::profile::{self, Profile};
use crate::server::Server;
use crate::surroundings::{Surroundings, TOKEN_VARIABLE};

/// Where a setting comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A flag.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// A profile.
    Profile(String),
    /// The data directory of goproxyd on this machine.
    DataDir,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::DataDir => f.write_str("goproxyd's data directory"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sourced<T> {
    /// The setting.
    pub(crate) value: T,
    /// Where it comes from.
    pub(crate) source: Source,
}

/// Where the token is; never the token itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TokenPlace {
    /// In a file.
    File(PathBuf),
    /// In the environment.
    Variable,
}

/// The settings in force.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Control nodes to ask, in this order.
    pub(crate) servers: Sourced<Vec<Server>>,
    /// The cluster's authority, where there is one.
    pub(crate) ca: Option<Sourced<PathBuf>>,
    /// The operator's token, where there is one.
    pub(crate) token: Option<Sourced<TokenPlace>>,
    /// The form of answers.
    pub(crate) output: Sourced<Format>,
    /// Time for a call with its retries.
    pub(crate) timeout: Sourced<Duration>,
    /// The profile in force, where there is one.
    pub(crate) profile: Option<String>,
    /// Where profiles are looked for.
    pub(crate) config_file: Option<PathBuf>,
    /// Where authority and token are looked for when nothing is said.
    pub(crate) data_dir: Option<PathBuf>,
}

impl Settings {
    /// Puts them together.
    pub(crate) fn resolve(flags: &Global, around: &Surroundings) -> Result<Self, Failure> {
        let from = Layers { flags, around, profile: None };
        let wanted =
            from.choose("profile", flags.profile.clone(), "GOPROXYCTL_PROFILE", |text| Ok(text.to_owned()))?;
        let config_file = around.config_file();
        let profile = profile::load(config_file.as_deref(), wanted.as_ref().map(|name| name.value.as_str()))?;
        let from = Layers { profile: profile.as_ref(), ..from };

        let data_dir = around.data_dir();
        let ca = from.ca().or_else(|| {
            let value = data_dir.as_ref()?.join("ca.pem");
            is_readable(&value).then_some(Sourced { value, source: Source::DataDir })
        });
        let own_ca = ca.as_ref().is_some_and(|ca| ca.source == Source::DataDir);
        let token = from.token().or_else(|| {
            let path = data_dir.as_ref().filter(|_| own_ca)?.join("admin.token");
            let value = TokenPlace::File(path.clone());
            is_readable(&path).then_some(Sourced { value, source: Source::DataDir })
        });
        let output = from.choose("output", flags.output, "GOPROXYCTL_OUTPUT", str::parse)?;
        let timeout = from.choose("timeout", flags.timeout, "GOPROXYCTL_TIMEOUT", |text| {
            parse_duration(text).map_err(|e| e.to_string())
        })?;
        Ok(Self {
            servers: from.servers()?,
            ca,
            token,
            output: output.unwrap_or(Sourced { value: Format::Table, source: Source::Default }),
            timeout: timeout.unwrap_or(Sourced { value: DEADLINE_DEFAULT, source: Source::Default }),
            profile: profile.map(|profile| profile.name),
            config_file,
            data_dir,
        })
    }

    /// The refusal to connect without an authority.
    pub(crate) fn no_ca(&self) -> Failure {
        let looked = match &self.data_dir {
            Some(folder) => format!("; {} is not there or cannot be read", folder.join("ca.pem").display()),
            None => String::new(),
        };
        Failure::usage(
            format!("there is no authority to check the server with{looked}"),
            "pass --ca (GOPROXYCTL_CA) with the `ca.pem` of a control node's data directory, or start goproxyd here",
        )
    }

    /// What to say when a server refuses a caller without a token.
    pub(crate) fn no_token(&self) -> String {
        let place = self.data_dir.as_ref().map(|folder| folder.join("admin.token").display().to_string());
        let place =
            place.map_or_else(String::new, |place| format!("; {place} is not used or cannot be read"));
        format!("no token was sent: pass --token-file or GOPROXYCTL_TOKEN{place}")
    }
}

struct Layers<'a> {
    flags: &'a Global,
    around: &'a Surroundings,
    profile: Option<&'a Profile>,
}

impl Layers<'_> {
    fn servers(&self) -> Result<Sourced<Vec<Server>>, Failure> {
        let flag = Some(self.flags.server.clone()).filter(|servers| !servers.is_empty());
        let read = |text: &str| Server::parse_list(text).map_err(|error| error.to_string());
        let said = self.choose("server", flag, "GOPROXYCTL_SERVER", read)?;
        Ok(said
            .or_else(|| self.of_profile(|profile| profile.servers.clone()))
            .unwrap_or_else(|| Sourced { value: vec![Server::local()], source: Source::Default }))
    }

    fn ca(&self) -> Option<Sourced<PathBuf>> {
        self.path("ca", self.flags.ca.as_ref(), "GOPROXYCTL_CA")
            .or_else(|| self.of_profile(|profile| profile.ca.clone()))
    }

    fn token(&self) -> Option<Sourced<TokenPlace>> {
        let file =
            |path: Sourced<PathBuf>| Sourced { value: TokenPlace::File(path.value), source: path.source };
        if let Some(path) = &self.flags.token_file {
            return Some(Sourced {
                value: TokenPlace::File(path.clone()),
                source: Source::Flag("token-file"),
            });
        }
        if self.around.token().is_some() {
            return Some(Sourced { value: TokenPlace::Variable, source: Source::Variable(TOKEN_VARIABLE) });
        }
        self.path("token-file", None, "GOPROXYCTL_TOKEN_FILE")
            .or_else(|| self.of_profile(|profile| profile.token_file.clone()))
            .map(file)
    }

    fn path(
        &self,
        flag: &'static str,
        given: Option<&PathBuf>,
        variable: &'static str,
    ) -> Option<Sourced<PathBuf>> {
        let of_flag = given.map(|value| Sourced { value: value.clone(), source: Source::Flag(flag) });
        of_flag.or_else(|| {
            let value = self.around.variable(variable).map(PathBuf::from)?;
            Some(Sourced { value, source: Source::Variable(variable) })
        })
    }

    fn of_profile<T>(&self, pick: impl FnOnce(&Profile) -> Option<T>) -> Option<Sourced<T>> {
        let profile = self.profile?;
        Some(Sourced { value: pick(profile)?, source: Source::Profile(profile.name.clone()) })
    }

    /// The flag, else the variable as `read` understands it.
    fn choose<T>(
        &self,
        flag: &'static str,
        given: Option<T>,
        variable: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<Sourced<T>>, Failure> {
        if let Some(value) = given {
            return Ok(Some(Sourced { value, source: Source::Flag(flag) }));
        }
        let Some(text) = self.around.variable(variable) else { return Ok(None) };
        let value = text.to_str().ok_or_else(|| "is no text".to_owned()).and_then(read);
        match value {
            Ok(value) => Ok(Some(Sourced { value, source: Source::Variable(variable) })),
            Err(problem) => Err(Failure::usage(format!("{variable}: {problem}"), "")),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, false)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn resolve(flags: &Global, variables: &[(&str, &str)]) -> Settings {
        Settings::resolve(flags, &Surroundings::of(variables)).unwrap()
    }

    #[test]
    fn flag_then_environment_then_profile_then_default() {
        let home = tempfile::tempdir().unwrap();
        let home_text = home.path().to_str().unwrap();
        let none = Global::default();
        let settings = resolve(&none, &[("HOME", home_text)]);
        assert_eq!(settings.servers, Sourced { value: vec![Server::local()], source: Source::Default });
        assert_eq!((settings.ca, settings.token), (None, None));

        let folder = home.path().join(".config/goproxyctl");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("config.toml"),
            "default = \"p\"\n[profiles.p]\nservers = \"p\"\nca = \"x\"\n",
        )
        .unwrap();
        let settings = resolve(&none, &[("HOME", home_text)]);
        assert_eq!(settings.servers.source, Source::Profile("p".to_owned()));
        assert_eq!(settings.ca.unwrap().value, folder.join("x"));

        let variables = [("HOME", home_text), ("GOPROXYCTL_SERVER", "e:1,f:2"), ("GOPROXYCTL_CA", "/e")];
        let settings = resolve(&none, &variables);
        assert_eq!(
            (settings.servers.value.len(), settings.servers.source),
            (2, Source::Variable("GOPROXYCTL_SERVER"))
        );
        assert_eq!(settings.ca.unwrap().value, PathBuf::from("/e"));

        let flags = Global {
            server: vec!["f:1".parse().unwrap()],
            ca: Some(PathBuf::from("/f")),
            ..Global::default()
        };
        let settings = resolve(&flags, &variables);
        assert_eq!(settings.servers.source, Source::Flag("server"));
        assert_eq!(settings.ca.unwrap().source, Source::Flag("ca"));
    }

    #[test]
    fn the_token_of_the_data_directory_goes_with_its_authority_only() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("goproxyd");
        std::fs::create_dir(&data).unwrap();
        for file in ["ca.pem", "admin.token"] {
            std::fs::write(data.join(file), "x").unwrap();
            std::fs::set_permissions(data.join(file), PermissionsExt::from_mode(0o600)).unwrap();
        }
        let variables = [("XDG_DATA_HOME", home.path().to_str().unwrap())];
        let settings = resolve(&Global::default(), &variables);
        assert_eq!(settings.ca.unwrap().source, Source::DataDir);
        assert_eq!(settings.token.unwrap().source, Source::DataDir);
        let told = [("XDG_DATA_HOME", "/none"), ("GOPROXYD_DATA_DIR", data.to_str().unwrap())];
        assert_eq!(resolve(&Global::default(), &told).ca.unwrap().value, data.join("ca.pem"));
        let flags = Global { ca: Some(PathBuf::from("/other.pem")), ..Global::default() };
        assert_eq!(resolve(&flags, &variables).token, None);
    }

    #[test]
    fn a_variable_that_makes_no_sense_is_named() {
        for (name, value) in
            [("GOPROXYCTL_SERVER", "a:b"), ("GOPROXYCTL_OUTPUT", "xml"), ("GOPROXYCTL_TIMEOUT", "5")]
        {
            let failure =
                Settings::resolve(&Global::default(), &Surroundings::of(&[(name, value)])).unwrap_err();
            assert!(failure.to_string().starts_with(&format!("{name}: ")), "{failure}");
        }
    }
}
