//! The checksum database: a signed, append-only log that says which hash each module version has.
//!
//! Owns its formats and every check a client makes; fetching and keeping are the caller's. The entry point
//! is [`check_lookup`], which is called again with more tiles until it stops asking for them.
//!
//! Invariant: nothing leaves here as true that does not follow from a tree head signed by the given key
//! and, through hashes, from the tiles handed in.
//!
//! Written here rather than taken from crates: those that exist bring second versions of our hash, base64
//! and signature libraries, and fetch tiles through callbacks, which a core without IO cannot use.
//!
//! Sources: golang.org/x/mod/sumdb and its `note` and `tlog`; go.dev/design/25530-sumdb; RFC 6962.

mod client;
mod lookup;
mod note;
mod proof;
mod tile;
mod tlog;
mod verify;

pub use client::{Accepted, HeadCheck, SignedHead, check_head, check_lookup};
pub use lookup::{GoSum, LOOKUP_BYTES_MAX, Lookup, LookupError};
pub use note::{KeyError, NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, NoteError, SignerKey, VerifierKey, open_note};
pub use proof::{ProofError, check_record_proof, check_tree_proof, prove_record, prove_tree};
pub use tile::{TILE_HEIGHT, TILE_WIDTH, Tile, TileLevel, TilePathError};
pub use tlog::{
    Hash, HashReader, Node, TREE_SIZE_MAX, TreeHead, TreeHeadError, node_hash, record_hash, tree_hash,
};
pub use verify::{Refusal, Step, TileSource, VerifiedTile, check_consistency, check_record};

#[cfg(test)]
mod tests;
