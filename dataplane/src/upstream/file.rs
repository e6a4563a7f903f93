//! Owns origins that are directories: the layout of a module cache's `cache/download`, as for GOPROXY's `file://`.
//!
//! Everything here blocks; [`FileZip::next`] alone moves its reading to a blocking thread itself.
//! Invariant: only regular files below the directory are read; no symbolic link leads out of it.
//!
//! Beyond what the go command does with such a directory: a missing `list` or `@latest` is made from the `.info` files, so
//! that a copy of a module cache serves as it is.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use gomod::{ModulePath, ModuleVersion, Query, Request, Version};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::error::{FetchError, OriginId, Unavailability};
use super::kind::{Kind, check_small};
use super::limits::{LIST_BYTES_MAX, SUMDB_BYTES_MAX, ZIP_BYTES_MAX};

/// Bytes read from a zip at a time.
const PART_BYTES: usize = 256 << 10;
/// Most entries of a directory that are looked at to make a list.
const DIRECTORY_ENTRIES_MAX: usize = 200_000;

/// A directory to fetch from.
#[derive(Debug)]
pub(super) struct FileOrigin {
    pub(super) id: OriginId,
    root: PathBuf,
    is_last: bool,
}

/// A zip in such a directory.
#[derive(Debug)]
pub(super) struct FileZip {
    file: Arc<File>,
    origin: OriginId,
    length: u64,
    read: u64,
}

impl FileOrigin {
    /// The directory that is a chain's entry of this number. What it has no list of is made of what there is only if it is the last one: else
    /// the next one is asked, as the go command does.
    pub(super) fn new(entry: u16, root: &Path, is_last: bool) -> Self {
        let id = OriginId::new(entry, &format!("file://{}", root.display()));
        Self { id, root: root.to_owned(), is_last }
    }

    /// A small file of a module. Blocks.
    pub(super) fn small(&self, request: &Request) -> Result<Bytes, FetchError> {
        let kind = Kind::of(request);
        let found = self.read(&request.to_string(), kind.bytes_max());
        let body = match (found, request) {
            (Err(FetchError::NotFound { .. }), Request::List(module)) if self.is_last => {
                self.derived_list(module)?
            }
            (Err(FetchError::NotFound { .. }), Request::Latest(module)) if self.is_last => {
                self.derived_latest(module)?
            }
            (found, _) => found?,
        };
        check_small(request, &body).map_err(|unbelievable| FetchError::Malformed {
            expected: unbelievable.expected,
            detail: unbelievable.detail,
            origin: self.id.clone(),
        })?;
        Ok(body)
    }

    /// Opens a zip. Blocks.
    pub(super) fn zip(&self, version: &ModuleVersion) -> Result<FileZip, FetchError> {
        let (file, length) = self.open(&Request::Zip(version.clone()).to_string())?;
        if length > ZIP_BYTES_MAX {
            return Err(FetchError::TooLarge { limit: ZIP_BYTES_MAX, origin: self.id.clone() });
        }
        let mut start = [0; 4];
        let read = read_start(&file, &mut start).map_err(|error| self.unreadable(error))?;
        Kind::check_zip_start(start.get(..read).unwrap_or_default())
            .and_then(|()| if read == 4 { Ok(()) } else { Kind::check_zip_start(b"short") })
            .map_err(|unbelievable| FetchError::Malformed {
                expected: unbelievable.expected,
                detail: unbelievable.detail,
                origin: self.id.clone(),
            })?;
        Ok(FileZip { file: Arc::new(file), origin: self.id.clone(), length, read: 0 })
    }

    /// Whether the directory offers the checksum database `name`, by the file that the go command asks for. Blocks.
    pub(super) fn offers_sumdb(&self, name: &str) -> bool {
        self.open(&format!("sumdb/{name}/supported")).is_ok()
    }

    /// Whether the directory holds answers of the checksum database `name`, as a module cache does. Blocks.
    pub(super) fn has_sumdb(&self, name: &str) -> bool {
        self.resolve(&format!("sumdb/{name}"), OFlags::RDONLY | OFlags::DIRECTORY).is_ok()
    }

    /// An answer of the checksum database `name`. Blocks. A module cache holds tiles of the widths that its client
    /// happened to need, and a wider one begins with the narrower (golang.org/x/mod/sumdb/tlog).
    pub(super) fn sumdb(&self, name: &str, path: &str) -> Result<Bytes, FetchError> {
        let exact = self.read(&format!("sumdb/{name}/{path}"), SUMDB_BYTES_MAX);
        let Err(error @ FetchError::NotFound { .. }) = exact else { return exact };
        let Some((tile, width)) = path.strip_prefix("tile/").and_then(|_| path.rsplit_once(".p/")) else {
            return Err(error);
        };
        let Ok(width) = width.parse::<u32>() else { return Err(error) };
        let names = match self.names(&format!("sumdb/{name}/{tile}.p")) {
            Err(FetchError::NotFound { .. }) => Vec::new(),
            names => names?,
        };
        let wider =
            names.iter().filter_map(|name| name.parse::<u32>().ok()).filter(|&other| other > width).min();
        // The caller cuts what it asked for out of a wider answer; the widest is the complete tile.
        match wider {
            Some(wider) => self.read(&format!("sumdb/{name}/{tile}.p/{wider}"), SUMDB_BYTES_MAX),
            None => self.read(&format!("sumdb/{name}/{tile}"), SUMDB_BYTES_MAX),
        }
    }

    fn read(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        let (file, length) = self.open(path)?;
        if length > limit {
            return Err(FetchError::TooLarge { limit, origin: self.id.clone() });
        }
        let mut body = Vec::with_capacity(length as usize);
        file.take(limit + 1).read_to_end(&mut body).map_err(|error| self.unreadable(error))?;
        if body.len() as u64 > limit {
            return Err(FetchError::TooLarge { limit, origin: self.id.clone() });
        }
        Ok(body.into())
    }

    fn open(&self, path: &str) -> Result<(File, u64), FetchError> {
        // Without NONBLOCK a named pipe in the directory would hold the thread for ever.
        let file = File::from(self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        let metadata = file.metadata().map_err(|error| self.unreadable(error))?;
        if !metadata.is_file() {
            return Err(self.unreadable(io::Error::other("not a regular file")));
        }
        Ok((file, metadata.len()))
    }

    /// Opens `path` below the root. The root itself may be a symbolic link, which is the operator's own.
    fn resolve(&self, path: &str, flags: OFlags) -> Result<OwnedFd, FetchError> {
        let root =
            rustix::fs::open(&self.root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| self.unreadable(error.into()))?;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), beneath) {
            Ok(fd) => Ok(fd),
            // A name that this file system cannot hold is not there either.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::NAMETOOLONG) => {
                Err(self.not_found())
            }
            Err(rustix::io::Errno::XDEV) => {
                Err(self.unreadable(io::Error::other("a symbolic link leads out of the directory")))
            }
            Err(error) => Err(self.unreadable(error.into())),
        }
    }

    fn names(&self, path: &str) -> Result<Vec<String>, FetchError> {
        let fd = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let directory = rustix::fs::Dir::new(fd).map_err(|error| self.unreadable(error.into()))?;
        let mut names = Vec::new();
        for entry in directory.take(DIRECTORY_ENTRIES_MAX) {
            let entry = entry.map_err(|error| self.unreadable(error.into()))?;
            if let Ok(name) = entry.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The versions that have an `.info` file.
    fn versions(&self, module: &ModulePath) -> Result<Vec<Version>, FetchError> {
        let names = self.names(&format!("{}/@v", module.escaped()))?;
        let versions = names
            .iter()
            .filter_map(|name| name.strip_suffix(".info"))
            .filter_map(|name| Version::unescape(name).ok())
            .filter(|version| version.fits(module).is_ok());
        Ok(versions.collect())
    }

    fn derived_list(&self, module: &ModulePath) -> Result<Bytes, FetchError> {
        let mut list = String::new();
        for version in self.versions(module)? {
            list.push_str(version.as_str());
            list.push('\n');
            if list.len() as u64 > LIST_BYTES_MAX {
                return Err(FetchError::TooLarge { limit: LIST_BYTES_MAX, origin: self.id.clone() });
            }
        }
        Ok(list.into())
    }

    /// The `.info` of the version that golang.org/ref/mod#version-queries calls latest: the highest release, else the
    /// highest pre-release, else the newest pseudo-version.
    fn derived_latest(&self, module: &ModulePath) -> Result<Bytes, FetchError> {
        let rank = |version: &Version| {
            let rank = if version.is_pseudo() { 0 } else { u8::from(!version.is_prerelease()) + 1 };
            let time = if version.is_pseudo() { pseudo_time(version.as_str()) } else { "" };
            (rank, time.to_owned())
        };
        let versions = self.versions(module)?;
        let latest = versions.into_iter().max_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
        let version = latest.ok_or_else(|| self.not_found())?;
        let request = Request::Info(module.clone(), Query::Version(version));
        self.read(&request.to_string(), Kind::of(&request).bytes_max())
    }

    fn not_found(&self) -> FetchError {
        FetchError::NotFound { gone: false, detail: String::new(), origin: self.id.clone() }
    }

    fn unreadable(&self, error: io::Error) -> FetchError {
        FetchError::Unavailable {
            origin: self.id.clone(),
            why: Unavailability::Directory,
            detail: error.to_string(),
            source: Some(Arc::new(error)),
        }
    }
}

impl FileZip {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The next part; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let left = self.length - self.read;
        if left == 0 {
            return Ok(None);
        }
        let part = (PART_BYTES as u64).min(left) as usize;
        let (file, offset) = (Arc::clone(&self.file), self.read);
        let reading = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; part];
            file.read_exact_at(&mut buffer, offset).map(|()| Bytes::from(buffer))
        });
        let read = match reading.await {
            Ok(read) => read,
            Err(join) => Err(io::Error::other(join)),
        };
        match read {
            Ok(chunk) => {
                self.read += chunk.len() as u64;
                Ok(Some(chunk))
            }
            // Shorter than when it was opened.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(FetchError::Changed { origin: self.origin.clone() })
            }
            Err(error) => Err(FetchError::Unavailable {
                origin: self.origin.clone(),
                why: Unavailability::Directory,
                detail: error.to_string(),
                source: Some(Arc::new(error)),
            }),
        }
    }
}

/// The timestamp of a pseudo-version (`…yyyymmddhhmmss-abcdefabcdef`), which sorts as text.
fn pseudo_time(version: &str) -> &str {
    let version = version.strip_suffix("+incompatible").unwrap_or(version);
    let before = version.rsplit_once('-').map_or(version, |(before, _)| before);
    before.rsplit(['-', '.']).next().unwrap_or_default()
}

fn read_start(file: &File, start: &mut [u8; 4]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = start.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
