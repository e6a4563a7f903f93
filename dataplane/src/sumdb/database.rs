//! Owns the answer to "which hashes does the checksum database have for this module version".
//!
//! Invariant: a record is kept only with the proof that the log has it, and under a head on our timeline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::Clock;
use gomod::sumdb::{Accepted, Lookup, SignedHead, check_lookup};
use gomod::{GlobPatterns, H1, ModulePath, ModuleVersion};
use parking_lot::Mutex;

use super::error::{SumDbError, SumDbOpenError};
use super::flight::Flight;
use super::head::{Adopted, Fork, Timeline, merge};
use super::metrics::SumDbMetrics;
use super::spec::Database;
use super::store::SumStore;
use super::tiles::{Tiles, blocking};
use super::transport::SumTransport;
use crate::client;

/// How old the newest head may be before `latest` asks the database again.
const HEAD_FRESH: Duration = Duration::from_mins(1);
/// How often a head that a client has seen and we have not makes us ask at most.
const HEAD_SOUGHT_AGAIN: Duration = Duration::from_secs(2);

/// Settings of a [`SumDb`].
#[derive(Debug, Clone, Default)]
pub struct SumDbOptions {
    /// Modules that the database is never asked about, by us or for a client.
    pub no_sumdb: GlobPatterns,
    /// Modules that no public service may hear of, whatever `no_sumdb` says.
    pub private: GlobPatterns,
    /// Answer from what is held, fetch nothing.
    pub offline: bool,
}

/// How far an answer may be sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Among what is held.
    Held,
    /// At the database as well.
    Database,
}

/// The hashes that the database has for a module version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SumHashes {
    /// Of the zip.
    pub zip: Option<H1>,
    /// Of the go.mod alone.
    pub go_mod: Option<H1>,
}

/// A verified record, number first, without a tree head.
pub(super) struct Record {
    pub(super) text: Bytes,
    /// Whether the database had to be asked for it.
    pub(super) fetched: bool,
}

/// A checksum database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SumDb {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) name: String,
    pub(super) tiles: Tiles,
    pub(super) offline: bool,
    pub(super) metrics: SumDbMetrics,
    no_sumdb: GlobPatterns,
    private: GlobPatterns,
    clock: Arc<dyn Clock>,
    lookups: Flight<String, Result<Bytes, SumDbError>>,
    heads: Flight<(), Result<(), SumDbError>>,
    heads_of_others: Flight<(), ()>,
    /// When the database was last asked for its latest head.
    asked_for_head: Mutex<Option<std::time::Instant>>,
}

impl SumDb {
    /// Takes up what is kept of `database`. Blocks.
    pub fn open(
        database: &Database,
        options: SumDbOptions,
        transport: Arc<dyn SumTransport>,
        store: Arc<dyn SumStore>,
        clock: Arc<dyn Clock>,
        metrics: SumDbMetrics,
    ) -> Result<Self, SumDbOpenError> {
        let timeline = Arc::new(Timeline::open(database.key.clone(), Arc::clone(&store), metrics.clone())?);
        let source = database.source();
        let name = source.name.clone();
        let inner = Inner {
            name,
            tiles: Tiles::new(timeline, store, transport, source, options.offline),
            offline: options.offline,
            metrics,
            no_sumdb: options.no_sumdb,
            private: options.private,
            clock,
            lookups: Flight::new(),
            heads: Flight::new(),
            heads_of_others: Flight::new(),
            asked_for_head: Mutex::new(None),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The database's name, as in its signatures.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Whether the database is asked about `module`. Toolchains always are, as the go command does
    /// (`cmd/go/internal/modfetch.useSumDB`).
    pub fn covers(&self, module: &ModulePath) -> bool {
        module.is_toolchain() || !(self.inner.private.matches(module) || self.inner.no_sumdb.matches(module))
    }

    /// The verified hashes of a module version: from what is held, else from the database.
    pub async fn hashes(&self, version: &ModuleVersion) -> Result<SumHashes, SumDbError> {
        let hashes = self.find_hashes(version, Reach::Database).await;
        self.inner.heed(&hashes);
        self.inner.metrics.finished("hashes", &hashes);
        hashes
    }

    /// The same of what is held alone; [`None`] where the database would have to be asked.
    pub async fn held_hashes(&self, version: &ModuleVersion) -> Result<Option<SumHashes>, SumDbError> {
        match self.find_hashes(version, Reach::Held).await {
            Ok(hashes) => Ok(Some(hashes)),
            Err(SumDbError::NotHeld { .. } | SumDbError::Offline { .. } | SumDbError::Private) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find_hashes(&self, version: &ModuleVersion, reach: Reach) -> Result<SumHashes, SumDbError> {
        let record = self.record(version, reach).await?.text;
        let refused = |error| SumDbError::refused(gomod::sumdb::Refusal::Lookup(error), Some(version));
        let hashes = Lookup::parse(&record).and_then(|lookup| lookup.hashes(version)).map_err(refused)?;
        Ok(SumHashes { zip: Some(hashes.zip), go_mod: Some(hashes.go_mod) })
    }

    /// The record of a module version. Afterwards there is a head.
    pub(super) async fn record(&self, version: &ModuleVersion, reach: Reach) -> Result<Record, SumDbError> {
        if !self.covers(&version.module) {
            return Err(SumDbError::Private);
        }
        let path = format!("lookup/{}@{}", version.module.escaped(), version.version.escaped());
        let key = self.inner.tiles.keys().lookup(&path);
        if let Some(text) = self.inner.tiles.get(key.clone()).await? {
            return Ok(Record { text, fetched: false });
        }
        self.may_ask(reach, || format!("the record of {version}"))?;
        let text = self.inner.lookups.run(path.clone(), self.inner.look_up(version, &path, key)).await?;
        Ok(Record { text, fetched: true })
    }

    /// Whether the database may be asked for `what`, which is not held.
    pub(super) fn may_ask(&self, reach: Reach, what: impl FnOnce() -> String) -> Result<(), SumDbError> {
        if self.inner.offline && !self.inner.tiles.has_others() {
            return Err(SumDbError::Offline { what: what() });
        }
        match reach {
            Reach::Database => Ok(()),
            Reach::Held => Err(SumDbError::NotHeld { what: what() }),
        }
    }

    /// What is held at `path`, as [`Self::serve`] takes it, for another node.
    pub(crate) async fn lend(&self, path: &str) -> Option<Bytes> {
        self.answer(path, Reach::Held).await.1.ok().map(|answer| answer.body)
    }

    /// The newest verified head, as it was signed.
    pub(super) fn head(&self) -> Option<Arc<SignedHead>> {
        self.inner.tiles.timeline().newest()
    }

    /// The two contradicting tree heads, while the alarm about them is raised. Blocks.
    pub fn fork(&self) -> Result<Option<Fork>, SumDbError> {
        self.inner.tiles.timeline().fork()
    }

    /// Ends the alarm, after an operator has looked into it; both heads stay in the store. Blocks.
    pub fn clear_fork(&self) -> Result<(), SumDbError> {
        self.inner.tiles.timeline().clear()
    }
}

impl Inner {
    /// Where something that came was not true, no more of the kind is believed.
    pub(super) fn heed<T>(&self, answer: &Result<T, SumDbError>) {
        match answer {
            Err(
                SumDbError::BadSignature(_)
                | SumDbError::Fork
                | SumDbError::TileMismatch(_)
                | SumDbError::RecordMismatch(_)
                | SumDbError::Unrelated { .. }
                | SumDbError::Malformed(_),
            ) => self.tiles.distrust(),
            Err(
                SumDbError::NotFound { .. }
                | SumDbError::UnknownDatabase
                | SumDbError::UnknownPath
                | SumDbError::NotHeld { .. }
                | SumDbError::Private
                | SumDbError::Unavailable(_)
                | SumDbError::Offline { .. }
                | SumDbError::Store(_),
            )
            | Ok(_) => {}
        }
    }

    async fn look_up(&self, version: &ModuleVersion, path: &str, key: String) -> Result<Bytes, SumDbError> {
        let timeline = self.tiles.timeline();
        timeline.check_alarm()?;
        let answer = match self.tiles.fetch_path(path).await {
            Err(SumDbError::NotFound { detail, .. }) => {
                return Err(SumDbError::NotFound { what: version.to_string(), detail });
            }
            other => other?,
        };
        let mut alone = None;
        loop {
            let known = timeline.newest();
            let checked = {
                let (answer, version, known) = (answer.clone(), version.clone(), known.clone());
                let verifier = timeline.key().clone();
                let proof = move |source: &dyn gomod::sumdb::TileSource| {
                    check_lookup(&answer, &version, &verifier, known.as_deref(), source)
                };
                let settling = self.tiles.settle(proof);
                // While this is alone all others wait, and not for its client's turn.
                if alone.is_some() { client::for_nobody(settling).await } else { settling.await }
            };
            let Accepted { lookup, newest, tiles, .. } = match checked {
                Ok(accepted) => accepted,
                Err(refused) => {
                    let note = Lookup::parse(&answer).map(|lookup| lookup.note).unwrap_or_default();
                    return Err(self.tiles.judge(refused, Some(version), known, note.as_bytes()).await);
                }
            };
            let record = Lookup::render(lookup.id, &lookup.record, "");
            let pairs = vec![(key.clone(), record.clone())];
            let adopted = {
                let timeline = Arc::clone(timeline);
                blocking(move || timeline.adopt(known.as_ref(), newest, tiles, pairs)).await?
            };
            match adopted {
                Adopted::Yes => return Ok(record),
                Adopted::Overtaken => {
                    if alone.is_none() {
                        alone = Some(timeline.alone().await);
                    }
                }
            }
        }
    }

    /// Takes over what others have of newer heads, as far as it proves true: what a client has from one of them it may ask of this one.
    pub(super) async fn follow_others(&self) {
        let following = async {
            for note in self.tiles.borrow("latest").await {
                if let Err(error) = merge(&self.tiles, note).await {
                    tracing::debug!(%error, "another node's tree head is not taken over");
                }
            }
        };
        self.heads_of_others.run((), client::for_nobody(following)).await;
    }

    /// Asks the database for its latest head, unless that was done just now.
    pub(super) async fn refresh_head(&self, urgent: bool) -> Result<(), SumDbError> {
        let again_after = if urgent { HEAD_SOUGHT_AGAIN } else { HEAD_FRESH };
        let now = self.clock.monotonic();
        let asked = *self.asked_for_head.lock();
        if asked.is_some_and(|asked| now.saturating_duration_since(asked) < again_after) {
            return Ok(());
        }
        let refreshing = async {
            let note = self.tiles.fetch_path("latest").await?;
            merge(&self.tiles, note).await?;
            *self.asked_for_head.lock() = Some(self.clock.monotonic());
            Ok(())
        };
        // All wait for it, so that it has to wait for nobody's own turn.
        self.heads.run((), client::for_nobody(refreshing)).await
    }
}
