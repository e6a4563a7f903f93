//! The file that says whose directory this is, beside the database that says it as well.
//!
//! Where the file is and the database is not, the log was lost; where they differ, one of them was brought from
//! elsewhere. It is text, for people.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::disk::{Identity, Incarnation};
use super::error::OpenError;

/// The one shape there is.
const SCHEMA: u32 = 1;
/// Bytes of the file at most; it has about two hundred.
const BYTES_MAX: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct IdentityFile {
    schema: u32,
    cluster: String,
    member: String,
    incarnation: String,
}

pub(super) fn path_in(dir: &Path) -> PathBuf {
    dir.join("IDENTITY")
}

/// Reads it; `None` where there is none.
pub(super) fn read(dir: &Path) -> Result<Option<Identity>, OpenError> {
    let path = path_in(dir);
    let file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(OpenError::io("open", &path))?,
    };
    let mut text = String::new();
    match file.take(BYTES_MAX).read_to_string(&mut text) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {}
        read => drop(read.map_err(OpenError::io("read", &path))?),
    }
    parse(&text).map(Some).ok_or(OpenError::Identity { path })
}

fn parse(text: &str) -> Option<Identity> {
    let file: IdentityFile = serde_json::from_str(text).ok()?;
    let incarnation = u128::from_str_radix(&file.incarnation, 16).ok()?;
    (file.schema == SCHEMA && file.incarnation.len() == 32).then_some(Identity {
        cluster: file.cluster.parse().ok()?,
        member: file.member.parse().ok()?,
        incarnation: Incarnation(incarnation),
    })
}

/// Writes it and syncs it.
pub(super) fn write(dir: &Path, identity: &Identity) -> Result<(), OpenError> {
    let path = path_in(dir);
    let file = IdentityFile {
        schema: SCHEMA,
        cluster: identity.cluster.to_string(),
        member: identity.member.to_string(),
        incarnation: identity.incarnation.to_string(),
    };
    let text = serde_json::to_string(&file).unwrap_or_default();
    let mut file = File::create(&path).map_err(OpenError::io("create", &path))?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(OpenError::io("write", &path))?;
    sync_dir(dir)
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(OpenError::io("sync", dir))
}
