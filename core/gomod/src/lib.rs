//! Go's module rules as functions of values. Nothing here does IO, reads a clock or knows of clusters.

#![forbid(unsafe_code)]

pub mod dirhash;
mod element;
mod escape;
mod glob;
pub mod info;
pub mod list;
pub mod modfile;
pub mod path;
pub mod pattern;
pub mod pseudo;
pub mod query;
pub mod quote;
pub mod request;
mod requirements;
mod semver;
pub mod sumdb;
pub mod version;
pub mod zip;

pub use dirhash::{H1, H1Error};
pub use element::ElementError;
pub use glob::GlobError;
pub use info::{INFO_BYTES_MAX, Info, InfoError, is_go_time};
pub use list::{LIST_BYTES_MAX, LIST_LINES_MAX, ListError, VersionList};
pub use modfile::{GO_MOD_BYTES_MAX, ModFileError, ModuleLine, module_line, synthesize};
pub use path::{MODULE_PATH_BYTES_MAX, MajorSuffix, ModulePath, PathError};
pub use pattern::{GlobPatterns, PATTERNS_BYTES_MAX, PatternError};
pub use pseudo::{Base, PseudoError, PseudoVersion};
pub use query::{Query, QueryError, Revision};
pub use request::{REQUEST_BYTES_MAX, Request, RequestError};
pub use requirements::Requirements;
pub use version::{ModuleVersion, VERSION_BYTES_MAX, Version, VersionError};
