//! Owns the answers to clients under `/sumdb/`.
//!
//! Every lookup is answered with this server's own newest head, so that a client has one head to reconcile, and everything
//! that it needs for that is held here. Invariant: nothing unverified is served, and only the configured database.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gomod::sumdb::{Refusal, SignedHead, Tile, TileLevel, TreeHead, record_hash};
use gomod::{ModulePath, ModuleVersion, Version};

use super::database::{Reach, Record, SumDb};
use super::error::SumDbError;
use super::prove::width_in_tree;
use super::records;
use super::tiles::blocking;

/// Text answers.
const TEXT: &str = "text/plain; charset=utf-8";
/// Tiles of hashes.
const BINARY: &str = "application/octet-stream";

/// How long `supported` may be cached.
const SUPPORTED_LIFETIME: Duration = Duration::from_hours(1);
/// How long a head may be cached.
const HEAD_LIFETIME: Duration = Duration::from_mins(1);
/// How long a lookup may be cached: an older head still verifies, but a client that has seen a newer one then needs tiles
/// that lead from one to the other. The public database says three hours.
const LOOKUP_LIFETIME: Duration = Duration::from_hours(1);
/// How long a partial tile may be cached: it never changes, but is asked for only while the tree has this size.
const PARTIAL_LIFETIME: Duration = Duration::from_hours(1);
/// How long a lookup is given with the head that it was made with, before it is made with the newest one. A client gets by
/// with either, and what leads from one head to the next is held.
const LOOKUP_REUSE: Duration = Duration::from_mins(1);
/// How long a complete tile may be cached: for ever.
const COMPLETE_LIFETIME: Duration = Duration::from_hours(365 * 24);

/// A good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumAnswer {
    /// The whole body.
    pub body: Bytes,
    /// For `Content-Type`.
    pub content_type: &'static str,
    /// For `Cache-Control: max-age`.
    pub cache_lifetime: Duration,
    /// How long these bytes are as good as those of a new answer; zero if they are cheap to make and age at once.
    pub reuse: Duration,
    /// Whether the database had to be asked.
    pub fetched: bool,
}

impl SumAnswer {
    /// An answer that is made of what is in memory.
    fn at_hand(body: Bytes, cache_lifetime: Duration) -> Self {
        Self { body, content_type: TEXT, cache_lifetime, reuse: Duration::ZERO, fetched: false }
    }
}

impl SumDb {
    /// Answers `path`, percent-decoded, as it stands after `/sumdb/`: the database's name, then `supported`, `latest`,
    /// `lookup/…` or `tile/…`.
    pub async fn serve(&self, path: &str, reach: Reach) -> Result<SumAnswer, SumDbError> {
        let (request, answer) = self.answer(path, reach).await;
        self.inner.heed(&answer);
        self.inner.metrics.finished(request, &answer);
        answer
    }

    pub(super) async fn answer(
        &self,
        path: &str,
        reach: Reach,
    ) -> (&'static str, Result<SumAnswer, SumDbError>) {
        // A database's name may hold slashes, so it is not cut off but compared.
        let Some(path) = path.strip_prefix(self.name()).and_then(|rest| rest.strip_prefix('/')) else {
            return ("other", Err(SumDbError::UnknownDatabase));
        };
        if path == "supported" {
            return ("supported", Ok(SumAnswer::at_hand(Bytes::new(), SUPPORTED_LIFETIME)));
        }
        if path == "latest" {
            return ("latest", self.serve_latest(reach).await);
        }
        if let Some(asked) = path.strip_prefix("lookup/") {
            return ("lookup", self.serve_lookup(asked, reach).await);
        }
        if path.starts_with("tile/") {
            return ("tile", self.serve_tile(path, reach).await);
        }
        ("other", Err(SumDbError::UnknownPath))
    }

    async fn serve_latest(&self, reach: Reach) -> Result<SumAnswer, SumDbError> {
        if !self.inner.offline && reach == Reach::Database {
            let refreshed = self.inner.refresh_head(false).await;
            if let Err(error) = refreshed {
                if self.head().is_none() {
                    return Err(error);
                }
                tracing::debug!(%error, "serving the tree head that is held");
            }
        }
        let head = self.head_or_refusal(reach)?;
        let body = Bytes::copy_from_slice(head.note().as_bytes());
        Ok(SumAnswer::at_hand(body, HEAD_LIFETIME))
    }

    /// The head held; there is one as soon as a record is held.
    fn head_or_refusal(&self, reach: Reach) -> Result<Arc<SignedHead>, SumDbError> {
        if let Some(head) = self.head() {
            return Ok(head);
        }
        self.may_ask(reach, || "the tree head".to_owned())?;
        Err(SumDbError::NotFound { what: "its tree head".to_owned(), detail: String::new() })
    }

    async fn serve_lookup(&self, asked: &str, reach: Reach) -> Result<SumAnswer, SumDbError> {
        let version = asked
            .split_once('@')
            .and_then(|(module, version)| {
                let (module, version) =
                    (ModulePath::unescape(module).ok()?, Version::unescape(version).ok()?);
                ModuleVersion::new(module, version).ok()
            })
            .ok_or(SumDbError::UnknownPath)?;
        let Record { text, fetched } = self.record(&version, reach).await?;
        let head = self.head_or_refusal(reach)?;
        let body = [text.as_ref(), head.note().as_bytes()].concat();
        Ok(SumAnswer { reuse: LOOKUP_REUSE, fetched, ..SumAnswer::at_hand(body.into(), LOOKUP_LIFETIME) })
    }

    async fn serve_tile(&self, path: &str, reach: Reach) -> Result<SumAnswer, SumDbError> {
        let tile = Tile::parse(path).map_err(|_| SumDbError::UnknownPath)?;
        // The go command asks for tiles of this height alone, and others could only be made, not fetched.
        if tile.height() != gomod::sumdb::TILE_HEIGHT {
            return Err(SumDbError::UnknownPath);
        }
        let cache_lifetime = if tile.is_complete() { COMPLETE_LIFETIME } else { PARTIAL_LIFETIME };
        let (content_type, held) = match tile.level() {
            TileLevel::Hashes(_) => (BINARY, self.inner.tiles.held(tile).await?),
            TileLevel::Data => (TEXT, self.held_data(tile).await?),
        };
        let fetched = held.is_none();
        let body = match (held, tile.level()) {
            (Some(held), _) => held,
            (None, level) => {
                self.may_ask(reach, || tile.to_string())?;
                match level {
                    TileLevel::Hashes(level) => {
                        let head = self.head_with(tile, level).await?;
                        self.inner.tiles.proven(head, tile).await?
                    }
                    TileLevel::Data => self.fetch_data(tile).await?,
                }
            }
        };
        Ok(SumAnswer { body, content_type, cache_lifetime, reuse: cache_lifetime, fetched })
    }

    /// The newest head, under which the tile exists; sought anew if a client has seen a newer one than we have.
    async fn head_with(&self, tile: Tile, level: u8) -> Result<TreeHead, SumDbError> {
        let within = || {
            let head = self.head().map(|head| *head.head());
            head.filter(|head| width_in_tree(head.size, level, tile.index()) >= tile.width())
        };
        if let Some(head) = within() {
            return Ok(head);
        }
        // Most likely from another node, with a record that was looked up there a moment ago: the database's own latest head may be older.
        self.inner.follow_others().await;
        if let Some(head) = within() {
            return Ok(head);
        }
        self.inner.refresh_head(true).await?;
        within().ok_or_else(|| SumDbError::NotFound { what: tile.to_string(), detail: String::new() })
    }

    /// The held part of a data tile, if it has as many records.
    async fn held_data(&self, tile: Tile) -> Result<Option<Bytes>, SumDbError> {
        let held = self.inner.tiles.get(self.inner.tiles.keys().tile(&tile)).await?;
        Ok(held.and_then(|held| {
            let (length, _) = records::split(&held, tile.width() as usize)?;
            Some(held.slice(..length))
        }))
    }

    /// The records of a data tile, each proven by its hash.
    async fn fetch_data(&self, tile: Tile) -> Result<Bytes, SumDbError> {
        let count = tile.width() as usize;
        let tiles = &self.inner.tiles;
        let key = tiles.keys().tile(&tile);
        let unknown = || SumDbError::NotFound { what: tile.to_string(), detail: String::new() };
        let leaves = Tile::new(TileLevel::Hashes(0), tile.index(), tile.width()).ok_or_else(unknown)?;
        let head = self.head_with(leaves, 0).await?;
        let hashes = tiles.proven(head, leaves).await?;
        let data = match tiles.fetch_path(&tile.to_string()).await {
            Err(SumDbError::NotFound { .. }) if !tile.is_complete() => {
                tiles.fetch_path(&tile.completed().to_string()).await?
            }
            other => other?,
        };
        let first = tile.index().saturating_mul(u64::from(gomod::sumdb::TILE_WIDTH));
        let timeline = Arc::clone(tiles.timeline());
        blocking(move || {
            let refused = |id| SumDbError::RecordMismatch(Refusal::Record { id });
            let (length, records) = records::split(&data, count).ok_or_else(|| refused(first))?;
            let (expected, _) = hashes.as_chunks::<32>();
            for (number, (record, hash)) in records.iter().zip(expected).enumerate() {
                if record_hash(record).as_bytes() != hash {
                    return Err(refused(first + number as u64));
                }
            }
            let body = data.slice(..length);
            if tile.is_complete() {
                timeline.keep(Vec::new(), vec![(key, body.clone())])?;
            }
            Ok(body)
        })
        .await
    }
}
