//! What a client does with an answer of the database, from signature to hash, in one go.
//!
//! Owns the order of the checks and the timeline of heads; keeps no state: the newest verified head goes in
//! and comes out. Invariant: the head that comes out begins with every head that went in.
//!
//! Source: golang.org/x/mod/sumdb, `Client.Lookup` and `mergeLatest`.

use super::lookup::{GoSum, Lookup};
use super::note::{VerifierKey, open_note};
use super::tlog::TreeHead;
use super::verify::{Refusal, Step, TileSource, VerifiedTile, check_consistency, check_record};
use crate::ModuleVersion;

/// A tree head with the note that signs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedHead {
    head: TreeHead,
    note: String,
}

impl SignedHead {
    /// Opens a note that the key must have signed.
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Self, Refusal> {
        let text = open_note(note, key).map_err(Refusal::Note)?;
        let head = TreeHead::parse(text).map_err(Refusal::Head)?;
        Ok(Self { head, note: String::from_utf8_lossy(note).into_owned() })
    }

    /// Size and hash.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// The whole note, as it was signed.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// A tree head found to lie on the known timeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadCheck {
    /// The newer of the known and the new head: to be kept as known.
    pub newest: SignedHead,
    /// What proved it, to be kept.
    pub tiles: Vec<VerifiedTile>,
}

/// Checks a signed head against the newest one known, in whichever order they are.
pub fn check_head(
    note: &[u8],
    key: &VerifierKey,
    known: Option<&SignedHead>,
    tiles: &dyn TileSource,
) -> Result<HeadCheck, Step> {
    let (newest, proof) = timeline(SignedHead::open(note, key)?, known, tiles);
    Ok(HeadCheck { newest, tiles: proof? })
}

/// The newer of two heads, and whether it begins with the other.
fn timeline(
    new: SignedHead,
    known: Option<&SignedHead>,
    tiles: &dyn TileSource,
) -> (SignedHead, Result<Vec<VerifiedTile>, Step>) {
    match known {
        None => (new, Ok(Vec::new())),
        Some(known) if new.head.size > known.head.size => {
            let proof = check_consistency(&known.head, &new.head, tiles);
            (new, proof)
        }
        Some(known) => (known.clone(), check_consistency(&new.head, &known.head, tiles)),
    }
}

/// A lookup that holds in every respect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The hashes to compare zip and go.mod with.
    pub hashes: GoSum,
    /// The answer's parts; with [`Lookup::render`] and the newest head they make the answer to serve.
    pub lookup: Lookup,
    /// The newer of the known head and the answer's: to be kept as known.
    pub newest: SignedHead,
    /// What proved all of it, to be kept.
    pub tiles: Vec<VerifiedTile>,
}

/// Checks the database's answer about a module version: that it is about it, that its head is signed and
/// on the known timeline, and that the log has the record. Call again with the tiles that
/// [`Step::Need`] names; one round is enough.
pub fn check_lookup(
    answer: &[u8],
    mv: &ModuleVersion,
    key: &VerifierKey,
    known: Option<&SignedHead>,
    tiles: &dyn TileSource,
) -> Result<Accepted, Step> {
    let lookup = Lookup::parse(answer).map_err(Refusal::Lookup)?;
    let hashes = lookup.hashes(mv).map_err(Refusal::Lookup)?;
    let new = SignedHead::open(lookup.note.as_bytes(), key)?;
    let (newest, timeline_proof) = timeline(new, known, tiles);
    let record_proof = check_record(&newest.head, lookup.id, lookup.record.as_bytes(), tiles);
    let tiles = both(timeline_proof, record_proof)?;
    Ok(Accepted { hashes, lookup, newest, tiles })
}

/// Two checks as one: a refusal by either, else the tiles that either needs, else those that proved both.
fn both(
    first: Result<Vec<VerifiedTile>, Step>,
    second: Result<Vec<VerifiedTile>, Step>,
) -> Result<Vec<VerifiedTile>, Step> {
    match (first, second) {
        (Ok(mut proof), Ok(more)) => {
            for verified in more {
                // Both start from the right edge of the same tree.
                if !proof.iter().any(|earlier| earlier.tile == verified.tile) {
                    proof.push(verified);
                }
            }
            Ok(proof)
        }
        (Err(Step::Refused(refusal)), _) | (_, Err(Step::Refused(refusal))) => Err(refusal.into()),
        (Err(Step::Need(mut needed)), Err(Step::Need(more))) => {
            needed.extend(more);
            needed.sort_unstable();
            needed.dedup();
            Err(Step::Need(needed))
        }
        (Err(needed), Ok(_)) | (Ok(_), Err(needed)) => Err(needed),
    }
}
