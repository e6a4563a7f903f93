//! The verdict on a module zip.
//!
//! Brings the parts together: directory, rules, contents, hash. Owns none of them.

use super::contents::digest_all;
use super::directory::Directory;
use super::error::ZipError;
use super::prehash::EntryDigests;
use super::read_at::ReadAt;
use super::rules;
use crate::ModuleVersion;
use crate::dirhash::{H1, hash1};

/// What a verified zip holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZipSummary {
    /// The hash that go.sum and the checksum database know the zip by.
    pub h1: H1,
    /// Number of files, directories not counted.
    pub files: u32,
    /// Sum of the files' sizes in bytes.
    pub unpacked_bytes: u64,
    /// The hash that go.sum has for the go.mod in the root, if there is one.
    pub go_mod: Option<H1>,
}

/// Checks a module zip as a whole and computes its hash. `memo` is what a [`super::PreHasher`] found in the
/// same bytes; entries it does not cover are read again.
///
/// Rules: golang.org/x/mod/zip, `CheckZip` and `Unzip`, and archive/zip as they see the file; stricter
/// wherever two readers could see different things. Errors: [`ZipError::Io`] is the source's trouble,
/// everything else a fault of the zip.
pub fn verify(source: &impl ReadAt, mv: &ModuleVersion, memo: &EntryDigests) -> Result<ZipSummary, ZipError> {
    let directory = Directory::read(source)?;
    let shape = rules::check(&directory, &format!("{mv}/"))?;
    let digests = digest_all(source, &directory, memo)?;
    let mut files = Vec::with_capacity(digests.len());
    for (entry, digest) in directory.entries.iter().zip(&digests) {
        files.push((directory.text_name(entry)?, *digest));
    }
    // Directory entries count as empty files: x/mod/sumdb/dirhash, `HashZip`.
    let h1 = hash1(files);
    let go_mod = shape.go_mod.and_then(|index| digests.get(index)).map(|digest| hash1([("go.mod", *digest)]));
    Ok(ZipSummary { h1, files: shape.files, unpacked_bytes: shape.unpacked_bytes, go_mod })
}
