//! What operators say of modules: to be kept, not to be served for now, taken down.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use gomod::{MODULE_PATH_BYTES_MAX, ModulePath, ModuleVersion, VERSION_BYTES_MAX, Version};
use serde::{Deserialize, Serialize};

use crate::ids::as_text;
use crate::text::{Name, Note};
use crate::time::Timestamp;

/// Marks that there may be.
pub const MARKS_MAX: usize = 10_000;
/// Bound of what a mark is about, in bytes.
pub const MARKED_BYTES_MAX: usize = MODULE_PATH_BYTES_MAX + 1 + VERSION_BYTES_MAX;

/// Between a module's path and a version.
const AT: char = '@';

/// Why a text names nothing that could have a mark.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MarkedError {
    /// What should be a module path is none.
    #[error("module path: {0}")]
    Module(String),
    /// What should be a version is none.
    #[error("version: {0}")]
    Version(String),
}

/// What a mark is about: `MODULE`, or `MODULE@VERSION`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Marked(Arc<str>);

impl Marked {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self, MarkedError> {
        let bad_module = |error: &dyn fmt::Display| MarkedError::Module(error.to_string());
        let bad_version = |error: &dyn fmt::Display| MarkedError::Version(error.to_string());
        let (module, version) =
            text.split_once(AT).map_or((text, None), |(module, version)| (module, Some(version)));
        let module = ModulePath::parse(module).map_err(|error| bad_module(&error))?;
        if let Some(version) = version {
            let version = Version::parse(version).map_err(|error| bad_version(&error))?;
            ModuleVersion::new(module, version).map_err(|error| bad_version(&error))?;
        }
        Ok(Self(text.into()))
    }

    /// A version.
    pub fn version_of(version: &ModuleVersion) -> Self {
        Self(format!("{}{AT}{}", version.module, version.version).into())
    }

    /// The whole module of what this is about.
    pub fn of_module(about: &Self) -> Self {
        Self(about.module().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The module's path.
    pub fn module(&self) -> &str {
        self.0.split_once(AT).map_or(&*self.0, |(module, _)| module)
    }

    /// The version; none for a whole module.
    pub fn version(&self) -> Option<&str> {
        self.0.split_once(AT).map(|(_, version)| version)
    }
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Marked {
    type Err = MarkedError;

    fn from_str(text: &str) -> Result<Self, MarkedError> {
        Self::parse(text)
    }
}

as_text!(Marked);

/// What is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// Nothing of it is evicted.
    Pinned,
    /// It is not served until the mark is taken away.
    Quarantined,
    /// It is not to be served again. Wins over whatever else is said or comes.
    TakenDown,
}

impl MarkKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pinned, Self::Quarantined, Self::TakenDown];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Quarantined => "quarantined",
            Self::TakenDown => "taken-down",
        }
    }

    /// Its number in keys.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Pinned => 1,
            Self::Quarantined => 2,
            Self::TakenDown => 3,
        }
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Something that an operator says of a module or a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// What it is about.
    pub about: Marked,
    /// What is said.
    pub kind: MarkKind,
    /// Since when.
    pub since: Timestamp,
    /// Who said it.
    pub by: Name,
    /// Why.
    pub why: Option<Note>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_about_a_module_or_a_canonical_version() {
        let whole = Marked::parse("example.com/m/v2").unwrap();
        assert_eq!((whole.module(), whole.version()), ("example.com/m/v2", None));
        let one = Marked::parse("example.com/m/v2@v2.0.1").unwrap();
        assert_eq!((one.module(), one.version()), ("example.com/m/v2", Some("v2.0.1")));
        for bad in
            ["", "@v1.0.0", "example.com/m@", "example.com/m@latest", "example.com/m@v1", "no dot@v1.0.0"]
        {
            assert!(Marked::parse(bad).is_err(), "{bad}");
        }
        assert!(Marked::parse("example.com/m/v2@v1.0.0").is_err(), "of another major version");
    }
}
