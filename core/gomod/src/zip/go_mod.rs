//! Taking the go.mod out of a module zip.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::DeflateDecoder;

use super::directory::{Directory, Entry};
use super::error::{ZipError, shown};
use super::local::{DEFLATE, LOCAL_BYTES, LocalHeader};
use super::read_at::ReadAt;
use crate::ModuleVersion;
use crate::modfile::{GO_MOD_BYTES_MAX, synthesize};

/// The go.mod that a version is served with, by its zip: the file in the root, or where there is none the one that is written in its place
/// (golang.org/ref/mod#goproxy-protocol, `$base/$module/@v/$version.mod`). The zip has to be one that [`super::verify`] accepts; whoever
/// damages it afterwards is met by the length and the checksum.
pub fn go_mod(source: &impl ReadAt, mv: &ModuleVersion) -> Result<Bytes, ZipError> {
    let directory = Directory::read(source)?;
    let name = format!("{mv}/go.mod");
    match directory.entries.iter().find(|entry| directory.name(entry) == name.as_bytes()) {
        Some(entry) => content(source, entry, name.as_bytes()),
        None => Ok(synthesize(&mv.module)),
    }
}

fn content(source: &impl ReadAt, entry: &Entry, name: &[u8]) -> Result<Bytes, ZipError> {
    let limit = GO_MOD_BYTES_MAX as u64;
    let declared = u64::from(entry.size);
    // Deflated content may be longer than what it inflates to, if hardly.
    if declared > limit || u64::from(entry.compressed) > 2 * limit {
        return Err(ZipError::FileTooLarge { name: shown(name), bytes: declared, limit });
    }
    let offset = u64::from(entry.offset);
    let header = exact(source, offset, LOCAL_BYTES)?;
    let header = LocalHeader::parse(&header)
        .ok_or_else(|| ZipError::LocalHeader { name: shown(name), field: "signature" })?;
    let head_bytes = LOCAL_BYTES + usize::from(header.name_bytes) + usize::from(header.extra_bytes);
    let data = exact(source, offset + head_bytes as u64, entry.compressed as usize)?;
    let content = if entry.method == DEFLATE {
        let mut inflated = Vec::new();
        let reading = DeflateDecoder::new(data.as_slice()).take(declared + 1).read_to_end(&mut inflated);
        reading.map_err(|_| ZipError::Deflate { name: shown(name) })?;
        inflated
    } else {
        data
    };
    if content.len() as u64 != declared {
        return Err(ZipError::Size { name: shown(name), declared });
    }
    if crc32fast::hash(&content) != entry.crc {
        return Err(ZipError::Checksum { name: shown(name) });
    }
    Ok(content.into())
}

fn exact(source: &impl ReadAt, offset: u64, bytes: usize) -> Result<Vec<u8>, ZipError> {
    let failed = |source| ZipError::Io { offset, source };
    if bytes as u64 > source.len() {
        return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
    }
    let mut buffer = vec![0; bytes];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read_at(offset + filled as u64, rest).map_err(failed)? {
            0 => return Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
            count => filled += count,
        }
    }
    Ok(buffer)
}
