//! Every reason to refuse a module zip.
//!
//! Owns the error type of the whole folder. Names are shown cut and with replacement characters, so a
//! message is of bounded size whatever the zip holds.

use std::io;

use thiserror::Error;

use crate::ElementError;

/// Characters of an entry's name that an error carries.
const SHOWN_CHARS_MAX: usize = 200;

/// Why a zip is no acceptable module zip.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant is documented; its fields are the words of its message")]
pub enum ZipError {
    /// The source could not be read: says nothing about the zip.
    #[error("read zip at byte {offset}")]
    Io { offset: u64, source: io::Error },

    // === size ===
    /// The file is larger than the go command reads.
    #[error("zip has {bytes} bytes, limit {limit}")]
    TooLarge { bytes: u64, limit: u64 },
    /// The declared or the real unpacked sizes are larger than the go command unpacks.
    #[error("zip unpacks to more than {limit} bytes")]
    UnpackedTooLarge { limit: u64 },
    /// go.mod or LICENSE is larger than the go command reads.
    #[error("{name:?} has {bytes} bytes, limit {limit}")]
    FileTooLarge { name: String, bytes: u64, limit: u64 },
    /// More entries than we verify.
    #[error("zip has {entries} entries, limit {limit}")]
    TooManyEntries { entries: u64, limit: u64 },
    /// A larger central directory than we hold in memory.
    #[error("zip directory has {bytes} bytes, limit {limit}")]
    DirectoryTooLarge { bytes: u64, limit: u64 },
    /// More files and directories than we remember.
    #[error("zip names more than {limit} files and directories")]
    TooManyPaths { limit: usize },

    // === framing ===
    /// No end-of-directory record: cut off, or no zip at all.
    #[error("zip has no end record")]
    NoEndRecord,
    /// The end record is not the last thing in the file.
    #[error("zip end record at byte {offset} is not where the file ends")]
    EndNotLast { offset: u64 },
    /// Two end records fit, so two readers may see two zips.
    #[error("zip has end records at bytes {first} and {second}")]
    AmbiguousEnd { first: u64, second: u64 },
    /// The zip64 end record is damaged or contradicts the plain one.
    #[error("zip64 end record is malformed")]
    Zip64End,
    /// Part of a multi-volume archive.
    #[error("zip is one of several volumes")]
    MultiVolume,
    /// The central directory does not lie right before the end record.
    #[error("zip directory at bytes {start}+{bytes} does not end at {expected}")]
    DirectoryBounds { start: u64, bytes: u64, expected: u64 },
    /// The directory does not hold as many entries as the end record says.
    #[error("zip directory has {found} whole entries, {declared} declared")]
    EntryCount { found: u64, declared: u64 },
    /// An entry of the directory cannot be read.
    #[error("zip directory entry {index} is malformed")]
    DirectoryEntry { index: usize },
    /// Bytes before the first entry, or an entry hidden from the directory there.
    #[error("zip has {bytes} bytes before its first entry")]
    LeadingBytes { bytes: u64 },
    /// Bytes that belong to no entry.
    #[error("zip has bytes of no entry after {name:?}")]
    Gap { name: String },
    /// Two entries share bytes, or one runs into the directory.
    #[error("zip entry {name:?} overlaps another or the directory")]
    Overlap { name: String },
    /// What stands before the data contradicts the directory.
    #[error("zip entry {name:?}: local header disagrees with directory on {field}")]
    LocalHeader { name: String, field: &'static str },
    /// The record after the data is missing or contradicts the directory.
    #[error("zip entry {name:?}: data descriptor disagrees with directory")]
    Descriptor { name: String },

    // === names and kinds ===
    /// Not under `module@version/`.
    #[error("zip entry {name:?} is not under {prefix:?}")]
    Prefix { name: String, prefix: String },
    /// A name that not every platform can store, or that leads elsewhere.
    #[error("zip entry {name:?}: {problem}")]
    Name { name: String, problem: NameProblem },
    /// Two names that are one on a case-insensitive file system.
    #[error("zip paths {first:?} and {second:?} differ in case only")]
    CaseCollision { first: String, second: String },
    /// One file twice.
    #[error("zip has {name:?} twice")]
    Duplicate { name: String },
    /// One name for a file and a directory.
    #[error("zip has {name:?} as file and as directory")]
    FileAndDirectory { name: String },
    /// go.mod below the root: the files there belong to another module.
    #[error("zip entry {name:?}: go.mod outside of the module's root")]
    NestedGoMod { name: String },
    /// `GO.MOD` and the like.
    #[error("zip entry {name:?}: go.mod must be lower-case")]
    GoModCase { name: String },
    /// A symbolic link, device or the like.
    #[error("zip entry {name:?} is not a regular file")]
    Irregular { name: String },
    /// A directory that has content.
    #[error("zip entry {name:?} is a directory with content")]
    DirectoryContent { name: String },

    // === contents ===
    /// Neither stored nor deflated.
    #[error("zip entry {name:?}: compression method {method} is not supported")]
    Method { name: String, method: u16 },
    /// Encrypted, patched or otherwise not to be read as it stands.
    #[error("zip entry {name:?}: flags {flags:#06x} are not supported")]
    Flags { name: String, flags: u16 },
    /// The deflate stream is damaged or stops early.
    #[error("zip entry {name:?}: deflate stream is malformed")]
    Deflate { name: String },
    /// Compressed bytes after the end of the deflate stream.
    #[error("zip entry {name:?}: deflate stream ends before its data")]
    DeflateTail { name: String },
    /// Real and declared size differ.
    #[error("zip entry {name:?}: size differs from the declared {declared}")]
    Size { name: String, declared: u64 },
    /// Real and declared CRC-32 differ.
    #[error("zip entry {name:?}: checksum error")]
    Checksum { name: String },
}

/// What is wrong with a file's path. Source: golang.org/x/mod/module, `CheckFilePath`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameProblem {
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// No characters.
    #[error("empty path")]
    Empty,
    /// An element that not every system can store.
    #[error(transparent)]
    Element(ElementError),
    /// Longer than any system can open.
    #[error("longer than 4096 bytes")]
    TooLong,
}

/// An entry's name for a message: readable and of bounded length.
pub(super) fn shown(name: &[u8]) -> String {
    // Four bytes is the longest character, so the cut below never lacks any.
    let head = name.get(..SHOWN_CHARS_MAX * 4).unwrap_or(name);
    String::from_utf8_lossy(head).chars().take(SHOWN_CHARS_MAX).collect()
}
