//! The store's errors: each variant is a decision its caller can take.
//!
//! Owns the translation of `RocksDB`'s statuses, whose text is all that its bindings give. Invariant: damage
//! ([`StoreError::Corrupt`]) is never mistaken for absence, and a full disk never for damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::ErrorKind;
use thiserror::Error;

use super::types::BlobId;

/// Why a directory could not be opened as a store.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it, its id if it left one.
    #[error("data directory {dir} is in use by {}", holder(*.pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that holds the lock.
        pid: Option<u32>,
    },
    /// A newer program wrote it.
    #[error("{dir} has storage schema {found}, this program knows up to {supported}")]
    NewerSchema {
        /// The directory.
        dir: PathBuf,
        /// Schema number found.
        found: u32,
        /// Newest schema number this program reads.
        supported: u32,
    },
    /// Its bytes contradict their checksums or each other. Nothing was changed.
    #[error("{path} is damaged ({detail}); {advice}")]
    Damaged {
        /// The file or folder that is damaged.
        path: PathBuf,
        /// What was found.
        detail: String,
        /// What the operator can do.
        advice: &'static str,
    },
    /// No room to open it: the disk is full.
    #[error("no space to open the store in {dir}")]
    Full {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("{doing} {path}")]
    Io {
        /// Verb, such as `create`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The database refused for another reason.
    #[error("open the database in {dir}")]
    Database {
        /// The directory.
        dir: PathBuf,
        /// What it said.
        #[source]
        source: rocksdb::Error,
    },
    /// It opened, but what start-up needs could not be read or written.
    #[error("recover the store in {dir}")]
    Recovery {
        /// The directory.
        dir: PathBuf,
        /// What failed.
        #[source]
        source: StoreError,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// What to do about a damaged store, for [`OpenError::Damaged`].
pub(super) const ADVICE_DAMAGED: &str =
    "restore it from a backup, or move it away to start with an empty cache";

/// What to do about a damaged log, for [`OpenError::Damaged`].
pub(super) const ADVICE_WAL: &str = "writes acknowledged after that point would be lost: restore it from a \
     backup, move it away to start empty, or accept the loss with `goproxyd recover --accept-log-loss`";

impl OpenError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if source.kind() == std::io::ErrorKind::StorageFull {
                return Self::Full { dir: path };
            }
            Self::Io { doing, path, source }
        }
    }

    /// True when no retry helps and the process should exit with the code for a locked or damaged directory.
    pub fn is_locked_or_damaged(&self) -> bool {
        match self {
            Self::Locked { .. } | Self::NewerSchema { .. } | Self::Damaged { .. } => true,
            Self::Recovery { source, .. } => matches!(source, StoreError::Corrupt { .. }),
            Self::Full { .. } | Self::Io { .. } | Self::Database { .. } => false,
        }
    }
}

/// Why an operation on an open store failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Stored bytes contradict their checksum, or are gone though something names them: quarantine and fetch
    /// anew. Never a partial answer.
    #[error("stored {what} is damaged ({detail})")]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// What was found.
        detail: String,
    },
    /// The disk is full, or above its last watermark: nothing is stored until there is space; reads go on.
    #[error("no space left for {what}")]
    Full {
        /// What was to be written.
        what: &'static str,
    },
    /// The disk takes no writes though it has room: read-only, failing, over quota, not permitted; or the database writes
    /// nothing more for another reason that is no damage, such as too many open files. Nothing is stored until that has
    /// ended; reads go on.
    #[error("the disk takes no writes ({why}), {what} is not stored")]
    Unwritable {
        /// What was to be written.
        what: &'static str,
        /// What the system said when that was first met.
        why: Arc<str>,
    },
    /// The database could not be opened again after it had failed, which [`super::Store::heal`] tries until it can. Says nothing of
    /// what is stored.
    #[error("the database is closed, it could not be opened again yet")]
    Closed,
    /// The blob was removed, or the chunk is not written yet.
    #[error("blob {blob} has no chunk {chunk}")]
    NoChunk {
        /// The blob.
        blob: BlobId,
        /// Number of the chunk, from 0.
        chunk: u32,
    },
    /// The caller broke the rules of [`super::BlobWriter`].
    #[error("blob writer misused: {rule}")]
    Misuse {
        /// The rule broken.
        rule: &'static str,
    },
    /// Any other failure of the database or the system.
    #[error("database failed at {what}")]
    Database {
        /// What was being done.
        what: &'static str,
        /// What it said.
        #[source]
        source: rocksdb::Error,
    },
}

impl StoreError {
    pub(super) fn corrupt(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Corrupt { what, detail: detail.into() }
    }

    /// Sorts a status of `RocksDB`. An unreadable or missing file is damage: asking again gives the same.
    pub(super) fn database(what: &'static str, source: rocksdb::Error) -> Self {
        let text: &str = source.as_ref();
        if is_full(text) {
            return Self::Full { what };
        }
        if is_damage(&source.kind(), text) {
            return Self::corrupt(what, source.into_string());
        }
        Self::Database { what, source }
    }

    /// As [`Self::database`] for what writes. Such a status may also tell of what background work read: only that is damage.
    pub(super) fn writing(what: &'static str, source: rocksdb::Error) -> Self {
        match Failure::of(&source.kind(), source.as_ref()) {
            Failure::Full => Self::Full { what },
            Failure::Damage => Self::corrupt(what, source.into_string()),
            Failure::Stopped => Self::Unwritable { what, why: reason(source.as_ref()).into() },
        }
    }

    /// Whether nothing can be stored for now, so that what was to be stored is served without.
    pub fn takes_nothing(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Unwritable { .. } | Self::Closed)
    }
}

/// What a write that failed tells of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It resumes by itself once there is space.
    Full,
    /// Its background work met damage.
    Damage,
    /// Anything else. After most failures of background work, a table that could not be opened among them, it writes nothing
    /// more until it is opened again, so that all of them are taken for that.
    Stopped,
}

impl Failure {
    fn of(kind: &ErrorKind, status: &str) -> Self {
        if is_full(status) {
            return Self::Full;
        }
        // What cannot be read is damage; what cannot be written says nothing of what is there.
        let was_reading = *kind != ErrorKind::IOError || is_read(status);
        if was_reading && is_damage(kind, status) { Self::Damage } else { Self::Stopped }
    }
}

/// Whether a status of `RocksDB` tells that stored bytes are damaged or gone.
fn is_damage(kind: &ErrorKind, status: &str) -> bool {
    let lost = || status.contains("Input/output error") || status.contains("No such file");
    *kind == ErrorKind::Corruption || (*kind == ErrorKind::IOError && lost())
}

/// Why the file system did not take a write, if that is what a status of `RocksDB` tells and it is not full.
pub(super) fn unwritable(status: &rocksdb::Error) -> Option<Arc<str>> {
    let text: &str = status.as_ref();
    (status.kind() == ErrorKind::IOError && !is_full(text) && !is_read(text)).then(|| reason(text).into())
}

/// Whether a status of `RocksDB` is about reading, by the part of it that says what was being done.
fn is_read(status: &str) -> bool {
    let doing = status.split(": ").find(|part| part.starts_with("While ") || part.starts_with("while "));
    doing.is_some_and(|doing| {
        ["pread", "for random read", "sequential", "mmap", "reading", "stat ", "prefetching"]
            .iter()
            .any(|sign| doing.contains(sign))
    })
}

/// The system's own words, which come last.
fn reason(status: &str) -> &str {
    status.rsplit(": ").next().unwrap_or(status)
}

/// Whether a status of `RocksDB` tells of a full disk.
pub(super) fn is_full(status: &str) -> bool {
    ["No space left on device", "NoSpace", "Out of space", "Space limit reached"]
        .iter()
        .any(|sign| status.contains(sign))
}

/// Part of a version, for [`CommitError::Conflict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The go.mod file.
    GoMod,
    /// The module zip.
    Zip,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::GoMod => "go.mod",
            Self::Zip => "zip",
        })
    }
}

/// Why a commit did not happen; the store is as it was before.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The version is already bound to other bytes: the first ones stay.
    #[error("{part} is bound to {stored}, refused {offered}")]
    Conflict {
        /// The part that differs.
        part: Part,
        /// Digest of what is bound: `h1:…`, or `sha256:…` where the h1 agrees.
        stored: String,
        /// Digest of what was offered.
        offered: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_io_errors() {
        assert!(is_full("IO error: No space left on device: While appending to file: /d/000004.log: x"));
        assert!(!is_full("IO error: While open a file for random read: /d/9.blob: Too many open files"));
    }

    #[test]
    fn what_is_neither_full_nor_damaged_has_stopped() {
        for (expected, kind, status) in [
            (
                Failure::Full,
                ErrorKind::IOError,
                "IO error: No space left on device: While appending to file: /d/4.log: x",
            ),
            (Failure::Damage, ErrorKind::Corruption, "Corruption: block checksum mismatch"),
            (
                Failure::Damage,
                ErrorKind::IOError,
                "IO error: While pread offset 5 len 7: /d/000009.blob: Input/output error",
            ),
            (
                Failure::Damage,
                ErrorKind::IOError,
                "IO error: No such file or directory: While open a file for random read: /d/9.blob: No such file",
            ),
            (
                Failure::Stopped,
                ErrorKind::IOError,
                "IO error: While fdatasync: /d/000004.log: Input/output error",
            ),
            (
                Failure::Stopped,
                ErrorKind::IOError,
                "IO error: While open a file for random read: /d/000009.blob: Too many open files",
            ),
            (Failure::Stopped, ErrorKind::Aborted, "Operation aborted: "),
            (Failure::Stopped, ErrorKind::Unknown, "Unknown error"),
        ] {
            assert_eq!(Failure::of(&kind, status), expected, "{status}");
        }
    }

    #[test]
    fn what_was_being_done_tells_reading_from_writing() {
        for (read, status) in [
            (true, "IO error: While pread offset 5 len 7: /d/000009.blob: Input/output error"),
            (
                true,
                "IO error: No such file or directory: While open a file for random read: /d/9.blob: No such file",
            ),
            (true, "IO error: while stat a file for size: /d/9.blob: Input/output error"),
            (false, "IO error: While appending to file: /d/sequential/000004.log: Read-only file system"),
            (false, "IO error: While open a file for appending: /d/000004.log: Permission denied"),
            (false, "IO error: While fdatasync: /d/reading/000004.log: Input/output error"),
            (false, "IO error: Disk quota exceeded"),
        ] {
            assert_eq!(is_read(status), read, "{status}");
        }
        assert_eq!(reason("IO error: While fsync: /d/000004.log: Input/output error"), "Input/output error");
    }
}
