//! The serving ladder: memory, then the store, then the origins; one flight per thing that is missing.
//!
//! This file has the entrances and what they share. The rungs are in `texts` (`.info`, `.mod`), `passing` (lists
//! and queries), `zips` and `ingest`.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use common::clock::Clock;
use gomod::{ModulePath, ModuleVersion, Query, Request};
use parking_lot::Mutex;

use super::ahead::Ahead;
use super::arriving::Arriving;
use super::avoid::Avoided;
use super::blobs::BlobReader;
use super::checks::Checks;
use super::clerk::Clerk;
use super::convert::from_store;
use super::copies::Taking;
use super::damage::{tell, where_there_is_place};
use super::error::{FETCH_FORBIDDEN_NEXT, PRIVATE_NEXT, ServeError};
use super::flights::Flights;
use super::lend_places::LendPlaces;
use super::lent_texts::Held;
use super::memory::Memory;
use super::metrics::ServeFamilies;
use super::overflow::Overflow;
use super::private_lists::Known;
use super::purges::Purges;
use super::ready::{Lifetime, Ready};
use super::spool::Spool;
use super::stage::{WAITING_MAX, Waiting, waiting_of};
use super::tag::Cache;
use super::transit::Transit;
use super::zips::ZipStage;
use crate::peers::Peers;
use crate::private::{Private, Shown};
use crate::replicate::OfferQueue;
use crate::store::{Class, CommitError, Patch, Store, StoreError, VersionRecord};
use crate::upstream::Upstream;

/// How a request may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Fetch what is missing.
    Fetch,
    /// Only what is held (protocol.md 99).
    CachedOnly,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A client of this node.
    Client,
    /// Another node of the cluster: nobody else is asked for it.
    Node,
    /// The same, for a copy that it is to keep.
    Keeper,
}

/// What a request is answered with.
pub enum Answer {
    /// Content that is there, whole and verified.
    Ready {
        /// The content.
        ready: Arc<Ready>,
        /// Where it was found.
        cache: Cache,
    },
    /// A zip that is arriving.
    Live {
        /// Where it arrives.
        spool: Arc<Spool>,
        /// Its length in bytes.
        length: u64,
        /// Where it comes from.
        cache: Cache,
    },
}

/// Settings of the ladder.
#[derive(Debug)]
pub struct ProxySettings {
    /// Fetch nothing.
    pub offline: bool,
    /// Modules that no public origin may hear of.
    pub private: Private,
    /// How long lists and queries are fresh.
    pub list_lifetime: Duration,
    /// Chunks of arriving zips in memory at once, beside the one that each fetch fills.
    pub transit_chunks: usize,
}

/// The layers the ladder stands on.
pub struct Layers {
    /// What is in memory.
    pub memory: Arc<Memory>,
    /// What is on disk.
    pub store: Arc<Store>,
    /// The other nodes.
    pub peers: Arc<Peers>,
    /// What they are to be told of.
    pub offers: Arc<OfferQueue>,
    /// Where the rest is.
    pub upstream: Upstream,
    /// Who vouches for it.
    pub checks: Checks,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Reads zips.
    pub blobs: Arc<BlobReader>,
    /// Counts.
    pub metrics: Arc<ServeFamilies>,
}

pub(super) type Landed = Result<(Arc<Ready>, Cache), ServeError>;

/// See the head of this file.
pub struct Proxy {
    pub(super) settings: ProxySettings,
    pub(super) layers: Layers,
    pub(super) texts: Arc<Flights<Request, Landed>>,
    pub(super) zips: Arc<Flights<ModuleVersion, ZipStage>>,
    /// What an origin is asked for.
    pub(super) arriving: Arriving,
    /// Flights that ask other nodes, which may end in one of this node's own.
    pub(super) lent_texts: Arc<Flights<Request, Landed>>,
    pub(super) lent_zips: Arc<Flights<ModuleVersion, ZipStage>>,
    /// Flights that look for copies where nothing may be fetched.
    pub(super) lent_copies: Arc<Flights<Request, Result<Option<Held>, ServeError>>>,
    /// Flights that ask what there is of private modules.
    pub(super) known: Arc<Flights<ModulePath, Result<Arc<Known>, ServeError>>>,
    /// Flights that look for private modules around paths that are none.
    pub(super) around: Arc<Flights<ModulePath, Option<ModulePath>>>,
    /// Who takes copies.
    pub(super) taking: Taking,
    /// Whoever puts a good copy in the place of a bad one.
    pub(super) mending: Arc<tokio::sync::Mutex<()>>,
    /// Places for zips that other nodes send.
    pub(super) lends: LendPlaces,
    pub(super) clerk: Arc<Clerk>,
    pub(super) ahead: Ahead,
    pub(super) avoided: Avoided,
    /// Whose zips broke off where the chain lets another origin be asked.
    pub(super) broken_off: Avoided,
    pub(super) overflow: Overflow,
    pub(super) transit: Transit,
    pub(super) draining: AtomicBool,
    /// Published versions whose names are not known to be bound.
    pub(super) waiting: Mutex<Waiting>,
    pub(super) purges: Mutex<Purges>,
}

impl Proxy {
    /// A ladder on `layers`.
    pub fn new(settings: ProxySettings, layers: Layers) -> Self {
        let clerk = Clerk::new(Arc::clone(&layers.store));
        let staged = layers.store.staged(WAITING_MAX).unwrap_or_else(|error| {
            tracing::error!(%error, "failed to read which versions wait to be published");
            Vec::new()
        });
        Self {
            waiting: Mutex::new(waiting_of(staged)),
            avoided: Avoided::after_bad_content(Arc::clone(&layers.clock)),
            broken_off: Avoided::after_breaking_off(Arc::clone(&layers.clock)),
            texts: Arc::default(),
            zips: Arc::default(),
            arriving: Arc::default(),
            lent_texts: Arc::default(),
            lent_zips: Arc::default(),
            lent_copies: Arc::default(),
            known: Arc::default(),
            around: Arc::default(),
            taking: Taking::default(),
            mending: Arc::default(),
            lends: LendPlaces::default(),
            clerk,
            ahead: Ahead::new(layers.upstream.places()),
            overflow: Overflow::new(Arc::clone(&layers.memory)),
            transit: Transit::new(settings.transit_chunks),
            draining: AtomicBool::new(false),
            purges: Mutex::default(),
            settings,
            layers,
        }
    }

    /// Whether no public origin, and no log above DEBUG, may hear of `module`.
    pub fn is_private(&self, module: &ModulePath) -> bool {
        self.settings.private.matches(module)
    }

    /// What of `what`, which is about `module`, may stand in a log line above DEBUG.
    pub(super) fn shown<'a>(&self, module: &ModulePath, what: &'a dyn std::fmt::Display) -> Shown<'a> {
        self.settings.private.shown(module, what)
    }

    /// The span of the flight that fetches `request`.
    pub(super) fn fetch_span(&self, request: &Request) -> tracing::Span {
        tracing::info_span!("fetch", request = %self.shown(request.module(), request))
    }

    /// What is in memory under a canonical path with its leading slash. Offline, what an origin listed before is not given as it is.
    pub fn in_memory(&self, path: &str) -> Option<Arc<Ready>> {
        let is_final = |ready: &Arc<Ready>| !self.settings.offline || ready.lifetime == Lifetime::Immutable;
        self.layers.memory.ready(path).filter(|ready| is_final(ready) && !self.is_path_of_blocked(path))
    }

    /// Wall-clock time in µs since the Unix epoch.
    pub fn now_us(&self) -> i64 {
        self.layers.clock.now_us()
    }

    /// Monotonic time.
    pub fn monotonic(&self) -> Instant {
        self.layers.clock.monotonic()
    }

    /// Reports the use of what is at the canonical `path`: of a zip each time, to the eviction policy; of `.info` and
    /// `.mod` once an hour, to retention.
    pub fn touch(&self, path: &str, ready: &Ready) {
        if let Some(version) = &ready.version {
            if ready.is_unused() {
                self.touch_fetched(path, ready);
            } else {
                self.layers.store.touch(version, true);
            }
        } else if ready.is_text_first_used_in(self.layers.store.hour())
            && let Ok(request) = Request::parse(path.strip_prefix('/').unwrap_or(path))
            && let Some(version) = version_of(&request)
        {
            self.layers.store.touch(&version, false);
        }
    }

    /// As [`Self::touch`], for the request that it was fetched for: of a zip that is no second use.
    pub fn touch_fetched(&self, path: &str, ready: &Ready) {
        match &ready.version {
            Some(version) => {
                if ready.is_first_use() {
                    self.leave_if_short(version, ready);
                }
                self.layers.store.touch_fetched(version);
            }
            None => self.touch(path, ready),
        }
    }

    /// Most zips are asked for once, when they are fetched, and all of them together would push out what is asked for again and again: a short
    /// one leaves memory. The second request reads it from the store, and then it stays.
    fn leave_if_short(&self, version: &ModuleVersion, zip: &Ready) {
        if zip.content.slice().is_some() {
            self.layers.memory.forget(&key(&Request::Zip(version.clone())));
        }
    }

    /// Answers one of the five shapes. `needs_whole` when a part of a zip is asked for, which cannot be cut from
    /// one that is still arriving.
    pub async fn answer(
        self: &Arc<Self>,
        request: Request,
        mode: Mode,
        needs_whole: bool,
        asker: Asker,
    ) -> Result<Answer, ServeError> {
        self.check_blocks(&request, asker)?;
        match request {
            Request::List(_) | Request::Latest(_) | Request::Info(_, Query::Revision(_)) => {
                let answer = self.passing(request.clone(), mode, asker).await?;
                if self.concerns_blocked(request.module()) {
                    return Box::pin(self.without_blocked(request, answer, mode, asker)).await;
                }
                Ok(answer)
            }
            Request::Info(_, Query::Version(_)) | Request::Mod(_) => self.text(request, mode, asker).await,
            Request::Zip(version) => self.zip(version, mode, needs_whole, asker).await,
        }
    }

    /// Answers below `/sumdb/`; `path` begins with the database's name.
    pub async fn sumdb(&self, path: &str, mode: Mode) -> Result<Answer, ServeError> {
        super::sums::answer(self, path, mode).await
    }

    /// The `/index` feed for a query string.
    pub async fn index(&self, query: &str) -> Result<bytes::Bytes, ServeError> {
        super::index::feed(self, query).await
    }

    /// Why a thing of `module` that is not held is not fetched; `Ok` when it may be.
    pub(super) fn may_fetch(&self, module: &ModulePath, what: &str, mode: Mode) -> Result<(), ServeError> {
        if self.is_private(module) {
            return Err(ServeError::Unavailable {
                what: what.to_owned().into(),
                why: "it is private, and this proxy cannot fetch private modules yet".to_owned(),
                next: Cow::Borrowed(PRIVATE_NEXT),
            });
        }
        let (why, next) = if self.settings.offline {
            (
                "it is not held here, and this proxy is offline",
                "use a version that is held, or ask for this one once while the proxy is not offline",
            )
        } else if mode == Mode::CachedOnly {
            ("it is not held here, and the request forbids fetching", FETCH_FORBIDDEN_NEXT)
        } else {
            return Ok(());
        };
        Err(ServeError::NotHeld {
            what: what.to_owned().into(),
            why: Cow::Borrowed(why),
            next: Cow::Borrowed(next),
        })
    }

    /// `version` came from an origin: other nodes are to have a copy.
    pub(super) fn offer(&self, version: &ModuleVersion) {
        if self.layers.peers.view().is_some() {
            self.layers.offers.add(version.clone(), self.monotonic());
        }
    }

    /// How a copy is kept that is of class `told` at another node: what may be nowhere else, for good where it belongs.
    pub(super) fn class_of_copy(&self, module: &ModulePath, told: Class) -> Class {
        if self.layers.peers.holds(module) { told } else { Class::Cache }
    }

    /// Runs `work` on the store where blocking is permitted.
    pub(super) async fn with_store<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ServeError> {
        let store = Arc::clone(&self.layers.store);
        let span = tracing::Span::current();
        match tokio::task::spawn_blocking(move || span.in_scope(|| work(&store))).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(from_store(what, &error)),
            Err(_) => Err(ServeError::Internal { what: what.to_owned() }),
        }
    }

    /// The record of `version`. One that does not verify is set aside and counts as not held, so that it is
    /// fetched anew.
    pub(super) async fn record(&self, version: &ModuleVersion) -> Result<Option<VersionRecord>, ServeError> {
        // Most records asked for are of versions seen a moment ago, or of none; damage is for the thread below.
        if let Some(Ok(record)) = self.layers.store.record_at_hand(version) {
            return Ok(record);
        }
        let wanted = version.clone();
        let (metrics, private) = (Arc::clone(&self.layers.metrics), self.settings.private.clone());
        self.with_store("read a record", move |store| match store.record(&wanted) {
            Err(error @ StoreError::Corrupt { .. }) => {
                let came = where_there_is_place(store.set_aside(&wanted))?;
                if !tell(&came, &private.shown(&wanted.module, &wanted), &error) {
                    return store.record(&wanted);
                }
                metrics.damaged.inc();
                Ok(None)
            }
            other => other,
        })
        .await
    }

    /// Adds `patch` to the record of `version`; `None` when there is no room to store it.
    pub(super) async fn commit(
        &self,
        version: &ModuleVersion,
        patch: Patch,
    ) -> Result<Option<VersionRecord>, ServeError> {
        let (wanted, durability) = (version.clone(), patch.class.durability());
        let committed = self.clerk.run(move |store| store.commit(&wanted, patch, durability)).await;
        self.committed(version, committed)
    }

    /// What came of a commit that the clerk was given.
    pub(super) fn committed(
        &self,
        version: &ModuleVersion,
        committed: Option<Result<VersionRecord, CommitError>>,
    ) -> Result<Option<VersionRecord>, ServeError> {
        match committed {
            Some(Ok(record)) => Ok(Some(record)),
            Some(Err(error @ CommitError::Conflict { .. })) => {
                self.layers.metrics.conflicts.inc();
                let shown = self.shown(&version.module, version);
                tracing::error!(version = %shown, %error, "an origin offers other content than was stored first");
                Err(ServeError::BadContent { what: version.to_string().into(), why: error.to_string() })
            }
            // A disk that takes nothing stops storing, not serving.
            Some(Err(CommitError::Store(error))) if error.takes_nothing() => Ok(None),
            Some(Err(CommitError::Store(error))) => Err(from_store("store a record", &error)),
            None => Err(ServeError::Internal { what: "store a record".to_owned() }),
        }
    }
}

/// Forgets what is in memory of `version`.
pub fn forget(memory: &Memory, version: &ModuleVersion) {
    let query = Query::Version(version.version.clone());
    memory.forget(&key(&Request::Info(version.module.clone(), query)));
    memory.forget(&key(&Request::Mod(version.clone())));
    memory.forget(&key(&Request::Zip(version.clone())));
}

/// The version that an `.info` or `.mod` is asked for of.
pub(crate) fn version_of(request: &Request) -> Option<ModuleVersion> {
    match request {
        Request::Info(module, Query::Version(version)) => {
            Some(ModuleVersion { module: module.clone(), version: version.clone() })
        }
        Request::Mod(version) => Some(version.clone()),
        Request::Info(..) | Request::List(_) | Request::Latest(_) | Request::Zip(_) => None,
    }
}

/// The key of a request's answer in memory: its canonical path.
pub(super) fn key(request: &Request) -> String {
    format!("/{request}")
}
