//! Owns fetching tiles and running proofs that ask for more of them.
//!
//! Invariant: a fetched tile is a claim until a proof has accepted it; only what a proof hands back is kept.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use gomod::sumdb::{Refusal, Step, Tile, TileSource};

use super::error::SumDbError;
use super::flight::Flight;
use super::head::Timeline;
use super::store::{Keys, SumStore};
use super::transport::SumTransport;
use crate::client::Client;
use crate::upstream::{FetchError, SumSource};

/// Rounds of fetching tiles in one proof; two are needed.
const ROUNDS_MAX: usize = 8;

/// Tiles, held and fetched.
#[derive(Debug)]
pub(super) struct Tiles {
    timeline: Arc<Timeline>,
    store: Arc<dyn SumStore>,
    keys: Keys,
    transport: Arc<dyn SumTransport>,
    source: SumSource,
    offline: bool,
    /// By tile and by whom it is fetched for: nobody waits for another one's turn who looks up something else.
    fetching: Flight<(Option<Client>, Tile), Result<Bytes, SumDbError>>,
}

/// A proof that came to nothing.
#[derive(Debug)]
pub(super) enum Unproven {
    /// It was refused.
    Refused(Refusal),
    /// It could not be brought to its end.
    Failed(SumDbError),
}

impl From<SumDbError> for Unproven {
    fn from(error: SumDbError) -> Self {
        Self::Failed(error)
    }
}

impl Tiles {
    pub(super) fn new(
        timeline: Arc<Timeline>,
        store: Arc<dyn SumStore>,
        transport: Arc<dyn SumTransport>,
        source: SumSource,
        offline: bool,
    ) -> Self {
        let keys = Keys::new(&source.name);
        Self { timeline, store, keys, transport, source, offline, fetching: Flight::new() }
    }

    pub(super) fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Runs a proof on the tiles held, fetching the others that it asks for, until it has decided.
    pub(super) async fn settle<T: Send + 'static>(
        &self,
        proof: impl Fn(&dyn TileSource) -> Result<T, Step> + Send + Sync + 'static,
    ) -> Result<T, Unproven> {
        self.settle_on(Some(&self.store), proof).await
    }

    /// Runs a proof on what the database says now, whatever is held.
    pub(super) async fn settle_anew<T: Send + 'static>(
        &self,
        proof: impl Fn(&dyn TileSource) -> Result<T, Step> + Send + Sync + 'static,
    ) -> Result<T, Unproven> {
        self.transport.distrust();
        self.settle_on(None, proof).await
    }

    async fn settle_on<T: Send + 'static>(
        &self,
        store: Option<&Arc<dyn SumStore>>,
        proof: impl Fn(&dyn TileSource) -> Result<T, Step> + Send + Sync + 'static,
    ) -> Result<T, Unproven> {
        let proof = Arc::new(proof);
        let mut fetched: HashMap<Tile, Bytes> = HashMap::new();
        for _ in 0..ROUNDS_MAX {
            let source = AtHand { store: store.cloned(), keys: self.keys.clone(), fetched };
            let run = Arc::clone(&proof);
            // Reads the store and hashes a few hundred KiB: not for an async thread.
            let (decided, held) = blocking(move || Ok((run(&source), source.fetched))).await?;
            fetched = held;
            match decided {
                Ok(done) => return Ok(done),
                Err(Step::Refused(refusal)) => return Err(Unproven::Refused(refusal)),
                Err(Step::Need(tiles)) => {
                    let got = try_join_all(tiles.into_iter().map(|tile| self.fetch(tile))).await?;
                    fetched.extend(got);
                }
            }
        }
        // The same tiles again and again: what comes for them is of no use.
        let size = self.timeline.newest().map_or(0, |head| head.head().size);
        Err(Unproven::Refused(Refusal::EdgeTiles { tiles: fetched.into_keys().collect(), size }))
    }

    /// The held part of a tile, if it is at least as wide.
    pub(super) async fn held(&self, tile: Tile) -> Result<Option<Bytes>, SumDbError> {
        let Some(length) = tile.hash_bytes() else { return Ok(None) };
        let held = self.get(self.keys.tile(&tile)).await?;
        Ok(held.filter(|held| held.len() >= length).map(|held| held.slice(..length)))
    }

    /// Reads the store.
    pub(super) async fn get(&self, key: String) -> Result<Option<Bytes>, SumDbError> {
        let store = Arc::clone(&self.store);
        blocking(move || Ok(store.get_replaceable(&key))).await
    }

    /// Fetches a tile of hashes, not yet verified; of a partial tile that is no longer there, the beginning of the
    /// complete one (golang.org/x/mod/sumdb, `Client.readTile`).
    pub(super) async fn fetch(&self, tile: Tile) -> Result<(Tile, Bytes), SumDbError> {
        let fetched = self.fetching.run((Client::current(), tile), self.fetch_wide(tile)).await;
        fetched.map(|bytes| (tile, bytes)).map_err(|error| error.tile_missing(&self.source.name))
    }

    async fn fetch_wide(&self, tile: Tile) -> Result<Bytes, SumDbError> {
        let found = match self.fetch_path(&tile.to_string()).await {
            Err(SumDbError::NotFound { .. }) if !tile.is_complete() => {
                self.fetch_path(&tile.completed().to_string()).await?
            }
            other => other?,
        };
        let length = tile.hash_bytes().unwrap_or(found.len()).min(found.len());
        Ok(found.slice(..length))
    }

    /// Something that came was not true.
    pub(super) fn distrust(&self) {
        self.transport.distrust();
    }

    /// Whether others may hold what is not held here.
    pub(super) fn has_others(&self) -> bool {
        self.transport.has_others()
    }

    /// What others hold, as unverified as what is fetched.
    pub(super) async fn borrow(&self, path: &str) -> Vec<Bytes> {
        self.transport.borrow(path).await
    }

    /// Asks the database, or where that cannot be asked those who may hold its answer.
    pub(super) async fn fetch_path(&self, path: &str) -> Result<Bytes, SumDbError> {
        let error = if self.offline {
            SumDbError::Offline { what: path.to_owned() }
        } else {
            self.timeline.check_alarm()?;
            let fetched = self.transport.fetch(&self.source, path).await;
            match fetched.map_err(|error: FetchError| SumDbError::fetch(error, path)) {
                Err(error) if error.is_outage() => error,
                told => return told,
            }
        };
        self.borrow(path).await.into_iter().next().ok_or(error)
    }
}

/// Tiles at hand during a proof.
struct AtHand {
    /// Of those held, if they are to be used.
    store: Option<Arc<dyn SumStore>>,
    keys: Keys,
    fetched: HashMap<Tile, Bytes>,
}

impl TileSource for AtHand {
    fn tile(&self, tile: &Tile) -> Option<Bytes> {
        if let Some(fetched) = self.fetched.get(tile) {
            return Some(fetched.clone());
        }
        let held = self.store.as_ref()?.get_replaceable(&self.keys.tile(tile))?;
        let length = tile.hash_bytes()?;
        (held.len() >= length).then(|| held.slice(..length))
    }
}

/// Runs `work` on a blocking thread; it goes on to its end even if nobody waits for it any more.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SumDbError> + Send + 'static,
) -> Result<T, SumDbError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join) => Err(super::store::SumStoreError(Box::new(join)).into()),
    }
}
