//! Taking in what somebody publishes: verified like any zip, stored where nobody sees it until the cluster has bound its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use gomod::dirhash::go_mod_h1;
use gomod::{H1, ModuleVersion, Request, modfile};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::convert::from_store;
use super::error::ServeError;
use super::hasher::Hasher;
use super::overflow::no_room;
use super::proxy::{Proxy, forget, key};
use super::sink::Sink;
use crate::store::{CHUNK_BYTES, CommitError, Patch, Staged, Staging};

/// Versions that may wait, so that a client that never gets to the end of publishing fills no memory.
pub(super) const WAITING_MAX: usize = 10_000;
/// Where a published version says that it came from.
const ORIGIN: &str = "published";

/// What is published, but its zip.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The version.
    pub version: Arc<ModuleVersion>,
    /// The go.mod in its zip; empty if that has none.
    pub go_mod: Bytes,
    /// The length of its zip in bytes.
    pub zip_size: u64,
}

/// What a staged version hashes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagedHashes {
    /// Its zip.
    pub zip: H1,
    /// Its go.mod.
    pub go_mod: H1,
}

/// Why something cannot be published.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StageError {
    /// Public origins may have it, and what they have would win or lose by chance.
    #[error("{0} is not private here: only what no public origin is asked for is published")]
    NotPrivate(String),
    /// It is not a module.
    #[error("{0}")]
    Invalid(String),
    /// The name has other content already.
    #[error("{0}")]
    Conflict(String),
    /// Anything else, as it is told to clients.
    #[error(transparent)]
    Failed(#[from] ServeError),
}

/// What waits, and since when, in µs since the Unix epoch.
pub(crate) type Waiting = BTreeMap<(ModuleVersion, [u8; 32]), i64>;

impl Proxy {
    /// Stores what is published on stable storage, to be shown by [`Self::reveal`].
    pub async fn stage(
        self: &Arc<Self>,
        publication: Publication,
        pieces: impl Stream<Item = Result<Bytes, ServeError>> + Send + Unpin,
    ) -> Result<StagedHashes, StageError> {
        let Publication { version, go_mod, zip_size } = publication;
        let go_mod = if go_mod.is_empty() { modfile::synthesize(&version.module) } else { go_mod };
        if !self.is_private(&version.module) {
            return Err(StageError::NotPrivate(version.module.to_string()));
        }
        modfile::module_line(&go_mod)
            .map_err(|error| StageError::Invalid(format!("its go.mod cannot be read: {error}")))?;
        if self.waiting.lock().len() >= WAITING_MAX {
            return Err(StageError::Failed(ServeError::Unavailable {
                what: version.to_string().into(),
                why: "too many versions wait here for their names to be bound".to_owned(),
                next: "try again later".into(),
            }));
        }
        if zip_size == 0 || zip_size > gomod::zip::ZIP_BYTES_MAX {
            return Err(StageError::Invalid(format!("a zip of {zip_size} bytes is no module")));
        }
        let mut sink = Sink::open(self.places(), Some(zip_size)).await?;
        let (sha256, digests) = self.take_pieces(&version, zip_size, pieces, &mut sink).await?;
        let summary = self.verify_zip(&version, sink.received(), digests).await.map_err(of_zip)?;
        let go_mod_hash = go_mod_h1(&go_mod);
        let belongs = summary
            .go_mod
            .map_or_else(|| go_mod == modfile::synthesize(&version.module), |in_zip| in_zip == go_mod_hash);
        if !belongs {
            return Err(StageError::Invalid("the go.mod is not the one in the zip".to_owned()));
        }
        let hashes = StagedHashes { zip: summary.h1, go_mod: go_mod_hash };
        let wanted = Arc::clone(&version);
        let staging = self.clerk.run(move |store| {
            let Some(sealed) = sink.seal(store, sha256)? else { return Err(StageError::from(no_room())) };
            let patch = Patch {
                go_mod: Some(go_mod),
                go_mod_h1: Some(hashes.go_mod),
                zip: Some((sealed, hashes.zip)),
                origin: ORIGIN.to_owned(),
                ..Patch::default()
            };
            store.stage(&wanted, patch).map_err(of_commit)
        });
        let died = || ServeError::Internal { what: "stage a version".to_owned() };
        if staging.await.ok_or_else(died)?? == Staging::Staged {
            let now_us = self.now_us();
            self.waiting.lock().insert(((*version).clone(), *hashes.zip.as_bytes()), now_us);
        }
        Ok(hashes)
    }

    /// Takes the zip's bytes into `sink`, and hashes them.
    async fn take_pieces(
        &self,
        version: &ModuleVersion,
        zip_size: u64,
        mut pieces: impl Stream<Item = Result<Bytes, ServeError>> + Send + Unpin,
        sink: &mut Sink,
    ) -> Result<super::hasher::Hashes, StageError> {
        let (mut hasher, mut open, mut received) = (Hasher::start(), BytesMut::new(), 0);
        while let Some(piece) = pieces.next().await {
            let mut piece = piece?;
            received += piece.len() as u64;
            if received > zip_size {
                return Err(StageError::Invalid("the zip is longer than was said".to_owned()));
            }
            while !piece.is_empty() {
                open.extend_from_slice(&piece.split_to(piece.len().min(CHUNK_BYTES - open.len())));
                if open.len() < CHUNK_BYTES {
                    break;
                }
                let chunk = std::mem::take(&mut open).freeze();
                let place = self.transit.place().await;
                if !hasher.push(chunk.clone(), place.clone()).await {
                    return hasher.finish(version).await.map_err(of_zip);
                }
                sink.append(chunk).await?;
                drop(place);
                sink.settle().await?;
            }
        }
        if received < zip_size {
            return Err(StageError::Invalid("the zip is shorter than was said".to_owned()));
        }
        if !open.is_empty() {
            let chunk = open.freeze();
            hasher.push(chunk.clone(), None).await;
            sink.append(chunk).await?;
            sink.settle().await?;
        }
        hasher.finish(version).await.map_err(of_zip)
    }

    /// Shows a staged version, whose name is bound to this content since `published_us`, in µs since the Unix epoch. False when it is
    /// not here.
    pub async fn reveal(
        &self,
        version: &ModuleVersion,
        zip_h1: H1,
        published_us: i64,
    ) -> Result<bool, StageError> {
        let info = info_of(version, published_us);
        let (store, wanted) = (Arc::clone(&self.layers.store), version.clone());
        let revealed = tokio::task::spawn_blocking(move || store.reveal(&wanted, zip_h1, info)).await;
        let died = |_| ServeError::Internal { what: "reveal a version".to_owned() };
        let record = revealed.map_err(died)?.map_err(of_commit)?;
        self.waiting.lock().remove(&(version.clone(), *zip_h1.as_bytes()));
        forget(&self.layers.memory, version);
        for request in [Request::List(version.module.clone()), Request::Latest(version.module.clone())] {
            self.layers.memory.forget(&key(&request));
        }
        if record.is_some() {
            self.offer(version);
        }
        Ok(record.is_some())
    }

    /// Gives up what is staged of a version with this content.
    pub async fn unstage(&self, version: &ModuleVersion, zip_h1: H1) -> Result<(), ServeError> {
        let wanted = version.clone();
        self.with_store("give up a staged version", move |store| store.unstage(&wanted, zip_h1)).await?;
        self.waiting.lock().remove(&(version.clone(), *zip_h1.as_bytes()));
        Ok(())
    }

    /// At most `limit` versions that wait for their names to be bound since before `before_us`: the oldest, which may have waited for
    /// long enough, and the newest, which are likely to be bound.
    pub fn waiting(&self, before_us: i64, limit: usize) -> Vec<(ModuleVersion, H1, i64)> {
        let waiting = self.waiting.lock();
        let old = waiting.iter().filter(|(_, since_us)| **since_us < before_us);
        let mut old: Vec<_> = old.collect();
        if old.len() > limit {
            old.sort_unstable_by_key(|(_, since_us)| **since_us);
            old.drain(limit / 2..old.len() - limit.div_ceil(2));
        }
        old.into_iter()
            .map(|((version, h1), since_us)| (version.clone(), H1::from_bytes(*h1), *since_us))
            .collect()
    }

    /// When a version with this content was staged, in µs since the Unix epoch.
    pub fn waits_since(&self, version: &ModuleVersion, zip_h1: H1) -> Option<i64> {
        self.waiting.lock().get(&(version.clone(), *zip_h1.as_bytes())).copied()
    }
}

/// What waited in the store when it was opened.
pub(crate) fn waiting_of(staged: Vec<Staged>) -> Waiting {
    let of = |staged: Staged| {
        let zip_h1 = staged.record.zip_h1?;
        Some(((staged.version, *zip_h1.as_bytes()), staged.record.first_seen_us))
    };
    staged.into_iter().filter_map(of).collect()
}

/// The `.info` of a version that was published at `published_us`.
fn info_of(version: &ModuleVersion, published_us: i64) -> Bytes {
    let seconds = published_us.div_euclid(1_000_000);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let time = time.format(&Rfc3339).unwrap_or_default();
    // Neither a version nor a time has anything that JSON escapes.
    format!("{{\"Version\":\"{}\",\"Time\":\"{time}\"}}", version.version).into()
}

/// A zip that does not verify is the publisher's fault, not an origin's.
fn of_zip(error: ServeError) -> StageError {
    if let ServeError::BadContent { why, .. } = error {
        StageError::Invalid(why)
    } else {
        StageError::Failed(error)
    }
}

fn of_commit(error: CommitError) -> StageError {
    match error {
        CommitError::Conflict { .. } => StageError::Conflict(error.to_string()),
        CommitError::Store(error) if error.takes_nothing() => StageError::Failed(no_room()),
        CommitError::Store(error) => StageError::Failed(from_store("stage a version", &error)),
    }
}
