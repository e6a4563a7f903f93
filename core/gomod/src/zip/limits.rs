//! Every bound on a module zip, with its reason. The first four are Go's, the others ours.

/// Size of a zip in bytes. Go's limit: golang.org/x/mod/zip, `MaxZipFile`.
pub const ZIP_BYTES_MAX: u64 = 500 << 20;

/// Sum of the unpacked sizes in a zip, in bytes. Go's limit, the same `MaxZipFile`.
pub const UNPACKED_BYTES_MAX: u64 = 500 << 20;

/// Size of a module's go.mod in bytes. Go's limit, `MaxGoMod`.
pub(super) const GO_MOD_BYTES_MAX: u64 = crate::modfile::GO_MOD_BYTES_MAX as u64;

/// Size of the LICENSE in a module's root in bytes. Go's limit, `MaxLICENSE`.
pub const LICENSE_BYTES_MAX: u64 = 16 << 20;

/// Entries in a zip. Go has no limit; the largest public modules hold some ten thousand files. Each entry
/// costs under 200 bytes of memory while a zip is verified, so this many cost under 50 MiB.
pub const ZIP_ENTRIES_MAX: usize = 262_144;

/// Bytes of a central directory, which is held in memory: 256 bytes for each of [`ZIP_ENTRIES_MAX`].
pub const ZIP_DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// Bytes of one name, prefix included. Linux' `PATH_MAX`: a longer one cannot be unpacked anyway.
pub const ZIP_NAME_BYTES_MAX: usize = 4096;

/// Distinct paths, directories between root and file counted too. Without it few deep names would make
/// millions of directories to be remembered.
pub const ZIP_PATHS_MAX: usize = 4 * ZIP_ENTRIES_MAX;
