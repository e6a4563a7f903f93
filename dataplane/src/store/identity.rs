//! Who may open a directory, and what it is: the lock and the identity file.
//!
//! Invariants: the lock is held for as long as the store lives and vanishes with the process; the identity
//! file is written after the database it names exists, so a directory with one is never silently made anew.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{ADVICE_DAMAGED, OpenError};

/// Newest storage schema that this program reads and the one it writes.
pub(super) const SCHEMA: u32 = 1;

/// Bytes of an identity file at most; it has about a hundred.
const IDENTITY_BYTES_MAX: u64 = 4096;

/// The held lock.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock of `dir` and leaves the process id for whoever comes second.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("LOCK");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let (file, is_writable) = match file {
            Err(error) if takes_nothing(&error) => (File::open(&path), false),
            file => (file, true),
        };
        let mut file = file.map_err(OpenError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only for the message: an unreadable id is no id.
                let read = std::io::Read::by_ref(&mut file).take(20).read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenError::Locked { dir: dir.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(OpenError::io("lock", &path)(source)),
        }
        if !is_writable {
            return Ok(Self { _file: file });
        }
        let write = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        match write {
            // A disk that takes nothing must not keep a store from being read.
            Err(error) if !takes_nothing(&error) => Err(OpenError::io("write", &path)(error)),
            _ => Ok(Self { _file: file }),
        }
    }
}

/// Whether a disk refused a write though what is on it can perhaps be read.
fn takes_nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | ReadOnlyFilesystem | QuotaExceeded | PermissionDenied)
}

/// Names one store for its whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub(super) [u8; 16]);

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl StoreId {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    fn parse(text: &str) -> Option<Self> {
        // Digits alone: `from_str_radix` would also take a sign.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        Some(Self(u128::from_str_radix(text, 16).ok()?.to_be_bytes()))
    }
}

#[derive(Serialize, Deserialize)]
struct IdentityFile {
    schema: u32,
    store_id: String,
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join("IDENTITY")
}

/// Reads the identity of `dir`; `None` when it has none. A newer schema is refused.
pub(super) fn read(dir: &Path) -> Result<Option<StoreId>, OpenError> {
    let path = path_in(dir);
    let mut text = String::new();
    match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io("open", &path)(error)),
        Ok(file) => match file.take(IDENTITY_BYTES_MAX).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(damaged(path, "it is not text"));
            }
            Err(error) => return Err(OpenError::io("read", &path)(error)),
        },
    }
    let Ok(identity) = serde_json::from_str::<IdentityFile>(&text) else {
        return Err(damaged(path, "it is not an identity file"));
    };
    check_schema(dir, identity.schema)?;
    match StoreId::parse(&identity.store_id) {
        Some(id) => Ok(Some(id)),
        None => Err(damaged(path, "its store id is no id")),
    }
}

/// Refuses what a newer program wrote.
pub(super) fn check_schema(dir: &Path, found: u32) -> Result<(), OpenError> {
    if found > SCHEMA {
        return Err(OpenError::NewerSchema { dir: dir.to_owned(), found, supported: SCHEMA });
    }
    Ok(())
}

fn damaged(path: PathBuf, detail: &str) -> OpenError {
    OpenError::Damaged { path, detail: detail.to_owned(), advice: ADVICE_DAMAGED }
}

/// Writes the identity of `dir` so that it is whole after any crash.
pub(super) fn write(dir: &Path, id: StoreId) -> Result<(), OpenError> {
    let (path, draft) = (path_in(dir), dir.join("IDENTITY.new"));
    let identity = IdentityFile { schema: SCHEMA, store_id: id.to_string() };
    let text = serde_json::to_string(&identity).unwrap_or_default();
    let mut file = File::create(&draft).map_err(OpenError::io("create", &draft))?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(OpenError::io("write", &draft))?;
    std::fs::rename(&draft, &path).map_err(OpenError::io("rename", &draft))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(OpenError::io("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_back() {
        let dir = tempfile::tempdir().expect("temporary folder");
        assert!(read(dir.path()).expect("read").is_none());
        let id = StoreId::random();
        write(dir.path(), id).expect("write");
        assert_eq!(read(dir.path()).expect("read"), Some(id));
    }

    #[test]
    fn a_spoilt_identity_is_damage() {
        let dir = tempfile::tempdir().expect("temporary folder");
        for text in ["", "{}", "\u{0}", r#"{"schema":1,"store_id":"+1234567890123456789012345678901"}"#] {
            std::fs::write(path_in(dir.path()), text).expect("write");
            let result = read(dir.path());
            assert!(matches!(result, Err(OpenError::Damaged { .. })), "{text:?}: {result:?}");
        }
    }

    #[test]
    fn the_second_lock_names_the_first_holder() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let first = DirLock::take(dir.path()).expect("first lock");
        // A lock belongs to the open file, so the same process can try twice.
        let second = DirLock::take(dir.path());
        let pid = std::process::id();
        assert!(matches!(second, Err(OpenError::Locked { pid: Some(holder), .. }) if holder == pid));
        drop(first);
        DirLock::take(dir.path()).expect("lock after release");
    }
}
