//! Zips that another node lends: read along as they come, verified by the hash that the lender gives for the whole, kept here.
//!
//! A lender that ends in the middle is replaced: the next one goes on where it stopped, and in the end the fetch is for this
//! node. A copy that nobody waits for is asked of the same node again, as long as something comes. Invariant: the tail of a lent zip
//! leaves for clients as that of a fetched one does, when all bytes are known to be right.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cluster::NodeName;
use gomod::{H1, ModuleVersion, Request};
use proto::data::v1::Seal;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::error::ServeError;
use super::flights::Waiter;
use super::lend::{Errand, Lent, is_about_the_content};
use super::lent_texts::Held;
use super::proof::Proof;
use super::proxy::{Mode, Proxy, key};
use super::ready::{Content, Etag, Ready};
use super::refusal::from_refusal;
use super::sink::Sink;
use super::spool::Spool;
use super::tag::Cache;
use super::zips::ZipStage;
use crate::http::ByteSource;
use crate::peers::{Exchange, Part};
use crate::store::{CHUNK_BYTES, Class, Verified};

/// Bytes of a zip that a node may announce: more than any module may have.
const SIZE_MAX: u64 = gomod::zip::ZIP_BYTES_MAX;

/// Nodes that may break off one zip.
const REPLACED_MAX: usize = 3;
/// Before a node that broke off and sent nothing since is asked again.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// Bytes that are hashed in a few microseconds.
const HASHED_AT_ONCE_MAX: usize = 16 << 10;

type Live<'a> = &'a (dyn Fn(Arc<Spool>) + Send + Sync);

impl Proxy {
    /// Joins or begins the flight that asks other nodes for a zip.
    pub(super) fn begin_lent_zip(self: &Arc<Self>, version: &ModuleVersion) -> Waiter<ZipStage> {
        let proxy = Arc::clone(self);
        self.lent_zips.join(version, |flight| {
            let span = self.fetch_span(&Request::Zip(version.clone()));
            let version = Arc::new(version.clone());
            let making = async move {
                let done = proxy.make_lent_zip(&version, &|spool| flight.land(ZipStage::Live(spool))).await;
                flight.land(ZipStage::Done(done));
            };
            tokio::spawn(making.instrument(span));
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
        match self.borrow(Errand::whole(&request, Mode::Fetch)).await? {
            Some(Lent::Zip { size, exchange }) => {
                let lender = Lender::new(self, version, size, exchange, Otherwise::FetchHere);
                let ready = self.keep_lent_zip(version, lender, live).await?;
                Ok((ready, Cache::Peer))
            }
            Some(Lent::Whole(_)) => Err(lost(version)),
            None => match self.begin_own_zip(version).landed().await {
                Some(ZipStage::Done(done)) => done,
                Some(ZipStage::Live(spool)) => {
                    live(Arc::clone(&spool));
                    self.own_zip(version).await
                }
                None => Err(lost(version)),
            },
        }
    }

    /// A zip that this node fetches, when it is there.
    async fn own_zip(self: &Arc<Self>, version: &ModuleVersion) -> Result<(Arc<Ready>, Cache), ServeError> {
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
                let request = Request::Zip((*version).clone());
                let landed = match proxy.borrow(Errand::whole(&request, Mode::CachedOnly)).await {
                    Ok(lent) => proxy.keep_zip_copy(&version, lent).await,
                    Err(error) => Err(error),
                };
                flight.land(landed.map(|ready| ready.map(|ready| (ready, Cache::Peer))));
            };
            tokio::spawn(making.in_current_span());
        });
        waiter.landed().await.unwrap_or_else(|| Err(lost(&wanted)))
    }

    /// Takes in a copy that another node sends, before anybody reads along.
    pub(super) async fn keep_zip_copy(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        lent: Option<Lent>,
    ) -> Result<Option<Arc<Ready>>, ServeError> {
        let Some(Lent::Zip { size, exchange }) = lent else { return Ok(None) };
        let lender = Lender::new(self, version, size, exchange, Otherwise::GiveUp);
        self.keep_lent_zip(version, lender, &|_| {}).await.map(Some)
    }

    /// The same for a copy that nobody waits for.
    pub(super) async fn keep_zip_copy_patiently(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        size: u64,
        exchange: Exchange,
    ) -> Result<Arc<Ready>, ServeError> {
        let lender = Lender::new(self, version, size, exchange, Otherwise::AskAgain);
        self.keep_lent_zip(version, lender, &|_| {}).await
    }

    async fn keep_lent_zip(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        mut lender: Lender<'_>,
        live: Live<'_>,
    ) -> Result<Arc<Ready>, ServeError> {
        let size = lender.size;
        // Who waits here holds nothing that anybody else waits for.
        let Ok(_place) = Arc::clone(&self.lends).acquire_owned().await else { return Err(lost(version)) };
        if size > SIZE_MAX {
            return Err(wrong(version, format!("it has {size} bytes, more than a module may have")));
        }
        let sink = Sink::open(self.places(), Some(size)).await?;
        let mut spool = None;
        if let (Some(blob), true) = (sink.blob(), size > CHUNK_BYTES as u64) {
            let made = Arc::new(Spool::new(Arc::clone(version), self.layers.store.lease(blob), size));
            live(Arc::clone(&made));
            spool = Some(made);
        }
        let outcome = self.take_in_lent(version, sink, &mut lender, spool.as_deref()).await;
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
                    spool.push(part);
                }
                if open.len() == CHUNK_BYTES {
                    let place = self.transit.place().await;
                    let chunk = std::mem::take(&mut open).freeze();
                    sha256 = hash(sha256, chunk.clone()).await.ok_or_else(|| lost(version))?;
                    sink.append(chunk).await?;
                    drop(place);
                    let kept = sink.settle().await?;
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
            End::Sealed(proof) if proof.sha256 == sum => {
                if let Some(spool) = spool {
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
            let published = record.class == Class::Published;
            let (verified, origin) = (record.verified, record.origin);
            Some(Proof { sha256: zip.sha256, h1: zip.h1, verified, origin, published })
        }))
    }
}

/// Whoever sends the zip at the moment.
struct Lender<'a> {
    proxy: &'a Arc<Proxy>,
    version: &'a ModuleVersion,
    size: u64,
    received: u64,
    source: Source,
    seal: Option<Seal>,
    otherwise: Otherwise,
    /// Who broke off, and is not asked again.
    broke_off: Vec<NodeName>,
    /// What had come when it broke off last, and how long to wait before each time that it is asked again.
    received_before: u64,
    pauses: std::slice::Iter<'static, Duration>,
}

/// What becomes of a zip when no node goes on to send it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    /// This node fetches it.
    FetchHere,
    /// It fails: whoever wants it is this node's fetch itself, or may not fetch.
    GiveUp,
    /// Who sends it is asked for the rest: nobody waits for it.
    AskAgain,
}

enum Source {
    Node(Exchange),
    /// Fetched here, since nobody else was left.
    Own(Arc<Ready>, Box<dyn ByteSource>),
}

/// What all bytes are held against.
enum End {
    Sealed(Proof),
    Own(Arc<Ready>),
}

impl<'a> Lender<'a> {
    fn new(
        proxy: &'a Arc<Proxy>,
        version: &'a ModuleVersion,
        size: u64,
        exchange: Exchange,
        otherwise: Otherwise,
    ) -> Self {
        Self {
            proxy,
            version,
            size,
            received: 0,
            source: Source::Node(exchange),
            seal: None,
            otherwise,
            broke_off: Vec::new(),
            received_before: 0,
            pauses: PAUSES.iter(),
        }
    }

    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, ServeError> {
        while self.received < self.size {
            let piece = match &mut self.source {
                Source::Own(_, rest) => {
                    let piece = std::future::poll_fn(|cx| rest.poll_next(cx)).await;
                    let piece = piece.ok_or_else(|| lost(self.version))?;
                    piece.map_err(|error| wrong(self.version, error.to_string()))?
                }
                Source::Node(exchange) => match exchange.next(&self.proxy.layers.peers).await {
                    Ok(Part::Piece(piece)) if !piece.is_empty() => piece,
                    Ok(Part::Seal(seal)) => {
                        self.seal = Some(seal);
                        continue;
                    }
                    Ok(Part::Refusal(refusal)) if is_about_the_content(&refusal) => {
                        return Err(from_refusal(refusal));
                    }
                    Ok(Part::Refusal(refusal)) => {
                        tracing::debug!(node = %exchange.node(), why = refusal.why, "a node broke off a zip");
                        self.replace().await?;
                        continue;
                    }
                    Ok(Part::Piece(_) | Part::Whole(_) | Part::Start(_)) => {
                        let _ = exchange
                            .broken(&self.proxy.layers.peers, "its parts are out of order".to_owned());
                        self.replace().await?;
                        continue;
                    }
                    Err(unreachable) => {
                        tracing::debug!(error = %unreachable, "a node ended in the middle of a zip");
                        self.replace().await?;
                        continue;
                    }
                },
            };
            self.received += piece.len() as u64;
            if self.received > self.size {
                return Err(wrong(self.version, "more bytes came than were announced".to_owned()));
            }
            return Ok(Some(piece));
        }
        Ok(None)
    }

    /// Has somebody else go on.
    async fn replace(&mut self) -> Result<(), ServeError> {
        self.seal = None;
        if self.otherwise == Otherwise::AskAgain {
            return self.ask_again().await;
        }
        if let Source::Node(exchange) = &self.source {
            self.broke_off.push(exchange.node().clone());
        }
        if self.otherwise == Otherwise::GiveUp || self.broke_off.len() > REPLACED_MAX {
            return Err(broken_off(self.version));
        }
        let request = Request::Zip(self.version.clone());
        let errand = Errand::rest(&request, Mode::Fetch, self.received, &self.broke_off);
        match self.proxy.borrow(errand).await? {
            Some(Lent::Zip { size, exchange }) if size == self.size => self.source = Source::Node(exchange),
            Some(Lent::Zip { .. } | Lent::Whole(_)) => {
                return Err(wrong(self.version, "another node has other content".to_owned()));
            }
            None => {
                let (ready, _) = self.proxy.own_zip(self.version).await?;
                if ready.content.size() != self.size {
                    return Err(wrong(self.version, "an origin has other content".to_owned()));
                }
                let rest = self.proxy.content_from(&ready, self.received);
                self.source = Source::Own(ready, rest);
            }
        }
        Ok(())
    }

    /// Asks the same node for the rest, which is worth it as long as it has sent something since the last time.
    async fn ask_again(&mut self) -> Result<(), ServeError> {
        let Source::Node(exchange) = &self.source else { return Err(broken_off(self.version)) };
        let (node, request) = (exchange.node().clone(), Request::Zip(self.version.clone()));
        if self.received > self.received_before {
            (self.received_before, self.pauses) = (self.received, PAUSES.iter());
        }
        for pause in self.pauses.by_ref() {
            tokio::time::sleep(*pause).await;
            match self.proxy.ask(&node, &request, true, self.received).await {
                Some(Ok(Lent::Zip { size, exchange })) if size == self.size => {
                    self.source = Source::Node(exchange);
                    return Ok(());
                }
                Some(Ok(_)) => return Err(wrong(self.version, "it has other content now".to_owned())),
                Some(Err(_)) => break,
                None => {}
            }
        }
        Err(broken_off(self.version))
    }

    fn end(&mut self) -> Result<End, ServeError> {
        let seal = match &self.source {
            Source::Own(ready, _) => return Ok(End::Own(Arc::clone(ready))),
            Source::Node(_) => self.seal.take(),
        };
        let unsealed = || wrong(self.version, "it came without its hashes".to_owned());
        let seal = seal.ok_or_else(unsealed)?;
        let sum = |bytes: &Bytes| <[u8; 32]>::try_from(bytes.as_ref()).map_err(|_| unsealed());
        let provenance = seal.provenance.unwrap_or_default();
        Ok(End::Sealed(Proof {
            sha256: sum(&seal.sha256)?,
            h1: H1::from_bytes(sum(&seal.h1)?),
            verified: if provenance.verified { Verified::ChecksumDatabase } else { Verified::Unchecked },
            origin: provenance.origin,
            published: provenance.published,
        }))
    }
}

fn wrong(version: &ModuleVersion, why: String) -> ServeError {
    ServeError::BadContent { what: version.to_string().into(), why }
}

/// It may be better the next time, and it is no fault of an origin.
fn broken_off(version: &ModuleVersion) -> ServeError {
    ServeError::Unavailable {
        what: version.to_string().into(),
        why: "the nodes that sent it broke off".to_owned(),
        next: Cow::Borrowed("try again in a moment"),
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

fn lost(version: &ModuleVersion) -> ServeError {
    ServeError::Internal { what: format!("fetch the zip of {version}") }
}

impl Proxy {
    /// The bytes of an answer from `offset` on.
    pub fn content_from(&self, ready: &Ready, offset: u64) -> Box<dyn ByteSource> {
        match &ready.content {
            Content::Blob(blob) => {
                let range = offset.min(blob.size)..blob.size;
                self.layers.blobs.stream(blob.lease.clone(), Arc::clone(&blob.version), range)
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
