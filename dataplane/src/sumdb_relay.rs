//! The checksum database of a cluster: each of its answers is fetched by one node, for all.
//!
//! What comes is unverified, from another node as from an origin: each node believes only what follows from signed heads on its
//! own timeline. Answers are kept for a few minutes, for the nodes that will ask next.

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::NodeName;
use common::clock::Clock;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use gomod::sumdb::{Lookup, Tile};
use parking_lot::Mutex;
use proto::data::v1::{Refusal, RefusalReason};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::client::Client;
use crate::peers::{Effort, Exchange, Part, Peers, Route};
use crate::serve::{ServeError, from_fetch};
use crate::sumdb::{Borrowing, Fetching, Flight, SumDb, SumTransport};
use crate::upstream::{FetchError, OriginId, SumSource, Unavailability, Upstream};

/// Under which paths nodes ask each other.
pub(crate) const PREFIX: &str = "sumdb/";
/// Bytes of answers that are kept.
const BYTES_MAX: u64 = 4 << 20;
/// Of about this size each: a tile has 8 KiB, a lookup less than one.
const ANSWER_BYTES: u64 = 2 << 10;
/// How long an answer is kept: for as long as the nodes of a cluster need the same one. Tiles and records never change, but nobody here has
/// proven them.
const LIFETIME: Duration = Duration::from_mins(1);
/// How long the latest head is.
const HEAD_LIFETIME: Duration = Duration::from_secs(5);
/// Bytes of an answer of another node.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Nodes that are asked before the database itself: what keeps two of them from answering may keep each of them for long.
const FETCHERS_ASKED_MAX: usize = 2;
/// Nodes that are asked at once for what they hold, and how long they have for it.
const HOLDERS_ASKED_MAX: usize = 16;
const HOLDERS_TIME: Duration = Duration::from_secs(2);

/// See the head of this file.
pub(crate) struct SumRelay {
    upstream: Upstream,
    source: SumSource,
    peers: Arc<Peers>,
    clock: Arc<dyn Clock>,
    kept: Cache<String, Kept, Weight>,
    /// What others wait for who look up something else is fetched for each client: nobody waits for another one's turn.
    fetching: Flight<(Option<Client>, String), Result<Bytes, FetchError>>,
    /// Until when nobody but the database is believed.
    distrustful_until: Mutex<Option<Instant>>,
    /// What is verified, and lent to others.
    verified: OnceLock<Weak<SumDb>>,
}

#[derive(Clone)]
struct Kept {
    answer: Bytes,
    until: Instant,
}

#[derive(Clone)]
struct Weight;

impl Weighter<String, Kept> for Weight {
    fn weight(&self, path: &String, kept: &Kept) -> u64 {
        (path.len() + kept.answer.len() + 64) as u64
    }
}

impl std::fmt::Debug for SumRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SumRelay").field("source", &self.source).finish_non_exhaustive()
    }
}

impl SumRelay {
    /// For the database `source`, which `upstream` finds a way to.
    pub(crate) fn new(
        upstream: Upstream,
        source: SumSource,
        peers: Arc<Peers>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let kept = Cache::with_weighter((BYTES_MAX / ANSWER_BYTES) as usize, BYTES_MAX, Weight);
        Self {
            upstream,
            source,
            peers,
            clock,
            kept,
            fetching: Flight::new(),
            distrustful_until: Mutex::default(),
            verified: OnceLock::new(),
        }
    }

    /// From now on what `sumdb` holds is lent to other nodes.
    pub(crate) fn lend_from(&self, sumdb: &Arc<SumDb>) {
        let _ = self.verified.set(Arc::downgrade(sumdb));
    }

    /// Answers another node, which asks for `path` below [`PREFIX`]: from the database, asking no further node.
    pub(crate) async fn answer(&self, path: &str) -> Result<Bytes, ServeError> {
        let below =
            self.below(path).ok_or_else(|| not_held(path, "this node has another checksum database"))?;
        self.own(below).await.map_err(|error| from_fetch(below, &error))
    }

    /// Answers another node with what is held here.
    pub(crate) async fn held(&self, path: &str) -> Result<Bytes, ServeError> {
        let why = "this node does not hold it";
        let verified = self.verified.get().and_then(Weak::upgrade).filter(|_| self.below(path).is_some());
        let sumdb = verified.ok_or_else(|| not_held(path, why))?;
        sumdb.lend(path).await.ok_or_else(|| not_held(path, why))
    }

    /// What `path` asks of this database.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let path = path.strip_prefix(&self.source.name).and_then(|rest| rest.strip_prefix('/'));
        path.filter(|path| is_asked_for(path))
    }

    async fn borrow_of(&self, node: &NodeName, full: &str) -> Option<Bytes> {
        let asking = async {
            let mut exchange = Exchange::begin(&self.peers, node, full, Effort::Held, 0).await.ok()?;
            match exchange.next(&self.peers).await.ok()? {
                Part::Whole(whole) if whole.content.len() <= ANSWER_BYTES_MAX => Some(whole.content),
                Part::Whole(_) | Part::Refusal(_) | Part::Start(_) | Part::Piece(_) | Part::Seal(_) => None,
            }
        };
        tokio::time::timeout(HOLDERS_TIME, asking).await.ok().flatten()
    }

    fn believes_others(&self) -> bool {
        self.distrustful_until.lock().is_none_or(|until| until <= self.clock.monotonic())
    }

    async fn own(&self, path: &str) -> Result<Bytes, FetchError> {
        let now = self.clock.monotonic();
        if let Some(kept) = self.kept.get(path).filter(|kept| now < kept.until) {
            return Ok(kept.answer);
        }
        let fetching = async {
            let answer = self.upstream.fetch_sumdb(&self.source, path).await?;
            // What is not even of the right form would be in everybody's way.
            if has_form(path, &answer) {
                let lifetime = if path == "latest" { HEAD_LIFETIME } else { LIFETIME };
                let kept = Kept { answer: answer.clone(), until: self.clock.monotonic() + lifetime };
                self.kept.insert(path.to_owned(), kept);
            }
            Ok(answer)
        };
        let whom = if path.starts_with("lookup/") { None } else { Client::current() };
        self.fetching.run((whom, path.to_owned()), fetching).await
    }

    /// From whoever asks the database for this answer; `None` if that is this node.
    async fn lent(&self, path: &str, route: &Route) -> Option<Result<Bytes, FetchError>> {
        let full = format!("{PREFIX}{}/{path}", self.source.name);
        for node in route.fetchers.iter().take(FETCHERS_ASKED_MAX) {
            let asking = async {
                let mut exchange = Exchange::begin(&self.peers, node, &full, Effort::Fetch, 0).await?;
                let part = exchange.next(&self.peers).await?;
                Ok::<_, crate::peers::Unreachable>((exchange, part))
            };
            match asking.await {
                Ok((_, Part::Whole(whole))) if whole.content.len() <= ANSWER_BYTES_MAX => {
                    return Some(Ok(whole.content));
                }
                Ok((_, Part::Refusal(refusal))) => {
                    if let Some(error) = told(refusal, &OriginId::new(u16::MAX, node.as_str())) {
                        return Some(Err(error));
                    }
                }
                Ok((exchange, _)) => {
                    drop(exchange.broken(&self.peers, "it answered something else".to_owned()));
                }
                Err(error) => tracing::debug!(%error, "a node did not answer"),
            }
        }
        None
    }
}

impl SumTransport for SumRelay {
    fn fetch<'a>(&'a self, _source: &'a SumSource, path: &'a str) -> Fetching<'a> {
        Box::pin(async move {
            let route = self.peers.route_of(&format!("{PREFIX}{path}"), false);
            if !route.fetchers.is_empty()
                && self.believes_others()
                && let Some(answer) = self.lent(path, &route).await
            {
                return answer;
            }
            self.own(path).await
        })
    }

    fn has_others(&self) -> bool {
        !self.peers.others().is_empty()
    }

    fn borrow<'a>(&'a self, path: &'a str) -> Borrowing<'a> {
        Box::pin(async move {
            let mut held = Vec::new();
            if !self.believes_others() {
                return held;
            }
            let (full, others) = (format!("{PREFIX}{}/{path}", self.source.name), self.peers.others());
            let mut answers: FuturesUnordered<_> =
                others.iter().take(HOLDERS_ASKED_MAX).map(|node| self.borrow_of(node, &full)).collect();
            while let Some(answer) = answers.next().await {
                held.extend(answer.filter(|answer| has_form(path, answer)));
                if path != "latest" && !held.is_empty() {
                    break;
                }
            }
            held
        })
    }

    fn distrust(&self) {
        self.kept.clear();
        *self.distrustful_until.lock() = Some(self.clock.monotonic() + LIFETIME);
    }
}

/// It says nothing of what there is, nor of what another node may ask.
fn not_held(path: &str, why: &'static str) -> ServeError {
    ServeError::NotHeld { what: path.to_owned().into(), why: why.into(), next: "".into() }
}

/// Whether `path` is one that a database answers.
fn is_asked_for(path: &str) -> bool {
    let is_plain = !path.contains("..") && !path.contains("//");
    is_plain && (path == "latest" || path.starts_with("lookup/") || Tile::parse(path).is_ok())
}

/// Whether an answer could be what it should be.
fn has_form(path: &str, answer: &Bytes) -> bool {
    match Tile::parse(path).ok() {
        Some(tile) => tile.hash_bytes().is_none_or(|bytes| bytes == answer.len()),
        None if path == "latest" => answer.starts_with(b"go.sum database tree\n"),
        None => Lookup::parse(answer).is_ok(),
    }
}

/// What another node's refusal says of the database; nothing where it says something of that node.
fn told(refusal: Refusal, origin: &OriginId) -> Option<FetchError> {
    let (reason, detail, origin) = (refusal.reason(), refusal.why, origin.clone());
    match reason {
        RefusalReason::NotFound => Some(FetchError::NotFound { gone: false, detail, origin }),
        RefusalReason::Gone => Some(FetchError::NotFound { gone: true, detail, origin }),
        RefusalReason::OriginUnavailable
        | RefusalReason::OriginTimeout
        | RefusalReason::OriginBusy
        | RefusalReason::BadContent => {
            Some(FetchError::Unavailable { origin, why: Unavailability::Broken, detail, source: None })
        }
        RefusalReason::Forbidden => Some(FetchError::Refused { status: 403, detail, origin }),
        RefusalReason::NotHeld
        | RefusalReason::Unverified
        | RefusalReason::Unavailable
        | RefusalReason::Internal
        | RefusalReason::Moved
        | RefusalReason::Unspecified => None,
    }
}
