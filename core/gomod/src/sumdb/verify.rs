//! Proving things about the log from tiles.
//!
//! Owns the choice of tiles and their authentication. Does not fetch: what is missing is named, and the
//! caller comes back with it. Invariant: a tile is used, and handed back as verified, only when its hashes
//! lead to the tree head: the tiles on the tree's right edge together, every other through its parent.
//!
//! Source: golang.org/x/mod/sumdb/tlog, `TileHashReader`;
//! <https://research.swtch.com/tlog#authenticating_tiles>.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use thiserror::Error;

use super::lookup::LookupError;
use super::note::NoteError;
use super::tile::{TILE_HEIGHT, TILE_WIDTH, Tile};
use super::tlog::{Hash, Node, TreeHead, TreeHeadError, fold_subtrees, node_hash, record_hash, subtrees};

/// Where tiles come from: those kept from before and those just fetched alike. All are checked each time,
/// so neither need be trusted.
pub trait TileSource {
    /// The tile's bytes, when they are at hand.
    fn tile(&self, tile: &Tile) -> Option<Bytes>;
}

impl<S: std::hash::BuildHasher> TileSource for HashMap<Tile, Bytes, S> {
    fn tile(&self, tile: &Tile) -> Option<Bytes> {
        self.get(tile).cloned()
    }
}

impl TileSource for BTreeMap<Tile, Bytes> {
    fn tile(&self, tile: &Tile) -> Option<Bytes> {
        self.get(tile).cloned()
    }
}

/// A tile whose every hash follows from the tree head: fit to be kept and served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedTile {
    /// Its coordinates.
    pub tile: Tile,
    /// Its hashes, exactly as many as the width says.
    pub hashes: Bytes,
}

/// Why a check has not succeeded.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Step {
    /// Not yet: these tiles are needed. Never more than a few dozen. A partial tile that the server no
    /// longer has may be replaced by the complete one at the same place.
    #[error("{} tiles are needed", .0.len())]
    Need(Vec<Tile>),
    /// No.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why something is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant is documented; its fields are the words of its message")]
pub enum Refusal {
    /// A tree head's note is malformed or not signed by the key.
    #[error("verify tree head's signature")]
    Note(#[source] NoteError),
    /// The signed text is no tree head.
    #[error("read tree head")]
    Head(#[source] TreeHeadError),
    /// The lookup's answer is malformed or not about what was asked.
    #[error("read lookup")]
    Lookup(#[source] LookupError),
    /// A tile has not the length that its width demands.
    #[error("tile {tile} has {bytes} bytes")]
    TileLength { tile: Tile, bytes: usize },
    /// The tile's hashes do not lead to its parent.
    #[error("tile {tile} does not belong to the tree of {size} records")]
    Tile { tile: Tile, size: u64 },
    /// The tiles on the right edge do not lead to the tree head; one of them is wrong, or the head is.
    #[error("edge tiles do not belong to the tree of {size} records")]
    EdgeTiles { tiles: Vec<Tile>, size: u64 },
    /// The record's number is not in the tree.
    #[error("record {id} is outside of the tree of {size} records")]
    RecordOutside { id: u64, size: u64 },
    /// The log has another record at this number.
    #[error("record {id} is not the one in the log")]
    Record { id: u64 },
    /// Called with the heads the wrong way round.
    #[error("tree of {older} records cannot be older than one of {newer}")]
    Order { older: u64, newer: u64 },
    /// Two signed heads of different histories: the database, or somebody with its key, lies. `found` is
    /// the hash that the newer tree has for the older one's records.
    #[error("tree of {} records does not begin with the known tree of {}", newer.size, older.size)]
    Fork { older: TreeHead, newer: TreeHead, found: Hash },
}

/// Checks that the log under `head` has the given text as record number `id`. Returns the tiles that prove
/// it.
pub fn check_record(
    head: &TreeHead,
    id: u64,
    record_text: &[u8],
    tiles: &dyn TileSource,
) -> Result<Vec<VerifiedTile>, Step> {
    if id >= head.size {
        return Err(Refusal::RecordOutside { id, size: head.size }.into());
    }
    let proven = Proven::load(head, &[Node { level: 0, index: id }], tiles)?;
    if proven.hashes == [record_hash(record_text)] {
        Ok(proven.tiles)
    } else {
        Err(Refusal::Record { id }.into())
    }
}

/// Checks that the tree under `newer` begins with the one under `older`. Returns the tiles that prove it;
/// none are needed when the trees are of the same size.
pub fn check_consistency(
    older: &TreeHead,
    newer: &TreeHead,
    tiles: &dyn TileSource,
) -> Result<Vec<VerifiedTile>, Step> {
    if older.size > newer.size {
        return Err(Refusal::Order { older: older.size, newer: newer.size }.into());
    }
    let (found, proof) = if older.size == newer.size {
        (newer.hash, Vec::new())
    } else if older.size == 0 {
        (Hash::of_empty_tree(), Vec::new())
    } else {
        let proven = Proven::load(newer, &subtrees(0, older.size), tiles)?;
        (fold_subtrees(&proven.hashes).unwrap_or_else(Hash::of_empty_tree), proven.tiles)
    };
    if found == older.hash {
        Ok(proof)
    } else {
        Err(Refusal::Fork { older: *older, newer: *newer, found }.into())
    }
}

/// Node hashes that follow from a tree head, and the tiles that they came from.
struct Proven {
    hashes: Vec<Hash>,
    tiles: Vec<VerifiedTile>,
}

impl Proven {
    /// Finds the hashes of `nodes`, which must lie within the tree.
    fn load(head: &TreeHead, nodes: &[Node], source: &dyn TileSource) -> Result<Self, Step> {
        let plan = Plan::new(head, nodes);
        let mut data = BTreeMap::new();
        let mut missing = Vec::new();
        for tile in &plan.tiles {
            match fetch(tile, source)? {
                Some(bytes) => _ = data.insert(*tile, bytes),
                None => missing.push(*tile),
            }
        }
        if !missing.is_empty() {
            return Err(Step::Need(missing));
        }
        let read = |node| Tile::containing(node, head.size).and_then(|tile| hash_in(&data, &tile, node));
        // The right edge first; it is what the head's hash is made of.
        let edge: Option<Vec<Hash>> = subtrees(0, head.size).into_iter().map(&read).collect();
        if edge.and_then(|hashes| fold_subtrees(&hashes)) != Some(head.hash) {
            return Err(Refusal::EdgeTiles { tiles: plan.edge().to_vec(), size: head.size }.into());
        }
        // Then each tile below it by its hash in the parent, which comes before it in the plan.
        for tile in plan.tiles.iter().skip(plan.edge_tiles) {
            let own = data.get(tile).and_then(|bytes| subtree_hash(bytes));
            let expected = parent_node(tile).and_then(read);
            if own.is_none() || own != expected {
                return Err(Refusal::Tile { tile: *tile, size: head.size }.into());
            }
        }
        let hashes: Option<Vec<Hash>> = nodes.iter().copied().map(read).collect();
        let Some(hashes) = hashes else {
            return Err(Refusal::EdgeTiles { tiles: plan.edge().to_vec(), size: head.size }.into());
        };
        let tiles = data.into_iter().map(|(tile, hashes)| VerifiedTile { tile, hashes }).collect();
        Ok(Self { hashes, tiles })
    }
}

/// The tiles for a question, parents before children: first those of the right edge.
struct Plan {
    tiles: Vec<Tile>,
    edge_tiles: usize,
}

impl Plan {
    fn new(head: &TreeHead, nodes: &[Node]) -> Self {
        let mut tiles: Vec<Tile> = Vec::new();
        for node in subtrees(0, head.size) {
            if let Some(tile) = Tile::containing(node, head.size).filter(|tile| !tiles.contains(tile)) {
                tiles.push(tile);
            }
        }
        let edge_tiles = tiles.len();
        for node in nodes {
            // Up until a tile that is planned already, then down again in order.
            let mut chain = Vec::new();
            let mut next = Tile::containing(*node, head.size);
            while let Some(tile) = next.filter(|tile| !tiles.contains(tile)) {
                chain.push(tile);
                next = tile.parent(head.size);
            }
            tiles.extend(chain.into_iter().rev());
        }
        Self { tiles, edge_tiles }
    }

    fn edge(&self) -> &[Tile] {
        self.tiles.get(..self.edge_tiles).unwrap_or(&[])
    }
}

/// The tile's bytes, or the beginning of the complete tile's if only that is at hand.
fn fetch(tile: &Tile, source: &dyn TileSource) -> Result<Option<Bytes>, Refusal> {
    let (found, bytes) = match source.tile(tile) {
        Some(bytes) => (*tile, bytes),
        None => match source.tile(&tile.completed()) {
            Some(bytes) => (tile.completed(), bytes),
            None => return Ok(None),
        },
    };
    let wanted = tile.hash_bytes().unwrap_or(0);
    if found.hash_bytes() != Some(bytes.len()) || bytes.len() < wanted {
        return Err(Refusal::TileLength { tile: found, bytes: bytes.len() });
    }
    Ok(Some(bytes.slice(..wanted)))
}

/// The node that stands for a whole tile of hashes one tile level up.
fn parent_node(tile: &Tile) -> Option<Node> {
    match tile.level() {
        super::TileLevel::Hashes(level) => {
            Some(Node { level: (level + 1).checked_mul(TILE_HEIGHT)?, index: tile.index() })
        }
        super::TileLevel::Data => None,
    }
}

/// The node's hash out of the tile that contains it.
fn hash_in(data: &BTreeMap<Tile, Bytes>, tile: &Tile, node: Node) -> Option<Hash> {
    let within = node.level % TILE_HEIGHT;
    let first = (node.index << within) - tile.index() * u64::from(TILE_WIDTH);
    let start = first as usize * Hash::BYTES;
    subtree_hash(data.get(tile)?.get(start..start + (Hash::BYTES << within))?)
}

/// The hash above 2^k hashes.
fn subtree_hash(hashes: &[u8]) -> Option<Hash> {
    let (chunks, rest) = hashes.as_chunks();
    if !rest.is_empty() || !chunks.len().is_power_of_two() {
        return None;
    }
    let mut level: Vec<Hash> = chunks.iter().map(|bytes| Hash::from_bytes(*bytes)).collect();
    while level.len() > 1 {
        level = level.as_chunks().0.iter().map(|&[left, right]| node_hash(left, right)).collect();
    }
    level.first().copied()
}
