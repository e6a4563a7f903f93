//! `.info` of a version and `.mod`: small and immutable. How a missing go.mod is had is in `mods`.

use std::sync::Arc;

use gomod::{ModuleVersion, Query, Request};
use tracing::Instrument as _;

use super::arriving::text_came;
use super::convert::from_fetch;
use super::error::ServeError;
use super::graph::Place;
use super::prepare;
use super::proxy::{Answer, Asker, Landed, Mode, Proxy, key, version_of};
use super::ready::Ready;
use super::tag::{Cache, Kind};
use crate::client;
use crate::store::{Patch, VersionRecord};

/// Why a small file is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody waits for it.
    Asked,
    /// Somebody will, it seems. Its `.info` stays out of memory until then, since the first request for it is what
    /// its zip is fetched for.
    Ahead,
}

impl Proxy {
    /// Answers `.info` of a version or `.mod`.
    pub(super) async fn text(
        self: &Arc<Self>,
        request: Request,
        mode: Mode,
        asker: Asker,
    ) -> Result<Answer, ServeError> {
        match self.text_as_it_is(&request, mode, asker).await {
            Err(error) if asker == Asker::Client => Box::pin(self.stand_in(&request, error)).await,
            answer => answer,
        }
    }

    /// The same as its origin has it.
    async fn text_as_it_is(
        self: &Arc<Self>,
        request: &Request,
        mode: Mode,
        asker: Asker,
    ) -> Result<Answer, ServeError> {
        if let Some(ready) = self.layers.memory.ready(&key(request)) {
            return Ok(Answer::Ready { ready, cache: Cache::Hit });
        }
        let removals = self.layers.store.removals();
        if let Err(refusal) = self.may_fetch(request.module(), &request.to_string(), mode) {
            if let Some(ready) = self.held_text(request, Why::Asked).await? {
                return Ok(Answer::Ready { ready, cache: Cache::Hit });
            }
            let lent = if asker == Asker::Client { self.lent_copy(request).await? } else { None };
            let Some((ready, cache)) = lent else {
                return Err(Box::pin(self.refused_text(request, asker, refusal)).await);
            };
            return Ok(Answer::Ready { ready, cache });
        }
        let lent = asker == Asker::Client && self.is_fetched_elsewhere(request);
        let waiter = if lent { self.begin_lent(request) } else { self.begin_own_text(request, Why::Asked) };
        // Whoever fetches for the slot does so as well.
        if !lent && let Request::Info(module, Query::Version(version)) = request {
            self.info_was_asked(&ModuleVersion { module: module.clone(), version: version.clone() });
        }
        let landed = waiter.landed().await;
        let (ready, cache) =
            landed.unwrap_or_else(|| Err(ServeError::Internal { what: "fetch a file".to_owned() }))?;
        // A flight that began ahead of this request did not.
        if matches!(request, Request::Info(..)) && self.layers.memory.ready(&key(request)).is_none() {
            self.remember_text(request, &ready, removals);
        }
        Ok(Answer::Ready { ready, cache })
    }

    /// Joins or begins the flight for a text that this node fetches.
    pub(super) fn begin_own_text(
        self: &Arc<Self>,
        request: &Request,
        why: Why,
    ) -> super::flights::Waiter<Landed> {
        let proxy = Arc::clone(self);
        self.texts.join(request, |flight| {
            let span = self.fetch_span(request);
            let request = request.clone();
            let making = async move {
                let landed = Box::pin(proxy.make_text(&request, why)).await;
                flight.land(landed);
            };
            client::spawn(making.instrument(span));
        })
    }

    async fn make_text(self: &Arc<Self>, request: &Request, why: Why) -> Landed {
        // Between the caller's look into memory and this flight, another one may have landed.
        if let Some(ready) = self.layers.memory.ready(&key(request)) {
            return Ok((ready, Cache::Hit));
        }
        if let Some(ready) = self.held_text(request, why).await? {
            return Ok((ready, Cache::Hit));
        }
        let mut look = self.look(request);
        if let Some(copy) = self.copied_text(request, &mut look).await {
            return Ok(copy);
        }
        let fetching = self.arriving(request, self.fetch_text(request, why), text_came);
        match look.beside(Box::pin(fetching)).await {
            Err(error) if look.is_open_after(&error) => {
                let copy = self.copied_text(request, &mut look).await;
                copy.ok_or_else(|| look.told(error))
            }
            landed => landed,
        }
    }

    /// Has an origin's file, which the other replicas are told of.
    async fn fetch_text(self: &Arc<Self>, request: &Request, why: Why) -> Landed {
        let removals = self.layers.store.removals();
        let ready = match request {
            Request::Info(module, Query::Version(version)) => {
                let version = ModuleVersion { module: module.clone(), version: version.clone() };
                self.fetch_info(request, &version).await?
            }
            Request::Mod(version) => {
                let ready = self.fetch_mod(request, version).await?;
                if why == Why::Asked {
                    self.mod_was_fetched(version, &ready, Place::Unknown);
                }
                ready
            }
            Request::List(_) | Request::Latest(_) | Request::Info(..) | Request::Zip(_) => {
                return Err(ServeError::Internal { what: format!("{request} is not a text") });
            }
        };
        if why == Why::Asked || matches!(request, Request::Mod(_)) {
            self.remember_text(request, &ready, removals);
        }
        if let Request::Mod(version) = request {
            self.offer(version);
        } else if let Request::Info(module, Query::Version(version)) = request {
            self.offer(&ModuleVersion { module: module.clone(), version: version.clone() });
        }
        Ok((ready, Cache::Miss))
    }

    async fn fetch_info(&self, request: &Request, version: &ModuleVersion) -> Result<Arc<Ready>, ServeError> {
        let fetched = self.fetch(request).await?;
        let patch = Patch {
            info: Some(fetched.body.clone()),
            origin: fetched.origin.to_string(),
            ..Patch::default()
        };
        let stored = self.commit(version, patch).await?;
        let info = stored.map_or(Some(fetched.body), |record| record.info);
        let private = self.is_private(&version.module);
        info.map(|info| prepare::text(Kind::Info, info, private)).ok_or_else(|| lost(request))
    }

    pub(super) async fn fetch(&self, request: &Request) -> Result<crate::upstream::Fetched, ServeError> {
        let fetched = self.layers.upstream.fetch_small(request).await;
        fetched.map_err(|error| from_fetch(&name(request), &error))
    }

    /// What the store has, put into memory; the other text of the version too, since it is asked for next.
    pub(super) async fn held_text(
        &self,
        request: &Request,
        why: Why,
    ) -> Result<Option<Arc<Ready>>, ServeError> {
        let version = match request {
            Request::Info(module, Query::Version(version)) => {
                ModuleVersion { module: module.clone(), version: version.clone() }
            }
            Request::Mod(version) => version.clone(),
            Request::List(_) | Request::Latest(_) | Request::Info(..) | Request::Zip(_) => return Ok(None),
        };
        let removals = self.layers.store.removals();
        let Some(record) = self.record(&version).await? else { return Ok(None) };
        if why == Why::Asked {
            self.remember_texts(&version, request, &record, removals);
        }
        Ok(self.layers.memory.ready(&key(request)).or_else(|| self.text_of(request, &record)))
    }

    /// Puts the texts of a record into memory; an `.info` that was not `asked` for only if there is nothing more to
    /// fetch when it will be.
    fn remember_texts(
        &self,
        version: &ModuleVersion,
        asked: &Request,
        record: &VersionRecord,
        removals: u64,
    ) {
        let info = Request::Info(version.module.clone(), Query::Version(version.version.clone()));
        for request in [info, Request::Mod(version.clone())] {
            let is_info = matches!(request, Request::Info(..));
            if is_info && record.zip.is_none() && request != *asked {
                continue;
            }
            if let Some(ready) = self.text_of(&request, record) {
                self.remember_text(&request, &ready, removals);
            }
        }
    }

    /// Puts a text into memory. Whoever takes a record out of the store forgets its texts once, which may have been before this: unless
    /// nothing left since `removals` was read, before the record was, it has to be there still.
    pub(super) fn remember_text(&self, request: &Request, ready: &Arc<Ready>, removals: u64) {
        let path = key(request);
        self.layers.memory.put_ready(&path, Arc::clone(ready));
        if self.layers.store.removals() != removals && !self.is_stored(request, ready) {
            self.layers.memory.forget(&path);
        }
    }

    /// Whether the store has this text, as far as that is known without waiting.
    fn is_stored(&self, request: &Request, ready: &Ready) -> bool {
        let record = version_of(request).and_then(|version| self.layers.store.record_at_hand(&version));
        let Some(Ok(Some(record))) = record else { return false };
        let stored = if matches!(request, Request::Mod(_)) { record.go_mod } else { record.info };
        stored.is_some() && stored.as_deref() == ready.content.slice()
    }

    fn text_of(&self, request: &Request, record: &VersionRecord) -> Option<Arc<Ready>> {
        let (kind, text) = match request {
            Request::Info(..) => (Kind::Info, record.info.clone()),
            Request::Mod(_) => (Kind::Mod, record.go_mod.clone()),
            Request::List(_) | Request::Latest(_) | Request::Zip(_) => return None,
        };
        text.map(|text| prepare::text(kind, text, self.is_private(request.module())))
    }
}

/// A request in the words of its user: `module@version`, or `module` alone.
pub(super) fn name(request: &Request) -> String {
    match request {
        Request::List(module) => format!("{module}"),
        Request::Latest(module) => format!("{module}@latest"),
        Request::Info(module, query) => format!("{module}@{}", query.as_str()),
        Request::Mod(version) | Request::Zip(version) => version.to_string(),
    }
}

pub(super) fn lost(request: &Request) -> ServeError {
    ServeError::Internal { what: format!("{request} was stored but is not in its record") }
}
