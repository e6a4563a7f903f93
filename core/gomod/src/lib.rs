//! Go's module rules as functions of values. Nothing here does IO, reads a clock or knows of clusters.

mod element;
mod escape;
pub mod path;
pub mod pseudo;
pub mod query;
pub mod request;
mod semver;
pub mod version;

pub use element::ElementError;
pub use path::{MODULE_PATH_BYTES_MAX, MajorSuffix, ModulePath, PathError};
pub use query::{Query, QueryError, Revision};
pub use request::{REQUEST_BYTES_MAX, Request, RequestError};
pub use version::{ModuleVersion, VERSION_BYTES_MAX, Version, VersionError};
