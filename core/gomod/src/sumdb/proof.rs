//! Proofs that can be checked without tiles: that a tree holds a record, and that it extends another.
//!
//! The client works on tiles; proofs are what an operator can hand on, above all as evidence of a fork.
//! Source: RFC 6962 sections 2.1.1 and 2.1.2; golang.org/x/mod/sumdb/tlog.

use thiserror::Error;

use super::tlog::{Hash, HashReader, TreeHead, fold_subtrees, node_hash, subtrees};

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The record or the older tree is not within the tree.
    #[error("proof is asked for outside of the tree")]
    Range,
    /// The hashes do not lead from one end to the other.
    #[error("proof does not hold")]
    Invalid,
}

/// On the way from the root down, one split of a tree: the half not followed.
struct Split {
    sibling: (u64, u64),
    /// Whether that half is the right one.
    right: bool,
}

/// Splits the tree of `size` records until `inside` says the half that holds `at` needs no more splitting.
/// Returns the splits from the root down and what is left.
fn walk(
    size: u64,
    follow_left: impl Fn(u64) -> bool,
    done: impl Fn(u64, u64) -> bool,
) -> (Vec<Split>, (u64, u64)) {
    let (mut first, mut end) = (0, size);
    let mut splits = Vec::new();
    while !done(first, end) {
        // The largest power of two below the size: the left half is always complete.
        let middle = first + (1 << (end - first - 1).ilog2());
        if follow_left(middle) {
            splits.push(Split { sibling: (middle, end), right: true });
            end = middle;
        } else {
            splits.push(Split { sibling: (first, middle), right: false });
            first = middle;
        }
    }
    (splits, (first, end))
}

fn walk_to_record(size: u64, record: u64) -> Vec<Split> {
    walk(size, |middle| record < middle, |first, end| end - first == 1).0
}

fn walk_to_tree(size: u64, older_size: u64) -> (Vec<Split>, (u64, u64)) {
    walk(size, |middle| older_size <= middle, |_, end| end == older_size)
}

/// Reads the hashes of ranges, all at once.
fn range_hashes<R: HashReader>(ranges: &[(u64, u64)], reader: &R) -> Result<Vec<Hash>, R::Error> {
    let parts: Vec<_> = ranges.iter().map(|&(first, end)| subtrees(first, end)).collect();
    let hashes = reader.hashes(&parts.concat())?;
    let mut rest = hashes.as_slice();
    let mut folded = Vec::with_capacity(parts.len());
    for part in &parts {
        let (mine, others) = rest.split_at_checked(part.len()).unwrap_or((rest, &[]));
        folded.extend(fold_subtrees(mine));
        rest = others;
    }
    Ok(folded)
}

/// The proof, from the record up, that the tree of `size` records holds the given one. `Ok(None)` when it
/// cannot.
pub fn prove_record<R: HashReader>(
    size: u64,
    record: u64,
    reader: &R,
) -> Result<Option<Vec<Hash>>, R::Error> {
    if record >= size {
        return Ok(None);
    }
    let ranges: Vec<_> = walk_to_record(size, record).iter().rev().map(|split| split.sibling).collect();
    range_hashes(&ranges, reader).map(Some)
}

/// Checks that the tree holds, as number `record`, a record with this hash.
pub fn check_record_proof(proof: &[Hash], head: TreeHead, record: u64, hash: Hash) -> Result<(), ProofError> {
    if record >= head.size {
        return Err(ProofError::Range);
    }
    let splits = walk_to_record(head.size, record);
    if splits.len() != proof.len() {
        return Err(ProofError::Invalid);
    }
    let root = splits.iter().rev().zip(proof).fold(hash, |below, (split, &sibling)| {
        if split.right { node_hash(below, sibling) } else { node_hash(sibling, below) }
    });
    if root == head.hash { Ok(()) } else { Err(ProofError::Invalid) }
}

/// The proof that the tree of `size` records begins with the one of `older_size`. `Ok(None)` when it cannot.
pub fn prove_tree<R: HashReader>(
    size: u64,
    older_size: u64,
    reader: &R,
) -> Result<Option<Vec<Hash>>, R::Error> {
    if older_size == 0 || older_size > size {
        return Ok(None);
    }
    let (splits, common) = walk_to_tree(size, older_size);
    // A whole older tree on the left edge is known to the one who checks.
    let common = (common.0 != 0).then_some(common);
    let ranges: Vec<_> = common.into_iter().chain(splits.iter().rev().map(|split| split.sibling)).collect();
    range_hashes(&ranges, reader).map(Some)
}

/// Checks that the newer tree begins with the older one.
pub fn check_tree_proof(proof: &[Hash], newer: TreeHead, older: TreeHead) -> Result<(), ProofError> {
    if older.size == 0 || older.size > newer.size {
        return Err(ProofError::Range);
    }
    let (splits, common) = walk_to_tree(newer.size, older.size);
    let (start, siblings) = match proof.split_first() {
        Some((&start, rest)) if common.0 != 0 => (start, rest),
        _ if common.0 == 0 => (older.hash, proof),
        _ => return Err(ProofError::Invalid),
    };
    if splits.len() != siblings.len() {
        return Err(ProofError::Invalid);
    }
    let mut roots = (start, start);
    for (split, &sibling) in splits.iter().rev().zip(siblings) {
        if split.right {
            // All of it is newer than the older tree.
            roots.1 = node_hash(roots.1, sibling);
        } else {
            roots = (node_hash(sibling, roots.0), node_hash(sibling, roots.1));
        }
    }
    if roots == (older.hash, newer.hash) { Ok(()) } else { Err(ProofError::Invalid) }
}
