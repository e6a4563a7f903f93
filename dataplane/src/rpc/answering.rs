//! An answer of the ladder, told in parts. While it is made, a sign of life goes out twice a second; the first one at once when something is
//! to be fetched, so that who asks can tell a far origin from a slow disk.
//!
//! A part leaves when the connection takes it: a slow reader makes this node wait, not hold bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::Epoch;
use gomod::{ModuleVersion, Request};
use proto::data::v1 as pb;
use proto::data::v1::get_response::Part;
use tokio::sync::mpsc::Sender;
use tonic::Status;

use crate::http::ByteSource;
use crate::serve::tag::Cache;
use crate::serve::{
    Answer, Asker, Freshness, Lifetime, Mode, Proof, Proxy, Ready, ServeError, Spool, to_provenance,
    to_refusal, version_of,
};
use crate::sumdb_relay::SumRelay;

/// Between two signs of life.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// The first one, where it is not known what there is to wait for: sooner than anybody asks a second node.
const FIRST_SIGN: Duration = Duration::from_millis(10);

/// Bytes in one part: few enough to pass in time where several zips share a link of a megabit.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// How long the store may take to say what is held: after that another replica is worth asking.
const HELD_MAX: Duration = Duration::from_secs(10);

/// How long who asks for what is held waits for what an origin is about to send.
const COMING_MAX: Duration = Duration::from_secs(2);

/// How long a part may wait for the other node to take it.
const TAKE_MAX: Duration = Duration::from_mins(1);

/// See the head of this file.
pub(super) struct Answering {
    pub(super) proxy: Arc<Proxy>,
    pub(super) epoch: Epoch,
    pub(super) asker: Asker,
    pub(super) parts: Sender<Result<pb::GetResponse, Status>>,
}

/// The other node is gone.
struct Gone;

impl Answering {
    /// Answers what is small, immutable and in memory; gives itself back otherwise.
    pub(super) fn at_once(self, request: &Request) -> Option<Self> {
        let Some(version) = version_of(request) else { return Some(self) };
        let path = format!("/{request}");
        let Some(ready) = self.proxy.in_memory(&path) else { return Some(self) };
        let (Some(content), Some(provenance)) =
            (ready.content.bytes(), self.proxy.provenance_at_hand(&version))
        else {
            return Some(self);
        };
        self.proxy.touch(&path, &ready);
        let whole = pb::Whole { content, provenance: Some(provenance), ..pb::Whole::default() };
        // There is room for one, and this is it.
        let _ = self.parts.try_send(Ok(pb::GetResponse { part: Some(Part::Whole(whole)) }));
        None
    }

    /// Answers, until the other node leaves.
    pub(super) async fn run(self, request: Request, path: String, mode: Mode, offset: u64) {
        let left = self.parts.clone();
        tokio::select! {
            () = left.closed() => {}
            _ = self.answer(request, &path, mode, offset) => {}
        }
    }

    /// Answers for the checksum database, or with what is held of it.
    pub(super) async fn relay(self, sums: Arc<SumRelay>, path: String, held: bool) {
        let left = self.parts.clone();
        let relaying = async {
            let answer =
                Box::pin(async { if held { sums.held(&path).await } else { sums.answer(&path).await } });
            let part = match self.alive_from(FIRST_SIGN, answer).await? {
                Ok(content) => Part::Whole(pb::Whole { content, ..pb::Whole::default() }),
                Err(error) => Part::Refusal(to_refusal(&error, self.epoch)),
            };
            self.send(part).await
        };
        tokio::select! {
            () = left.closed() => {}
            _ = relaying => {}
        }
    }

    async fn answer(&self, request: Request, path: &str, mode: Mode, offset: u64) -> Result<(), Gone> {
        let asked = request.clone();
        let told = match self.make(request, mode).await? {
            Ok(Answer::Ready { ready, cache }) => {
                let path = format!("/{path}");
                match cache {
                    // What was fetched for this request is not asked for a second time by it.
                    Cache::Miss | Cache::Peer => self.proxy.touch_fetched(&path, &ready),
                    Cache::Hit | Cache::Stale | Cache::None => self.proxy.touch(&path, &ready),
                }
                match &asked {
                    Request::Zip(version) => self.zip(version, &ready, offset).await?,
                    Request::List(_) | Request::Latest(_) | Request::Info(..) | Request::Mod(_) => {
                        self.small(&asked, &ready).await?
                    }
                }
            }
            Ok(Answer::Live { spool, length, .. }) => self.live(&spool, length, offset).await?,
            Err(error) => Err(error),
        };
        match told {
            Ok(()) => Ok(()),
            Err(error) => self.send(Part::Refusal(to_refusal(&error, self.epoch))).await,
        }
    }

    async fn make(&self, request: Request, mode: Mode) -> Result<Result<Answer, ServeError>, Gone> {
        // Large enough for a place of its own, as in the router.
        let answer = |request, mode| Box::pin(self.proxy.answer(request, mode, false, self.asker));
        if !matches!(request, Request::Zip(_)) && version_of(&request).is_none() {
            return self.alive_from(FIRST_SIGN, answer(request, mode)).await;
        }
        // Before the store is looked into, or it might come in between.
        let coming = self.proxy.about_to_come(&request);
        // Who only keeps a copy is told of it again once it is here.
        let coming = coming.filter(|_| mode == Mode::CachedOnly && self.asker != Asker::Keeper);
        if coming.is_some() {
            // Before anything else, since the store may take its time.
            self.send(Part::Working(pb::Working { is_coming: true })).await?;
        }
        let begun = Instant::now();
        let looking = tokio::time::timeout(HELD_MAX, answer(request.clone(), Mode::CachedOnly));
        let Ok(held) = self.alive(looking).await? else {
            return Ok(Err(ServeError::Unavailable {
                what: request.to_string().into(),
                why: format!("this node's disk did not answer within {HELD_MAX:?}"),
                next: "ask another replica".into(),
            }));
        };
        if !matches!(held, Err(ServeError::NotHeld { .. })) {
            return Ok(held);
        }
        if mode == Mode::CachedOnly {
            let Some(coming) = coming else { return Ok(held) };
            let patience = COMING_MAX.min(HELD_MAX.saturating_sub(begun.elapsed()) / 2);
            let came = self.alive(tokio::time::timeout(patience, coming.answer())).await?;
            return Ok(came.ok().flatten().map_or(held, Ok));
        }
        if self.proxy.stands_aside(request.module()) {
            return Ok(Err(ServeError::Unavailable {
                what: request.to_string().into(),
                why: "this node's disk takes no writes".to_owned(),
                next: "ask another replica".into(),
            }));
        }
        self.send(Part::Working(pb::Working::default())).await?;
        self.alive(answer(request, mode)).await
    }

    async fn small(&self, request: &Request, ready: &Ready) -> Result<Result<(), ServeError>, Gone> {
        let Some(content) = ready.content.bytes() else { return Ok(Err(lost(request))) };
        let provenance = match version_of(request) {
            Some(version) => match self.alive(self.proxy.provenance(&version)).await? {
                Ok(provenance) => Some(provenance),
                Err(error) => return Ok(Err(error)),
            },
            None => None,
        };
        let age_us = match &ready.lifetime {
            Lifetime::Immutable => 0,
            Lifetime::Until(until) => self.proxy.now_us().saturating_sub(until.fetched_us),
        };
        let whole = pb::Whole {
            content,
            // Of a clock that was put back nobody knows how old it is.
            age_ms: u64::try_from(age_us / 1000).unwrap_or(u64::MAX / 1_000_000),
            stale: matches!(ready.freshness(self.proxy.monotonic()), Freshness::Resting | Freshness::Expired),
            provenance,
        };
        self.send(Part::Whole(whole)).await.map(Ok)
    }

    async fn zip(
        &self,
        version: &ModuleVersion,
        ready: &Arc<Ready>,
        offset: u64,
    ) -> Result<Result<(), ServeError>, Gone> {
        let proof = match self.alive(self.proxy.proof(version, ready)).await? {
            Ok(proof) => proof,
            Err(error) => return Ok(Err(error)),
        };
        self.send(Part::Start(pb::Start { size: ready.content.size() })).await?;
        self.send(seal(proof)).await?;
        let mut content = self.proxy.content_from(ready, offset);
        while let Some(piece) = self.alive(next(&mut *content)).await? {
            match piece {
                Ok(piece) => self.pieces(piece).await?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// A zip that is arriving. Its tail comes when it is known to be right, so that the seal is there before it.
    async fn live(
        &self,
        spool: &Arc<Spool>,
        length: u64,
        offset: u64,
    ) -> Result<Result<(), ServeError>, Gone> {
        self.send(Part::Start(pb::Start { size: length })).await?;
        let mut content = self.proxy.spool_from(spool, offset);
        let mut is_sealed = false;
        while let Some(piece) = self.alive(next(&mut content)).await? {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Ok(Err(spool.failure().unwrap_or(error))),
            };
            if !is_sealed && let Some(proof) = spool.proof() {
                self.send(seal(proof)).await?;
                is_sealed = true;
            }
            self.pieces(piece).await?;
        }
        Ok(Ok(()))
    }

    async fn pieces(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            self.send(Part::Piece(piece)).await?;
        }
        Ok(())
    }

    /// Does `work`, and says twice a second that it goes on.
    async fn alive<T>(&self, work: impl Future<Output = T>) -> Result<T, Gone> {
        self.alive_from(SIGN_OF_LIFE, work).await
    }

    /// The same, the first time after `pause`.
    async fn alive_from<T>(&self, mut pause: Duration, work: impl Future<Output = T>) -> Result<T, Gone> {
        tokio::pin!(work);
        loop {
            match tokio::time::timeout(pause, &mut work).await {
                Ok(done) => return Ok(done),
                Err(_) => self.send(Part::Working(pb::Working::default())).await?,
            }
            pause = SIGN_OF_LIFE;
        }
    }

    async fn send(&self, part: Part) -> Result<(), Gone> {
        let sending = self.parts.send(Ok(pb::GetResponse { part: Some(part) }));
        match tokio::time::timeout(TAKE_MAX, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

fn seal(proof: Proof) -> Part {
    Part::Seal(pb::Seal {
        sha256: Bytes::copy_from_slice(&proof.sha256),
        h1: Bytes::copy_from_slice(proof.h1.as_bytes()),
        provenance: Some(to_provenance(proof.origin, proof.verified, proof.class)),
    })
}

async fn next(content: &mut (dyn ByteSource + '_)) -> Option<Result<Bytes, ServeError>> {
    let piece = std::future::poll_fn(|cx| content.poll_next(cx)).await?;
    Some(piece.map_err(|error| ServeError::Internal { what: error.to_string() }))
}

fn lost(request: &Request) -> ServeError {
    ServeError::Internal { what: format!("{request} is too large to be a small file") }
}
