//! Module zips: the rules of golang.org/x/mod/zip, checked by ourselves, and the `h1:` hash of the content.
//!
//! Owns what a module zip may look like ([`verify`]), hashing while bytes still arrive ([`PreHasher`]) and
//! the choice of files when a zip is built from a repository ([`select`]). Does not write zips and does no
//! IO: bytes come through [`ReadAt`] or [`PreHasher::push`].
//!
//! Invariant: what [`verify`] accepts, the go command accepts with the same hash, and no reader of zips,
//! sequential or by central directory, can see other names or other contents in it.

mod contents;
mod descriptor;
mod directory;
mod end_record;
mod error;
mod fields;
mod go_mod;
mod inflate;
mod limits;
mod local;
mod names;
mod prehash;
mod read_at;
mod rules;
pub mod select;
mod unicode;
mod unicode_tables;
mod verify;
mod window;

pub use error::{NameProblem, ZipError};
pub use go_mod::go_mod;
pub use limits::{
    LICENSE_BYTES_MAX, UNPACKED_BYTES_MAX, ZIP_BYTES_MAX, ZIP_DIRECTORY_BYTES_MAX, ZIP_ENTRIES_MAX,
    ZIP_NAME_BYTES_MAX, ZIP_PATHS_MAX,
};
pub use names::check_file_path;
pub use prehash::{EntryDigests, PreHasher};
pub use read_at::ReadAt;
pub use verify::{ZipSummary, verify};
