//! Profiles: settings under a name in `goproxyctl/config.toml`, for those who run more than one cluster.
//!
//! Invariant: a key that is not known is an error; a setting that is silently not in force is worse than none.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::failure::Failure;
use crate::server::Server;

/// No file of profiles comes near this many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

const TOP_KEYS: [&str; 2] = ["default", "profiles"];
const KEYS: [&str; 3] = ["servers", "ca", "token-file"];

/// What a profile sets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Profile {
    /// Its name.
    pub(crate) name: String,
    /// Control nodes to ask.
    pub(crate) servers: Option<Vec<Server>>,
    /// The cluster's authority.
    pub(crate) ca: Option<PathBuf>,
    /// The operator's token.
    pub(crate) token_file: Option<PathBuf>,
}

/// The profile with this name, or the file's default one. No file and no name are no profile.
pub(crate) fn load(path: Option<&Path>, wanted: Option<&str>) -> Result<Option<Profile>, Failure> {
    let found = path.map(|path| (path, crate::files::read_text(path, FILE_BYTES_MAX)));
    match (found, wanted) {
        (Some((path, Ok(text))), _) => File { path, folder: path.parent() }.pick(&text, wanted),
        (Some((_, Err(source))), None) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        (None, None) => Ok(None),
        (Some((path, Err(source))), _) => Err(Failure::File { verb: "read", path: path.to_owned(), source }),
        (None, Some(name)) => Err(Failure::usage(
            format!("there is no place for profile `{name}`"),
            "set HOME or XDG_CONFIG_HOME: profiles are in goproxyctl/config.toml below it",
        )),
    }
}

struct File<'a> {
    path: &'a Path,
    folder: Option<&'a Path>,
}

impl File<'_> {
    fn pick(&self, text: &str, wanted: Option<&str>) -> Result<Option<Profile>, Failure> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| self.wrong(error.message()))?;
        self.know(table.keys(), &TOP_KEYS, "")?;
        let default = table.get("default").map(|value| self.text("default", value)).transpose()?;
        let profiles = match table.get("profiles") {
            None => &Table::new(),
            Some(Value::Table(profiles)) => profiles,
            Some(_) => return Err(self.wrong("`profiles` is no table")),
        };
        // All of them, so that a slip is found before the profile that it is in is needed.
        let mut read = Vec::new();
        for (name, value) in profiles {
            read.push(self.profile(name, value)?);
        }
        let Some(name) = wanted.or(default) else { return Ok(None) };
        let position = read.iter().position(|profile| profile.name == name);
        match position.map(|position| read.swap_remove(position)) {
            Some(profile) => Ok(Some(profile)),
            None => Err(Failure::usage(
                format!("there is no profile `{name}` in {}", self.path.display()),
                nearest(name, profiles.keys().map(String::as_str)),
            )),
        }
    }

    fn profile(&self, name: &str, value: &Value) -> Result<Profile, Failure> {
        let Value::Table(table) = value else {
            return Err(self.wrong(format!("profile `{name}` is no table")));
        };
        self.know(table.keys(), &KEYS, &format!(" in profile `{name}`"))?;
        let file = |key: &str| {
            let text = table.get(key).map(|value| self.text(key, value)).transpose()?;
            // As seen from the file, wherever the command is run.
            Ok(text.map(|text| self.folder.unwrap_or(Path::new("")).join(text)))
        };
        let servers = table.get("servers").map(|value| self.servers(value)).transpose()?;
        Ok(Profile { name: name.to_owned(), servers, ca: file("ca")?, token_file: file("token-file")? })
    }

    fn servers(&self, value: &Value) -> Result<Vec<Server>, Failure> {
        let servers = match value {
            Value::String(text) => Server::parse_list(text).map_err(|error| self.wrong(error))?,
            Value::Array(list) => list
                .iter()
                .map(|value| self.text("servers", value)?.parse().map_err(|error| self.wrong(error)))
                .collect::<Result<_, _>>()?,
            Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Table(_) => {
                return Err(self.wrong("`servers` is no list"));
            }
        };
        if servers.is_empty() { Err(self.wrong("`servers` is empty")) } else { Ok(servers) }
    }

    fn text<'v>(&self, key: &str, value: &'v Value) -> Result<&'v str, Failure> {
        value.as_str().ok_or_else(|| self.wrong(format!("`{key}` is no text")))
    }

    fn know<'k>(
        &self,
        keys: impl Iterator<Item = &'k String>,
        known: &[&str],
        place: &str,
    ) -> Result<(), Failure> {
        for key in keys {
            if !known.contains(&key.as_str()) {
                return Err(Failure::usage(
                    format!("{}: unknown key `{key}`{place}", self.path.display()),
                    nearest(key, known.iter().copied()),
                ));
            }
        }
        Ok(())
    }

    fn wrong(&self, what: impl Display) -> Failure {
        Failure::usage(format!("{}: {what}", self.path.display()), "")
    }
}

/// The hint that names what is most like `wrong`.
fn nearest<'k>(wrong: &str, known: impl Iterator<Item = &'k str>) -> String {
    let likeness = |name: &str| (strsim::normalized_damerau_levenshtein(wrong, name) * 1000.0).round() as i64;
    let best = known.max_by_key(|name| likeness(name));
    best.map_or_else(String::new, |best| format!("did you mean `{best}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(text: &str, wanted: Option<&str>) -> Result<Option<Profile>, String> {
        let path = Path::new("/c/config.toml");
        let file = File { path, folder: path.parent() };
        file.pick(text, wanted)
            .map_err(|failure| format!("{failure}; {}", failure.hint().unwrap_or_default()))
    }

    const TWO: &str = "default = \"lab\"\n[profiles.lab]\nservers = [\"a:1\", \"b:2\"]\nca = \"ca.pem\"\n[profiles.live]\nservers = \"c\"\ntoken-file = \"/t\"\n";

    #[test]
    fn a_profile_is_picked_by_name_or_default() {
        let lab = pick(TWO, None).unwrap().unwrap();
        assert_eq!((lab.name.as_str(), lab.servers.unwrap().len()), ("lab", 2));
        assert_eq!(lab.ca, Some(PathBuf::from("/c/ca.pem")));
        let live = pick(TWO, Some("live")).unwrap().unwrap();
        assert_eq!(live.token_file, Some(PathBuf::from("/t")));
        assert_eq!(pick("[profiles.x]\n", None), Ok(None));
    }

    #[test]
    fn slips_are_errors_that_name_the_nearest() {
        for (text, wanted, expected) in [
            ("profile = 1", None, "/c/config.toml: unknown key `profile`; did you mean `profiles`?"),
            (
                "[profiles.a]\nserver = \"x\"",
                None,
                "/c/config.toml: unknown key `server` in profile `a`; did you mean `servers`?",
            ),
            (TWO, Some("lav"), "there is no profile `lav` in /c/config.toml; did you mean `lab`?"),
            ("[profiles.a]\nservers = []", None, "/c/config.toml: `servers` is empty; "),
            ("[profiles.a]\nca = 1", None, "/c/config.toml: `ca` is no text; "),
        ] {
            assert_eq!(pick(text, wanted), Err(expected.to_owned()));
        }
        assert!(pick("=", None).is_err());
    }

    #[test]
    fn no_file_is_no_profile_unless_one_is_wanted() {
        let gone = Path::new("/nowhere/config.toml");
        assert_eq!(load(Some(gone), None).unwrap(), None);
        assert!(matches!(load(Some(gone), Some("lab")), Err(Failure::File { .. })));
        assert!(matches!(load(None, Some("lab")), Err(Failure::Usage { .. })));
    }
}
