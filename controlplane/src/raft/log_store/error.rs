//! What a status of `RocksDB` means for a member, and why a directory is not opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster::{ClusterId, MemberId};
use rocksdb::ErrorKind;

use super::super::disk::DiskError;
use super::super::error::StartError;

/// Why a member's directory is not opened, or not made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No member was ever made here.
    #[error("{} holds no member", dir.display())]
    Absent {
        /// The directory.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("{} holds a member already", dir.display())]
    Exists {
        /// The directory.
        dir: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to member {found_member} of cluster {found_cluster}", dir.display())]
    Other {
        /// The directory.
        dir: PathBuf,
        /// The member that it belongs to.
        found_member: MemberId,
        /// Its cluster.
        found_cluster: ClusterId,
    },
    /// There was a member, and its log is gone. It promised things that it no longer knows of, so it may not go on:
    /// remove it from the group, and join again under a new number.
    #[error("the log in {} is lost", dir.display())]
    LogLost {
        /// The directory.
        dir: PathBuf,
    },
    /// The write-ahead log is damaged in its middle, which no power cut does. What follows was promised; as with a lost
    /// log the member has to join again.
    #[error("{} is damaged at byte {offset}, before what is whole", log.display())]
    DamagedMiddle {
        /// The file.
        log: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A process has it open.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The file that says whose it is.
    #[error("{} is no identity of a member", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
    },
    /// The system.
    #[error("{action} {}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database.
    #[error("open the log")]
    Disk(#[from] DiskError),
}

impl OpenError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// As a reason why no peer can be made. What is no failure of the disk becomes damage: it does not pass by itself.
    pub fn into_start(self) -> StartError {
        if self.is_full() {
            return StartError::Disk(DiskError::Full { action: "open" });
        }
        let text = self.to_string();
        StartError::Disk(if let Self::Disk(error) = self { error } else { damaged("open", &text) })
    }

    /// Whether making room may help.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Disk(DiskError::Full { .. }) => true,
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
            Self::Disk(DiskError::Lost { .. } | DiskError::Damaged { .. })
            | Self::Absent { .. }
            | Self::Exists { .. }
            | Self::Other { .. }
            | Self::LogLost { .. }
            | Self::DamagedMiddle { .. }
            | Self::InUse { .. }
            | Self::Identity { .. } => false,
        }
    }
}

/// Turns a status of the database into what a member has to do about it.
pub(super) fn failed(action: &'static str) -> impl Fn(rocksdb::Error) -> DiskError {
    move |error| {
        let text: &str = error.as_ref();
        let is_full = ["No space left on device", "NoSpace", "Out of space", "Space limit reached"];
        if is_full.iter().any(|sign| text.contains(sign)) {
            return DiskError::Full { action };
        }
        if error.kind() == ErrorKind::Corruption {
            return damaged(action, text);
        }
        DiskError::Lost { action, source: Arc::new(error) }
    }
}

pub(super) fn damaged(action: &'static str, detail: &str) -> DiskError {
    DiskError::Damaged { action, detail: detail.to_owned() }
}
