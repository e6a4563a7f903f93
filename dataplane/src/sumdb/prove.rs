//! Owns proving one tile by itself, for clients whose own tree heads lead them to tiles that no record of ours needed.
//!
//! The way is from the tree head down: the tiles on the tree's right edge make up its hash, and every other tile is
//! complete and has its own hash in its parent (<https://research.swtch.com/tlog#authenticating_tiles>).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use gomod::sumdb::{
    Hash, HashReader, Node, Refusal, TILE_HEIGHT, TILE_WIDTH, Tile, TileLevel, TreeHead, VerifiedTile,
    node_hash, tree_hash,
};

use super::error::SumDbError;
use super::tiles::{Tiles, blocking};

/// Levels of tiles that a tree can have.
const LEVELS_MAX: u8 = 8;

/// Hashes at place `index` of `level` in a tree of `size` records: none, a complete tile, or something between.
pub(super) fn width_in_tree(size: u64, level: u8, index: u64) -> u32 {
    let hashes = size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0);
    let first = index.saturating_mul(u64::from(TILE_WIDTH));
    hashes.saturating_sub(first).min(u64::from(TILE_WIDTH)) as u32
}

/// The tiles on the right edge of a tree: one for each level that has an incomplete one.
fn edge(size: u64) -> Vec<Tile> {
    let partial = |level: u8| {
        let index = size.checked_shr(u32::from(level + 1) * u32::from(TILE_HEIGHT)).unwrap_or(0);
        Tile::new(TileLevel::Hashes(level), index, width_in_tree(size, level, index))
    };
    (0..LEVELS_MAX).filter_map(partial).collect()
}

impl Tiles {
    /// Fetches the tiles on the right edge of a tree that nothing is known of but its head, and proves them.
    pub(super) async fn prove_edge(&self, head: TreeHead) -> Result<Vec<VerifiedTile>, SumDbError> {
        let mut data = HashMap::new();
        for tile in edge(head.size) {
            let bytes = match self.held(tile).await? {
                Some(held) => held,
                None => self.fetch(tile).await?.1,
            };
            data.insert(tile, bytes);
        }
        edge_proven(head, data).await
    }

    /// The tiles on the right edge of a tree as the database has them now, whatever is held; proven, and not kept.
    pub(super) async fn prove_edge_anew(&self, head: TreeHead) -> Result<Vec<VerifiedTile>, SumDbError> {
        self.distrust();
        let fetched = try_join_all(edge(head.size).into_iter().map(|tile| self.fetch(tile))).await?;
        edge_proven(head, fetched.into_iter().collect()).await
    }

    /// A tile of hashes that lies within the tree under `head`; held, or fetched and proven and then held.
    pub(super) async fn proven(&self, head: TreeHead, asked: Tile) -> Result<Bytes, SumDbError> {
        if let Some(held) = self.held(asked).await? {
            return Ok(held);
        }
        // Up to a tile that is held or on the edge …
        let mut path = Vec::new();
        let mut tile = Some(asked);
        let mut known = None;
        while let Some(current) = tile {
            let TileLevel::Hashes(level) = current.level() else { break };
            let whole =
                Tile::new(current.level(), current.index(), width_in_tree(head.size, level, current.index()));
            let Some(whole) = whole else { return Err(unknown(&asked)) };
            if let Some(held) = self.held(whole).await? {
                known = Some((whole, held));
                break;
            }
            if !whole.is_complete() {
                let proven = self.prove_edge(head).await?;
                known =
                    proven.iter().find(|edge| edge.tile == whole).map(|edge| (whole, edge.hashes.clone()));
                self.keep(proven).await?;
                break;
            }
            path.push(whole);
            tile = level.checked_add(1).and_then(|above| {
                let index = whole.index() / u64::from(TILE_WIDTH);
                let within = (whole.index() % u64::from(TILE_WIDTH)) as u32;
                Tile::new(TileLevel::Hashes(above), index, within + 1)
            });
        }
        let Some((_, mut parent)) = known else { return Err(unknown(&asked)) };
        // … and down again, each by its hash in the one above.
        for tile in path.into_iter().rev() {
            let (_, bytes) = self.fetch(tile).await?;
            let within = (tile.index() % u64::from(TILE_WIDTH)) as usize;
            let expected = parent.get(within * Hash::BYTES..(within + 1) * Hash::BYTES);
            let own = complete_hash(&bytes);
            if own.is_none() || own.map(|hash| hash.as_bytes().to_vec()).as_deref() != expected {
                return Err(SumDbError::TileMismatch(Refusal::Tile { tile, size: head.size }));
            }
            self.keep(vec![VerifiedTile { tile, hashes: bytes.clone() }]).await?;
            parent = bytes;
        }
        let length = asked.hash_bytes().unwrap_or(0);
        if parent.len() < length { Err(unknown(&asked)) } else { Ok(parent.slice(..length)) }
    }

    async fn keep(&self, tiles: Vec<VerifiedTile>) -> Result<(), SumDbError> {
        let timeline = Arc::clone(self.timeline());
        blocking(move || timeline.keep(tiles, Vec::new())).await
    }
}

/// Whether the tiles on the right edge make up the tree's hash.
async fn edge_proven(head: TreeHead, data: HashMap<Tile, Bytes>) -> Result<Vec<VerifiedTile>, SumDbError> {
    blocking(move || {
        let reader = EdgeReader { size: head.size, tiles: &data };
        if tree_hash(head.size, &reader) != Ok(head.hash) {
            let refusal = Refusal::EdgeTiles { tiles: edge(head.size), size: head.size };
            return Err(SumDbError::TileMismatch(refusal));
        }
        Ok(data.into_iter().map(|(tile, hashes)| VerifiedTile { tile, hashes }).collect())
    })
    .await
}

fn unknown(tile: &Tile) -> SumDbError {
    SumDbError::NotFound { what: tile.to_string(), detail: String::new() }
}

/// The hash above the hashes of a complete tile; `None` if it is not complete.
fn complete_hash(bytes: &[u8]) -> Option<Hash> {
    let (chunks, rest) = bytes.as_chunks::<{ Hash::BYTES }>();
    if !rest.is_empty() || chunks.len() != TILE_WIDTH as usize {
        return None;
    }
    Some(fold(chunks.iter().map(|chunk| Hash::from_bytes(*chunk)).collect()))
}

/// The hash above a power of two of hashes.
fn fold(mut level: Vec<Hash>) -> Hash {
    while level.len() > 1 {
        level = level.as_chunks().0.iter().map(|&[left, right]| node_hash(left, right)).collect();
    }
    level.first().copied().unwrap_or_else(Hash::of_empty_tree)
}

/// Reads the subtrees that make up a tree from the tiles on its right edge.
struct EdgeReader<'a> {
    size: u64,
    tiles: &'a HashMap<Tile, Bytes>,
}

impl HashReader for EdgeReader<'_> {
    type Error = ();

    fn hashes(&self, nodes: &[Node]) -> Result<Vec<Hash>, ()> {
        nodes.iter().map(|node| self.node(*node).ok_or(())).collect()
    }
}

impl EdgeReader<'_> {
    fn node(&self, node: Node) -> Option<Hash> {
        let (level, within) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
        let first = node.index << within;
        let index = first / u64::from(TILE_WIDTH);
        let tile = Tile::new(TileLevel::Hashes(level), index, width_in_tree(self.size, level, index))?;
        let start = (first % u64::from(TILE_WIDTH)) as usize * Hash::BYTES;
        let bytes = self.tiles.get(&tile)?.get(start..start + (Hash::BYTES << within))?;
        let (chunks, _) = bytes.as_chunks::<{ Hash::BYTES }>();
        Some(fold(chunks.iter().map(|chunk| Hash::from_bytes(*chunk)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_and_edges() {
        assert_eq!(width_in_tree(0, 0, 0), 0);
        assert_eq!(width_in_tree(300, 0, 0), 256);
        assert_eq!(width_in_tree(300, 0, 1), 44);
        assert_eq!(width_in_tree(300, 0, 2), 0);
        assert_eq!(width_in_tree(300, 1, 0), 1);
        assert_eq!(width_in_tree(u64::MAX, 9, 0), 0);
        let paths = |size| edge(size).iter().map(Tile::to_string).collect::<Vec<_>>();
        assert_eq!(paths(0), Vec::<String>::new());
        assert_eq!(paths(256), ["tile/8/1/000.p/1"]);
        assert_eq!(paths(300), ["tile/8/0/001.p/44", "tile/8/1/000.p/1"]);
        assert_eq!(paths(65_536 + 1), ["tile/8/0/256.p/1", "tile/8/2/000.p/1"]);
    }
}
