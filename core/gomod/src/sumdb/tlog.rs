//! The log as a Merkle tree: its hashes, the coordinates of its nodes, and tree heads.
//!
//! Owns the arithmetic; knows nothing of tiles or signatures. Invariant: sizes are at most
//! [`TREE_SIZE_MAX`], so no shift or sum here overflows.
//!
//! Source: golang.org/x/mod/sumdb/tlog; RFC 6962 section 2.1.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Records in a tree. Go allows 2^63; this many cannot be written in a lifetime, and tile levels stay
/// below 8.
pub const TREE_SIZE_MAX: u64 = 1 << 56;

const HEAD_LINE: &str = "go.sum database tree";

/// The hash of a record, a subtree or a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Bytes of a hash.
    pub const BYTES: usize = 32;

    /// The hash of the tree without records: SHA-256 of nothing.
    pub fn of_empty_tree() -> Self {
        Self(Sha256::digest(b"").into())
    }

    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses padded standard base64.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = if text.len() == 44 { BASE64.decode(text).ok()? } else { return None };
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash of a record's text.
pub fn record_hash(text: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(text).finalize().into())
}

/// The hash of a node above two others.
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// A complete subtree: the `index`-th run of 2^`level` records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Node {
    /// Height above the records.
    pub level: u8,
    /// Position among the nodes of its level.
    pub index: u64,
}

impl Node {
    /// The place of the node's hash when hashes are stored in the order they become known: each record's,
    /// then those of the subtrees it completes. Source: tlog, `StoredHashIndex`.
    pub fn stored_index(self) -> u64 {
        // The record that completes the subtree; `level` hashes above it are stored right after its own.
        let record = ((self.index + 1) << self.level) - 1;
        stored_before(record) + u64::from(self.level)
    }

    /// The inverse of [`Node::stored_index`].
    pub fn from_stored_index(stored: u64) -> Self {
        // Each record adds one hash and on average one more, so the record is near half of the index.
        let mut record = stored / 2;
        while stored_before(record + 1) <= stored {
            record += 1;
        }
        let level = stored - stored_before(record);
        Self { level: level as u8, index: record >> level }
    }
}

/// Number of hashes stored before the given record's own: `record` records and the subtrees they complete.
fn stored_before(record: u64) -> u64 {
    let mut count = 0;
    let mut rest = record;
    while rest > 0 {
        count += rest;
        rest >>= 1;
    }
    count
}

/// The complete subtrees that make up the records `first..end`, left to right. `first` must be a multiple
/// of every subtree it starts, as it is for the ranges that splitting a tree gives.
pub(super) fn subtrees(first: u64, end: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut at = first;
    while at < end {
        let level = (end - at).ilog2() as u8;
        nodes.push(Node { level, index: at >> level });
        at += 1 << level;
    }
    nodes
}

/// The hash of a range from those of its [`subtrees`].
pub(super) fn fold_subtrees(hashes: &[Hash]) -> Option<Hash> {
    hashes.iter().rev().copied().reduce(|right, left| node_hash(left, right))
}

/// Where node hashes come from.
pub trait HashReader {
    /// Why a hash cannot be had.
    type Error;

    /// The hashes of the nodes, in the same order and number.
    fn hashes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Self::Error>;
}

/// The hash of the tree with the first `size` records.
pub fn tree_hash<R: HashReader>(size: u64, reader: &R) -> Result<Hash, R::Error> {
    let hashes = reader.hashes(&subtrees(0, size))?;
    Ok(fold_subtrees(&hashes).unwrap_or_else(Hash::of_empty_tree))
}

/// A tree's size and hash: what the database signs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TreeHead {
    /// Number of records.
    pub size: u64,
    /// Hash of the whole tree.
    pub hash: Hash,
}

impl TreeHead {
    /// Parses the text of a signed note: a fixed line, the size, the hash. Further lines are left to the
    /// future, as in Go.
    pub fn parse(text: &str) -> Result<Self, TreeHeadError> {
        let mut lines = text.split_inclusive('\n').map_while(|line| line.strip_suffix('\n'));
        if lines.next() != Some(HEAD_LINE) {
            return Err(TreeHeadError::Syntax);
        }
        let digits = lines.next().ok_or(TreeHeadError::Syntax)?;
        let hash = lines.next().and_then(Hash::parse).ok_or(TreeHeadError::Syntax)?;
        let size = parse_number(digits).ok_or(TreeHeadError::Syntax)?;
        if size > TREE_SIZE_MAX {
            return Err(TreeHeadError::TooLarge { size });
        }
        if size == 0 && hash != Hash::of_empty_tree() {
            return Err(TreeHeadError::NotEmpty);
        }
        Ok(Self { size, hash })
    }
}

impl fmt::Display for TreeHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD_LINE}\n{}\n{}", self.size, self.hash)
    }
}

/// Why a signed text is no tree head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TreeHeadError {
    /// Not the three lines.
    #[error("tree head is malformed")]
    Syntax,
    /// More records than can be.
    #[error("tree head claims {size} records, limit {TREE_SIZE_MAX}")]
    TooLarge {
        /// The claimed number.
        size: u64,
    },
    /// No records, and yet not the hash of no records.
    #[error("tree head of an empty tree has another tree's hash")]
    NotEmpty,
}

/// A decimal number in its only spelling: no sign, no leading zeros.
pub(super) fn parse_number(digits: &str) -> Option<u64> {
    let canonical = digits == "0" || !digits.starts_with('0');
    let plain = canonical && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn stored_indexes_count_up_without_gaps() {
        let mut next = 0;
        for record in 0..1000_u64 {
            for level in 0..=(record + 1).trailing_zeros() as u8 {
                let node = Node { level, index: record >> level };
                assert_eq!(node.stored_index(), next);
                assert_eq!(Node::from_stored_index(next), node);
                next += 1;
            }
        }
        let far = Node { level: 40, index: 12345 };
        assert_eq!(Node::from_stored_index(far.stored_index()), far);
    }

    #[test]
    fn ranges_split_into_subtrees() {
        let node = |level, index| Node { level, index };
        assert_eq!(subtrees(0, 0), []);
        assert_eq!(subtrees(0, 7), [node(2, 0), node(1, 2), node(0, 6)]);
        assert_eq!(subtrees(4, 7), [node(1, 2), node(0, 6)]);
        assert_eq!(subtrees(0, TREE_SIZE_MAX), [node(56, 0)]);
    }

    #[test]
    fn heads_have_one_spelling() {
        let text = "go.sum database tree\n2\nnND/nri/U0xuHUrYSy0HtMeal2vzD9V4k/BO79C+QeI=\n";
        let head = TreeHead::parse(text).unwrap();
        assert_eq!((head.size, head.to_string()), (2, text.to_owned()));
        assert_eq!(TreeHead::parse(&format!("{text}more\n")), Ok(head));
        let syntax = Err(TreeHeadError::Syntax);
        for (from, to) in [
            ("2\n", "02\n"),
            ("2\n", "+2\n"),
            ("2\n", "-2\n"),
            ("2\n", "\n"),
            ("tree", "tree v2"),
            ("QeI=\n", "QeI="),
            ("QeI=", "QeI"),
        ] {
            assert_eq!(TreeHead::parse(&text.replacen(from, to, 1)), syntax, "{from:?} {to:?}");
        }
        let size = TREE_SIZE_MAX + 1;
        let huge = text.replace("\n2\n", &format!("\n{size}\n"));
        assert_eq!(TreeHead::parse(&huge), Err(TreeHeadError::TooLarge { size }));
        assert_eq!(TreeHead::parse(&text.replace("\n2\n", "\n0\n")), Err(TreeHeadError::NotEmpty));
    }
}
