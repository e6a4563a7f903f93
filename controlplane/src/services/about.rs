//! What a request is about: a module, or one version of it.

use std::fmt;

use cluster::record::Marked;
use gomod::{ModulePath, ModuleVersion, Version};
use proto::{ErrorCode, Fault};

use super::convert::parse;

/// See the head of this file.
pub(super) struct About {
    pub(super) module: ModulePath,
    pub(super) version: Option<Version>,
}

impl About {
    pub(super) fn read(module: &str, version: &str) -> Result<Self, Fault> {
        let bad = |what: &str, text: &str, error: &dyn fmt::Display| {
            Fault::new(ErrorCode::InvalidArgument, format!("{what} {text:?}: {error}"))
        };
        let path = ModulePath::parse(module).map_err(|error| bad("module", module, &error))?;
        if version.is_empty() {
            return Ok(Self { module: path, version: None });
        }
        let parsed = Version::parse(version).map_err(|error| bad("version", version, &error))?;
        let whole = ModuleVersion::new(path, parsed).map_err(|error| bad("version", version, &error))?;
        Ok(Self { module: whole.module, version: Some(whole.version) })
    }

    pub(super) fn is_of(&self, version: &str) -> bool {
        self.version.as_ref().is_none_or(|wanted| wanted.as_str() == version)
    }

    pub(super) fn marked(&self) -> Result<Marked, Fault> {
        parse("module", &self.to_string())
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.module),
            None => write!(f, "{}", self.module),
        }
    }
}
