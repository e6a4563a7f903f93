//! Zips that another node lends: read along as they come, verified by the hash that the lender gives for the whole, kept here.
//!
//! Invariants: the tail of a lent zip leaves for clients as that of a fetched one does, when all bytes are known to be right; nothing
//! that a node sends is left unread while something is waited for, since that would hold up whatever else it sends here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cluster::NodeName;
use gomod::{ModuleVersion, Request};
use proto::data::v1::Refusal;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::checks::Part;
use super::error::ServeError;
use super::flights::Waiter;
use super::lend::{Errand, Lent};
use super::lend_places::{Place, Places};
use super::lender::{End, Lender, Otherwise, wrong};
use super::lent_texts::Held;
use super::look::Look;
use super::proof::Proof;
use super::proxy::{Mode, Proxy, key};
use super::ready::{Content, Etag, Ready};
use super::sink::Sink;
use super::spool::Spool;
use super::tag::Cache;
use super::zips::ZipStage;
use crate::client;
use crate::http::ByteSource;
use crate::peers::{Effort, Exchange};
use crate::store::{CHUNK_BYTES, Class, Verified};

/// Bytes of a zip that a node may announce: more than any module may have.
const SIZE_MAX: u64 = gomod::zip::ZIP_BYTES_MAX;

/// How long what a node sends is left unread while there is no room for it: less than others take for silence, and more than a busy disk
/// takes to begin a blob.
const UNREAD_MAX: Duration = Duration::from_secs(2);
/// Bytes that are hashed in a few microseconds.
const HASHED_AT_ONCE_MAX: usize = 16 << 10;

type Live<'a> = &'a (dyn Fn(Arc<Spool>) + Send + Sync);

/// A zip that a node sends, and a place to take it in.
pub(super) struct Placed {
    size: u64,
    exchange: Exchange,
    place: Place,
}

/// What `ask` gets, when there is one of the `places` for it. What has begun to come while there is none is let go of and asked for again.
async fn placed<F>(places: &Places, ask: impl Fn() -> F) -> Result<Option<Placed>, ServeError>
where
    F: Future<Output = Result<Option<Lent>, ServeError>>,
{
    let Some(lent) = ask().await? else { return Ok(None) };
    let (lent, place) = if let Some(place) = places.free() {
        (lent, place)
    } else {
        drop(lent);
        let place = places.wait().await.map_err(|_| closed())?;
        let Some(lent) = ask().await? else { return Ok(None) };
        (lent, place)
    };
    match lent {
        Lent::Zip { size, exchange } => Ok(Some(Placed { size, exchange, place })),
        Lent::Whole(_) => Err(ServeError::Internal { what: "take in a zip that is a text".to_owned() }),
    }
}

fn closed() -> ServeError {
    ServeError::Internal { what: "wait for a place".to_owned() }
}

impl Proxy {
    /// Joins or begins the flight that asks other nodes for a zip.
    pub(super) fn begin_lent_zip(self: &Arc<Self>, version: &ModuleVersion) -> Waiter<ZipStage> {
        let proxy = Arc::clone(self);
        self.lent_zips.join(version, |flight| {
            let span = self.fetch_span(&Request::Zip(version.clone()));
            let version = Arc::new(version.clone());
            let making = async move {
                let live = |spool| flight.land(ZipStage::Live(spool));
                let done = Box::pin(proxy.make_lent_zip(&version, &live)).await;
                flight.land(ZipStage::Done(done));
            };
            client::spawn(making.instrument(span));
        })
    }

    async fn make_lent_zip(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        live: Live<'_>,
    ) -> Result<(Arc<Ready>, Cache), ServeError> {
        let request = Request::Zip((**version).clone());
        if let Some(ready) = self.layers.memory.ready(&key(&request)) {
            return Ok((ready, Cache::Hit));
        }
        if let Some(ready) = self.held_zip(version).await? {
            return Ok((ready, Cache::Hit));
        }
        let borrowed = || self.borrow(Errand::whole(&request, Mode::Fetch));
        let Some(placed) = placed(&self.lends.flights, borrowed).await? else {
            return self.make_own_zip(version, live).await;
        };
        let is_read = AtomicBool::new(false);
        let told = |spool: Arc<Spool>| {
            is_read.store(true, Relaxed);
            live(spool);
        };
        match self.keep_lent_zip(version, placed, Otherwise::FetchHere, &told).await {
            Ok(ready) => Ok((ready, Cache::Peer)),
            Err(error @ ServeError::BadContent { .. }) if !is_read.load(Relaxed) => {
                let shown = |what| self.shown(&version.module, what);
                tracing::warn!(version = %shown(version.as_ref()), error = %shown(&error), "what another node sent is of no use");
                self.make_own_zip(version, live).await
            }
            Err(error) => Err(error),
        }
    }

    /// Joins or begins the flight for a zip that this node fetches after all.
    async fn make_own_zip(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        live: Live<'_>,
    ) -> Result<(Arc<Ready>, Cache), ServeError> {
        match self.begin_own_zip(version).landed().await {
            Some(ZipStage::Done(done)) => done,
            Some(ZipStage::Live(spool)) => {
                live(Arc::clone(&spool));
                self.own_zip(version).await
            }
            None => Err(lost(version)),
        }
    }

    /// A zip that this node fetches, when it is there.
    pub(super) async fn own_zip(
        self: &Arc<Self>,
        version: &ModuleVersion,
    ) -> Result<(Arc<Ready>, Cache), ServeError> {
        let done = self.begin_own_zip(version).landed_where(|stage| matches!(stage, ZipStage::Done(_)));
        match done.await {
            Some(ZipStage::Done(done)) => done,
            Some(ZipStage::Live(_)) | None => Err(lost(version)),
        }
    }

    /// What another node holds of a zip, where nothing may be fetched. One flight for all who ask.
    pub(super) async fn lent_zip_copy(
        self: &Arc<Self>,
        version: &ModuleVersion,
    ) -> Result<Option<Held>, ServeError> {
        let request = Request::Zip(version.clone());
        let (proxy, version) = (Arc::clone(self), Arc::new(version.clone()));
        let wanted = Arc::clone(&version);
        let waiter = self.lent_copies.join(&request, |flight| {
            let making = async move {
                let landed = Box::pin(proxy.make_lent_copy(&version)).await;
                flight.land(landed.map(|ready| ready.map(|ready| (ready, Cache::Peer))));
            };
            client::spawn(making.in_current_span());
        });
        waiter.landed().await.unwrap_or_else(|| Err(lost(&wanted)))
    }

    async fn make_lent_copy(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
    ) -> Result<Option<Arc<Ready>>, ServeError> {
        let request = Request::Zip((**version).clone());
        let borrowed = || self.borrow(Errand::whole(&request, Mode::CachedOnly));
        let Some(placed) = placed(&self.lends.copies, borrowed).await? else { return Ok(None) };
        let otherwise = Otherwise::OtherNodes(Mode::CachedOnly);
        self.keep_lent_zip(version, placed, otherwise, &|_| {}).await.map(Some)
    }

    /// Takes in a copy that `look` finds, for whoever is to fetch; before anybody reads along. What is of no use counts as none.
    pub(super) async fn copied_zip(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        look: &mut Look<'_>,
    ) -> Option<Held> {
        let copies = &self.lends.copies;
        let mut kept: Option<Place> = None;
        while let Some(lent) = look.copy().await {
            let Some(place) = kept.take().or_else(|| copies.free()) else {
                // Until there is a place for it, what begins to come would be left unread.
                look.let_go(lent);
                kept = Some(copies.wait().await.ok()?);
                continue;
            };
            let Lent::Zip { size, exchange } = lent else { continue };
            let placed = Placed { size, exchange, place };
            match self.keep_lent_zip(version, placed, Otherwise::GiveUp, &|_| {}).await {
                Ok(ready) => return Some((ready, Cache::Peer)),
                Err(error) => look.came_to_nothing(error),
            }
        }
        None
    }

    /// A copy of one node, for nobody who waits. `None` if it does not answer.
    pub(super) async fn copied_zip_of(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        node: &NodeName,
    ) -> Result<Option<Result<u64, Refusal>>, ServeError> {
        let request = Request::Zip((**version).clone());
        let place = self.lends.copies.wait().await.map_err(|_| closed())?;
        match self.ask(node, &request, Effort::Copy, 0).await {
            Some(Ok(Lent::Zip { size, exchange })) => {
                let placed = Placed { size, exchange, place };
                self.keep_lent_zip(version, placed, Otherwise::AskAgain, &|_| {}).await?;
                Ok(Some(Ok(size)))
            }
            Some(Ok(Lent::Whole(_))) | None => Ok(None),
            Some(Err(refusal)) => Ok(Some(Err(refusal))),
        }
    }

    async fn keep_lent_zip(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        placed: Placed,
        otherwise: Otherwise,
        live: Live<'_>,
    ) -> Result<Arc<Ready>, ServeError> {
        let Placed { size, exchange, place: _place } = placed;
        if size > SIZE_MAX {
            return Err(wrong(version, format!("it has {size} bytes, more than a module may have")));
        }
        let begun = exchange.begun();
        let mut lender = Lender::new(self, version, size, exchange, otherwise);
        let mut opening = std::pin::pin!(Sink::open(self.places(), Some(size)));
        let sink = if let Ok(sink) = tokio::time::timeout(UNREAD_MAX, &mut opening).await {
            sink?
        } else {
            lender.let_go();
            opening.await?
        };
        if sink.is_in_memory() {
            lender.must_not_fetch();
        }
        let mut spool = None;
        if let (Some(blob), true) = (sink.blob(), size > CHUNK_BYTES as u64) {
            let made = Arc::new(Spool::new(Arc::clone(version), self.layers.store.lease(blob), size));
            live(Arc::clone(&made));
            spool = Some(made);
        }
        let outcome = Box::pin(self.take_in_lent(version, sink, &mut lender, spool.as_deref())).await;
        if outcome.is_ok() {
            Box::pin(self.remove_if_purged(version, begun)).await;
        }
        if let Some(spool) = &spool {
            spool.end(outcome.as_ref().map(drop).map_err(Clone::clone));
        }
        outcome
    }

    async fn take_in_lent(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        mut sink: Sink,
        lender: &mut Lender<'_>,
        spool: Option<&Spool>,
    ) -> Result<Arc<Ready>, ServeError> {
        let mut open = BytesMut::new();
        let mut sha256 = Sha256::new();
        while let Some(mut piece) = lender.next().await? {
            while !piece.is_empty() {
                let part = piece.split_to(piece.len().min(CHUNK_BYTES - open.len()));
                open.extend_from_slice(&part);
                if let Some(spool) = spool {
                    spool.push(part).await;
                }
                if open.len() == CHUNK_BYTES {
                    let place = self.transit.place().await;
                    let chunk = std::mem::take(&mut open).freeze();
                    sha256 = hash(sha256, chunk.clone()).await.ok_or_else(|| lost(version))?;
                    sink.append(chunk).await?;
                    drop(place);
                    let kept = sink.settle().await?;
                    if kept.is_some() {
                        lender.must_not_fetch();
                    }
                    if let Some(spool) = spool {
                        spool.chunk_is_there(kept);
                    }
                }
            }
        }
        if !open.is_empty() {
            let chunk = open.freeze();
            sha256 = hash(sha256, chunk.clone()).await.ok_or_else(|| lost(version))?;
            sink.append(chunk).await?;
            let kept = sink.settle().await?;
            if let Some(spool) = spool {
                spool.last_chunk(kept);
            }
        }
        let sum: [u8; 32] = sha256.finalize().into();
        match lender.end()? {
            End::Sealed(mut proof) if proof.sha256 == sum => {
                if proof.class != Class::Published {
                    let is_vouched = proof.verified == Verified::ChecksumDatabase;
                    proof.verified = self.vouched_for(version, is_vouched, Part::Zip, proof.h1).await?;
                }
                if let Some(spool) = spool {
                    sink.join().inspect(|whole| spool.is_joined(whole));
                    spool.prove(proof.clone());
                }
                self.keep(version, sink, proof, None).await
            }
            End::Own(ready) if ready.etag == Etag::of(&sum) => {
                if let Some(spool) = spool
                    && let Some(proof) = self.proof_of(version).await?
                {
                    spool.prove(proof);
                }
                Ok(ready)
            }
            End::Sealed(_) | End::Own(_) => {
                Err(wrong(version, "its bytes do not hash to what the node that sent them says".to_owned()))
            }
        }
    }

    /// What the store knows of a zip that it holds.
    pub(super) async fn proof_of(&self, version: &ModuleVersion) -> Result<Option<Proof>, ServeError> {
        Ok(self.record(version).await?.and_then(|record| {
            let zip = record.zip?;
            let (verified, origin, class) = (record.verified, record.origin, record.class);
            Some(Proof { sha256: zip.sha256, h1: zip.h1, verified, origin, class })
        }))
    }
}

/// Hashes a chunk where that keeps nobody waiting.
async fn hash(mut sha256: Sha256, chunk: Bytes) -> Option<Sha256> {
    if chunk.len() <= HASHED_AT_ONCE_MAX {
        sha256.update(&chunk);
        return Some(sha256);
    }
    let hashing = move || {
        sha256.update(&chunk);
        sha256
    };
    tokio::task::spawn_blocking(hashing).await.ok()
}

pub(super) fn lost(version: &ModuleVersion) -> ServeError {
    ServeError::Internal { what: format!("fetch the zip of {version}") }
}

impl Proxy {
    /// The bytes of an answer from `offset` on.
    pub fn content_from(&self, ready: &Ready, offset: u64) -> Box<dyn ByteSource> {
        match &ready.content {
            Content::Blob(blob) => {
                let range = offset.min(blob.size)..blob.size;
                self.layers.blobs.stream(blob, range)
            }
            Content::Small(_) | Content::Shared(_) => {
                let bytes = ready.content.bytes().unwrap_or_default();
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Box::new(Rest(bytes.slice(from..)))
            }
        }
    }
}

/// Bytes that are all there, in pieces no longer than a chunk.
struct Rest(Bytes);

impl ByteSource for Rest {
    fn poll_next(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, crate::http::BodyError>>> {
        let piece = self.0.split_to(self.0.len().min(CHUNK_BYTES));
        std::task::Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    }
}
