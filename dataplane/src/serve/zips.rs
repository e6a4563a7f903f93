//! `.zip`: from memory or the store, or joined while it arrives.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use gomod::{ModuleVersion, Request};
use tracing::Instrument as _;

use super::damage::{tell, where_there_is_place};
use super::error::ServeError;
use super::flights::Waiter;
use super::memory::{INLINE_BYTES_MAX, Memory};
use super::prepare;
use super::proxy::{Answer, Asker, Mode, Proxy, forget, key};
use super::ready::{Content, Ready};
use super::spool::Spool;
use super::tag::Cache;
use crate::client;
use crate::store::{BlobId, BlobLease, SetAside, Store, StoreError, ZipManifest};

/// How far the flight of a zip has come.
#[derive(Clone)]
pub(crate) enum ZipStage {
    /// Its bytes arrive; clients may read along.
    Live(Arc<Spool>),
    /// It is stored, or it will not be.
    Done(Result<(Arc<Ready>, Cache), ServeError>),
}

impl Proxy {
    /// Answers `.zip`.
    pub(super) async fn zip(
        self: &Arc<Self>,
        version: ModuleVersion,
        mode: Mode,
        needs_whole: bool,
        asker: Asker,
    ) -> Result<Answer, ServeError> {
        let path = key(&Request::Zip(version.clone()));
        if let Some(ready) = self.layers.memory.ready(&path) {
            if self.begins(&version, &ready).await? {
                return Ok(Answer::Ready { ready, cache: Cache::Hit });
            }
            // Also where it could not be set aside, since the disk takes nothing: what follows is not to find it again.
            self.layers.memory.forget(&path);
        }
        if let Err(refusal) = self.may_fetch(&version.module, &version.to_string(), mode) {
            if let Some(ready) = self.held_zip(&version).await? {
                return Ok(Answer::Ready { ready, cache: Cache::Hit });
            }
            // A node that is to fetch now, by a layout that has just come or because it could not reach this one, need not.
            if asker != Asker::Client
                && let Some(ZipStage::Live(spool)) = self.zips.now(&version)
            {
                return Ok(Answer::Live { length: spool.length(), spool, cache: Cache::Miss });
            }
            let lent = if asker == Asker::Client { self.lent_zip_copy(&version).await? } else { None };
            let (ready, cache) = lent.ok_or(refusal)?;
            return Ok(Answer::Ready { ready, cache });
        }
        let request = Request::Zip(version.clone());
        let lent = asker == Asker::Client && self.is_fetched_elsewhere(&request);
        let waiter = if lent { self.begin_lent_zip(&version) } else { self.begin_own_zip(&version) };
        let stage = if needs_whole {
            waiter.landed_where(|stage| matches!(stage, ZipStage::Done(_))).await
        } else {
            waiter.landed().await
        };
        match stage {
            Some(ZipStage::Live(spool)) => {
                let cache = if lent { Cache::Peer } else { Cache::Miss };
                Ok(Answer::Live { length: spool.length(), spool, cache })
            }
            Some(ZipStage::Done(Ok((ready, cache)))) => Ok(Answer::Ready { ready, cache }),
            Some(ZipStage::Done(Err(error))) => Err(error),
            None => Err(ServeError::Internal { what: "fetch a zip".to_owned() }),
        }
    }

    /// Whether the first bytes of an answer are at hand.
    pub fn begins_in_memory(&self, ready: &Ready) -> bool {
        match &ready.content {
            Content::Small(_) | Content::Shared(_) => true,
            Content::Blob(blob) => self.layers.memory.chunk(blob.lease.blob(), 0).is_some(),
        }
    }

    /// Reads the first chunk of a zip into memory; when it does not verify, the zip is set aside.
    async fn begins(&self, version: &ModuleVersion, ready: &Ready) -> Result<bool, ServeError> {
        let Content::Blob(blob) = &ready.content else { return Ok(true) };
        match self.layers.blobs.read(blob.lease.blob(), 0, &blob.version, blob.size).await {
            Ok(_) => Ok(true),
            Err(error) => {
                tracing::debug!(%version, %error, "the first chunk cannot be read");
                Ok(false)
            }
        }
    }

    /// Whether the zip of `version` is in the store; `true` also when that cannot be told, and nothing should be
    /// fetched on a guess.
    pub(super) async fn holds_zip(&self, version: &ModuleVersion) -> bool {
        self.record(version).await.map_or(true, |record| record.is_some_and(|record| record.zip.is_some()))
    }

    /// Joins or begins the flight for a zip that this node fetches.
    pub(super) fn begin_own_zip(self: &Arc<Self>, version: &ModuleVersion) -> Waiter<ZipStage> {
        let proxy = Arc::clone(self);
        self.zips.join(version, |flight| {
            let span = self.fetch_span(&Request::Zip(version.clone()));
            let version = Arc::new(version.clone());
            let making = async move {
                let live = |spool| flight.land(ZipStage::Live(spool));
                let done = Box::pin(proxy.make_zip(&version, &live)).await;
                flight.land(ZipStage::Done(done));
            };
            client::spawn(making.instrument(span));
        })
    }

    async fn make_zip(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        live: &(dyn Fn(Arc<Spool>) + Send + Sync),
    ) -> Result<(Arc<Ready>, Cache), ServeError> {
        // Between the caller's look into memory and this flight, another one may have landed.
        let request = Request::Zip((**version).clone());
        if let Some(ready) = self.layers.memory.ready(&key(&request)) {
            return Ok((ready, Cache::Hit));
        }
        if let Some(ready) = self.held_zip(version).await? {
            return Ok((ready, Cache::Hit));
        }
        let mut look = self.look(&request);
        if let Some(copy) = self.copied_zip(version, &mut look).await {
            return Ok(copy);
        }
        // Once clients may read along, the flight ends with what the origin sends: who came later would join what has broken off.
        let is_read = AtomicBool::new(false);
        let told = |spool: Arc<Spool>| {
            is_read.store(true, Relaxed);
            live(spool);
        };
        let fetching = async {
            match self.ingest(version, &told).await {
                Err(error) if is_read.load(Relaxed) => Ok(Err(error)),
                fetched => fetched.map(Ok),
            }
        };
        let came = |fetched: &Result<Result<Arc<Ready>, ServeError>, ServeError>| match fetched {
            Ok(Ok(ready)) => Some((Arc::clone(ready), Cache::Miss)),
            Ok(Err(_)) | Err(_) => None,
        };
        match look.beside(Box::pin(self.arriving(&request, fetching, came))).await {
            Ok(Ok(ready)) => {
                self.offer(version);
                Ok((ready, Cache::Miss))
            }
            Err(error) if look.is_open_after(&error) => {
                let copy = self.copied_zip(version, &mut look).await;
                copy.ok_or_else(|| look.told(error))
            }
            Ok(Err(error)) | Err(error) => Err(error),
        }
    }

    /// A zip in the store, made ready and put into memory. One that does not verify is set aside and counts as not
    /// held, so that it is fetched anew; in the place of one that was published another node's copy comes first.
    pub(super) async fn held_zip(
        self: &Arc<Self>,
        version: &ModuleVersion,
    ) -> Result<Option<Arc<Ready>>, ServeError> {
        let removals = self.layers.store.removals();
        // The usual case of a cold zip, which needs no thread to tell.
        if let Some(Ok(record)) = self.layers.store.record_at_hand(version)
            && record.is_none_or(|record| record.zip.is_none())
        {
            return Ok(None);
        }
        let opened = match self.open_held(version).await? {
            Opened::Stays => {
                self.make_whole(version).await?;
                self.open_held(version).await?
            }
            opened @ (Opened::There { .. } | Opened::NotThere) => opened,
        };
        let Opened::There { manifest, lease, first } = opened else { return Ok(None) };
        let private = self.is_private(&version.module);
        let blob = manifest.blob;
        let ready = prepare::zip(&Arc::new(version.clone()), &manifest, lease, Some(first), private);
        self.remember_zip(version, &ready, blob, removals).await;
        Ok(Some(ready))
    }

    /// Opens a zip and reads its first chunk, which tells damage before a head is sent.
    async fn open_held(&self, version: &ModuleVersion) -> Result<Opened, ServeError> {
        let (wanted, memory) = (version.clone(), Arc::clone(&self.layers.memory));
        let (metrics, private) = (Arc::clone(&self.layers.metrics), self.settings.private.clone());
        self.with_store("open a zip", move |store| match open(store, &wanted, &memory) {
            Err(error @ (StoreError::Corrupt { .. } | StoreError::NoChunk { .. })) => {
                let came = where_there_is_place(store.set_aside(&wanted))?;
                if !tell(&came, &private.shown(&wanted.module, &wanted), &error) {
                    return open(store, &wanted, &memory);
                }
                metrics.damaged.inc();
                // Afterwards, so that whoever puts it into memory meanwhile finds that it was removed.
                forget(&memory, &wanted);
                Ok(if matches!(came, SetAside::Stays(_)) { Opened::Stays } else { Opened::NotThere })
            }
            opened => opened,
        })
        .await
    }

    /// Puts a zip into memory. Whoever takes a zip out of the store forgets it once, which may have been before
    /// this: unless nothing left since `removals` was read, before its record was, the record is asked again.
    pub(super) async fn remember_zip(
        &self,
        version: &ModuleVersion,
        ready: &Arc<Ready>,
        blob: BlobId,
        removals: u64,
    ) {
        let path = key(&Request::Zip(version.clone()));
        self.layers.memory.put_ready(&path, Arc::clone(ready));
        if self.layers.store.removals() == removals {
            return;
        }
        let wanted = version.clone();
        let zip = self
            .with_store("look a zip up again", move |store| Ok(store.record(&wanted)?.and_then(|r| r.zip)));
        if zip.await.ok().flatten().is_none_or(|zip| zip.blob != blob) {
            self.layers.memory.forget(&path);
        }
    }
}

/// What came of opening a zip.
enum Opened {
    There {
        manifest: ZipManifest,
        lease: BlobLease,
        first: Bytes,
    },
    NotThere,
    /// It was published and is damaged.
    Stays,
}

fn open(store: &Store, version: &ModuleVersion, memory: &Memory) -> Result<Opened, StoreError> {
    let Some(zip) = store.open_zip(version)? else { return Ok(Opened::NotThere) };
    let manifest = zip.manifest().clone();
    let first = zip.chunk(0)?;
    if manifest.size > INLINE_BYTES_MAX {
        memory.put_chunk(manifest.blob, 0, &first, manifest.size);
    }
    Ok(Opened::There { manifest, lease: zip.lease().clone(), first })
}
