//! Tiles: the log's hashes cut into files that a cache can keep.
//!
//! Owns coordinates, paths and the arithmetic between a node, its tile and that tile's parent. Contents
//! are [`super::verify`]'s. Invariant: a [`Tile`] has a height, level and width within bounds, so its path
//! parses back to it.
//!
//! Source: golang.org/x/mod/sumdb/tlog, `Tile`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::tlog::{Hash, Node};

/// Height of the tiles that the go command asks for and that we verify with.
pub const TILE_HEIGHT: u8 = 8;

/// Hashes in a complete tile of that height.
pub const TILE_WIDTH: u32 = 1 << TILE_HEIGHT;

/// Greatest height of a tile's path. Source: tlog, `ParseTilePath`.
const HEIGHT_MAX: u8 = 30;
/// Greatest level of a tile's path: a tree has fewer than 2^64 records.
const LEVEL_MAX: u8 = 63;
/// Numbers are cut into directories of three digits.
const PATH_BASE: u64 = 1000;
/// Bytes of a path: seven directories hold any 64-bit number.
const PATH_BYTES_MAX: usize = 64;

/// What a tile holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TileLevel {
    /// The records' texts.
    Data,
    /// Hashes of subtrees of height `level × height`.
    Hashes(u8),
}

/// The coordinates of a tile: `width` consecutive hashes (or records) from `index × 2^height` on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tile {
    height: u8,
    level: TileLevel,
    index: u64,
    width: u32,
}

impl Tile {
    /// A tile of the usual height. `None` when the width is none or more than complete, or the level more
    /// than any tree has.
    pub fn new(level: TileLevel, index: u64, width: u32) -> Option<Self> {
        let level_fits = !matches!(level, TileLevel::Hashes(level) if level > LEVEL_MAX);
        let fits = level_fits && (1..=TILE_WIDTH).contains(&width);
        fits.then_some(Self { height: TILE_HEIGHT, level, index, width })
    }

    /// log2 of the hashes in a complete tile of this kind.
    pub fn height(&self) -> u8 {
        self.height
    }

    /// What it holds.
    pub fn level(&self) -> TileLevel {
        self.level
    }

    /// Position within its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or records in it.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Whether nothing can be added to it any more: such a tile never changes.
    pub fn is_complete(&self) -> bool {
        self.width == 1 << self.height
    }

    /// The complete tile that this one will be, or is. A server that has it need not keep this one.
    #[must_use]
    pub fn completed(&self) -> Self {
        Self { width: 1 << self.height, ..*self }
    }

    /// Bytes of a tile of hashes; `None` for records, whose length is not determined.
    pub fn hash_bytes(&self) -> Option<usize> {
        (self.level != TileLevel::Data).then_some(self.width as usize * Hash::BYTES)
    }

    /// Parses a path such as `tile/8/0/x001/234.p/5`; only the one spelling that [`Tile`] displays.
    pub fn parse(path: &str) -> Result<Self, TilePathError> {
        if path.len() > PATH_BYTES_MAX {
            return Err(TilePathError);
        }
        let tile = parse_loosely(path).ok_or(TilePathError)?;
        // Leading zeros, missing groups and the like all show in the comparison.
        if tile.to_string() == path { Ok(tile) } else { Err(TilePathError) }
    }

    /// The tile that holds, or determines, the node's hash in a tree of so many records. `None` when the
    /// tree does not have it.
    pub(super) fn containing(node: Node, tree_size: u64) -> Option<Self> {
        let level = node.level / TILE_HEIGHT;
        let first = node.index << (node.level % TILE_HEIGHT);
        Self::within(level, first / u64::from(TILE_WIDTH), tree_size)
    }

    /// The tile that holds this tile's own hash; only complete tiles have one.
    pub(super) fn parent(&self, tree_size: u64) -> Option<Self> {
        match self.level {
            TileLevel::Hashes(level) if self.is_complete() => {
                Self::within(level + 1, self.index / u64::from(TILE_WIDTH), tree_size)
            }
            TileLevel::Hashes(_) | TileLevel::Data => None,
        }
    }

    /// The widest tile at these coordinates.
    fn within(level: u8, index: u64, tree_size: u64) -> Option<Self> {
        let hashes = tree_size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT))?;
        let left = hashes.checked_sub(index.checked_mul(TILE_WIDTH.into())?)?;
        Self::new(TileLevel::Hashes(level), index, left.min(TILE_WIDTH.into()) as u32)
    }
}

fn parse_loosely(path: &str) -> Option<Tile> {
    let mut rest = path.strip_prefix("tile/")?;
    let mut next = || {
        let (element, tail) = rest.split_once('/')?;
        rest = tail;
        Some(element)
    };
    let height: u8 = next()?.parse().ok().filter(|height| (1..=HEIGHT_MAX).contains(height))?;
    let level = match next()? {
        "data" => TileLevel::Data,
        digits => TileLevel::Hashes(digits.parse().ok().filter(|&level| level <= LEVEL_MAX)?),
    };
    let complete = 1 << height;
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok().filter(|width| (1..complete).contains(width))?),
        None => (rest, complete),
    };
    let mut index: u64 = 0;
    for group in number.split('/') {
        let digits: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index = index.checked_mul(PATH_BASE)?.checked_add(digits)?;
    }
    Some(Tile { height, level, index, width })
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.height)?;
        match self.level {
            TileLevel::Data => f.write_str("data/")?,
            TileLevel::Hashes(level) => write!(f, "{level}/")?,
        }
        let mut divisor = 1;
        while self.index / divisor >= PATH_BASE {
            divisor *= PATH_BASE;
        }
        while divisor > 1 {
            write!(f, "x{:03}/", self.index / divisor % PATH_BASE)?;
            divisor /= PATH_BASE;
        }
        write!(f, "{:03}", self.index % PATH_BASE)?;
        if self.is_complete() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for Tile {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Self, TilePathError> {
        Self::parse(path)
    }
}

/// The path names no tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("tile path is malformed")]
pub struct TilePathError;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        let cases = [
            ("tile/8/0/000", TileLevel::Hashes(0), 0, 256),
            ("tile/8/0/x001/234.p/5", TileLevel::Hashes(0), 1234, 5),
            ("tile/8/data/x001/x234/067", TileLevel::Data, 1_234_067, 256),
            ("tile/8/3/999.p/255", TileLevel::Hashes(3), 999, 255),
            ("tile/8/0/x018/x446/x744/x073/x709/x551/615", TileLevel::Hashes(0), u64::MAX, 256),
        ];
        for (path, level, index, width) in cases {
            let tile = Tile::parse(path).unwrap();
            assert_eq!((tile.level, tile.index, tile.width), (level, index, width), "{path}");
            assert_eq!(tile, Tile::new(level, index, width).unwrap());
        }
        let low = Tile::parse("tile/3/4/x001/x234/067.p/1").unwrap();
        assert_eq!((low.height(), low.hash_bytes()), (3, Some(32)));
        for path in [
            "",
            "tile",
            "tile/8",
            "tile/8/0",
            "tile/8/0/",
            "tile/8/0/0",
            "tile/8/0/00",
            "tile/8/0/0000",
            "tile/8/0/x000",
            "tile/8/0/x000/001",
            "tile/8/0/001/",
            "/tile/8/0/001",
            "tile/08/0/001",
            "tile/8/00/001",
            "tile/8/-1/001",
            "tile/8/+1/001",
            "tile/0/0/001",
            "tile/31/0/001",
            "tile/8/64/001",
            "tile/8/0/1234",
            "tile/8/0/001/234",
            "tile/8/0/001.p/0",
            "tile/8/0/001.p/256",
            "tile/8/0/001.p/01",
            "tile/8/0/001.p",
            "tile/8/0/001.p/",
            "tile/8/0/001.p/5/6",
            "tile/8/0/x018/x446/x744/x073/x709/x551/616",
            "tile/8/0/x001/x234/x067",
            "tile/8/Data/001",
            "tile/8/0/x001/../001",
            "tile/8/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(path), Err(TilePathError), "{path}");
        }
    }

    #[test]
    fn tiles_of_a_tree() {
        let tile = |level, index, width| Tile::new(TileLevel::Hashes(level), index, width);
        let node = |level, index| Node { level, index };
        assert_eq!(Tile::containing(node(0, 0), 1), tile(0, 0, 1));
        assert_eq!(Tile::containing(node(0, 300), 1000), tile(0, 1, 256));
        assert_eq!(Tile::containing(node(3, 96), 1000), tile(0, 3, 232));
        assert_eq!(Tile::containing(node(8, 2), 1000), tile(1, 0, 3));
        assert_eq!(Tile::containing(node(0, 1024), 1000), None);
        assert_eq!(tile(0, 1, 256).unwrap().parent(1000), tile(1, 0, 3));
        assert_eq!(tile(0, 3, 232).unwrap().parent(1000), None);
        assert_eq!(Tile::new(TileLevel::Data, 0, 0), None);
        assert_eq!(Tile::new(TileLevel::Data, 0, 257), None);
        assert_eq!(Tile::new(TileLevel::Hashes(64), 0, 1), None);
    }

    proptest! {
        #[test]
        fn display_parses_back(height in 1_u8..=30, level in 0_u8..=63, data: bool, index: u64, width: u32) {
            let level = if data { TileLevel::Data } else { TileLevel::Hashes(level) };
            let tile = Tile { height, level, index, width: width % (1 << height) + 1 };
            prop_assert_eq!(Tile::parse(&tile.to_string()), Ok(tile));
        }

        #[test]
        fn what_parses_displays_as_itself(path in "tile/[0-9]{1,2}/([0-9]{1,2}|data)/(x?[0-9]{1,3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
            if let Ok(tile) = Tile::parse(&path) {
                prop_assert_eq!(tile.to_string(), path);
            }
        }
    }
}
