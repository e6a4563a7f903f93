//! Small files that another node lends: kept here like those of an origin.

use std::sync::Arc;

use gomod::info::Info;
use gomod::list::VersionList;
use gomod::modfile::module_line;
use gomod::{ModuleVersion, Query, Request};
use proto::data::v1::Whole;
use tracing::Instrument as _;

use super::error::ServeError;
use super::flights::Waiter;
use super::lend::Lent;
use super::prepare;
use super::proxy::{Landed, Mode, Proxy, key};
use super::ready::Ready;
use super::tag::{Cache, Kind};
use super::texts::{Why, lost, name};
use crate::store::{CachedAnswer, Patch, Verified};

impl Proxy {
    /// Whether another node fetches for the slot of the module of `request`.
    pub(super) fn is_fetched_elsewhere(&self, request: &Request) -> bool {
        !self.layers.peers.route(request.module()).fetchers.is_empty()
    }

    /// Joins or begins the flight that asks other nodes for a small file.
    pub(super) fn begin_lent(self: &Arc<Self>, request: &Request) -> Waiter<Landed> {
        let proxy = Arc::clone(self);
        self.lent_texts.join(request, |flight| {
            let span = self.fetch_span(request);
            let request = request.clone();
            let making = async move {
                let landed = proxy.make_lent(&request).await;
                flight.land(landed);
            };
            tokio::spawn(making.instrument(span));
        })
    }

    async fn make_lent(self: &Arc<Self>, request: &Request) -> Landed {
        let is_text = matches!(request, Request::Info(_, Query::Version(_)) | Request::Mod(_));
        if is_text && let Some(ready) = self.held_text(request, Why::Asked).await? {
            return Ok((ready, Cache::Hit));
        }
        match self.borrow(request, Mode::Fetch, 0).await? {
            Some(Lent::Whole(whole)) => self.keep_lent(request, whole).await,
            Some(Lent::Zip { .. }) => Err(lost(request)),
            None => {
                let own = if is_text {
                    self.begin_own_text(request, Why::Asked)
                } else {
                    self.begin_own_passing(request)
                };
                own.landed().await.unwrap_or_else(|| Err(lost(request)))
            }
        }
    }

    /// What another node holds of a small file, where nothing may be fetched.
    pub(super) async fn lent_copy(
        &self,
        request: &Request,
    ) -> Result<Option<(Arc<Ready>, Cache)>, ServeError> {
        match self.borrow(request, Mode::CachedOnly, 0).await {
            Ok(Some(Lent::Whole(whole))) => self.keep_lent(request, whole).await.map(Some),
            // It is as if nobody had it.
            Ok(Some(Lent::Zip { .. }) | None) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores what another node sent, unless that makes no sense.
    pub(super) async fn keep_lent(&self, request: &Request, whole: Whole) -> Landed {
        believe(request, &whole)?;
        let version = match request {
            Request::Info(module, Query::Version(version)) => {
                ModuleVersion { module: module.clone(), version: version.clone() }
            }
            Request::Mod(version) => version.clone(),
            Request::List(_) | Request::Latest(_) | Request::Info(..) => {
                return Ok(self.keep_lent_passing(request, whole).await);
            }
            Request::Zip(_) => return Err(lost(request)),
        };
        let provenance = whole.provenance.unwrap_or_default();
        let mut patch = Patch {
            verified: if provenance.verified { Verified::ChecksumDatabase } else { Verified::Unchecked },
            origin: provenance.origin,
            ..Patch::default()
        };
        let kind = if matches!(request, Request::Mod(_)) { Kind::Mod } else { Kind::Info };
        let content = whole.content;
        *(if kind == Kind::Mod { &mut patch.go_mod } else { &mut patch.info }) = Some(content.clone());
        let stored = self.commit(&version, patch).await?;
        let held = stored.map_or(
            Some(content),
            |record| {
                if kind == Kind::Mod { record.go_mod } else { record.info }
            },
        );
        let ready = prepare::text(kind, held.ok_or_else(|| lost(request))?, self.is_private(&version.module));
        self.layers.memory.put_ready(&key(request), Arc::clone(&ready));
        Ok((ready, Cache::Peer))
    }

    async fn keep_lent_passing(&self, request: &Request, whole: Whole) -> (Arc<Ready>, Cache) {
        let age_us = i64::try_from(whole.age_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        let fetched_us = self.now_us().saturating_sub(age_us);
        let answer = CachedAnswer { body: whole.content, fetched_us, status: 200 };
        self.store_passing(request, &answer).await;
        let ready = self.remember_passing(request, &answer);
        if !whole.stale {
            return (ready, Cache::Peer);
        }
        // Nothing newer is to be had there for a while.
        let resting = prepare::resting(&ready, self.monotonic());
        self.layers.memory.put_ready(&key(request), Arc::clone(&resting));
        (resting, Cache::Stale)
    }
}

/// Nodes of other versions may err; what is kept for ever is looked at.
fn believe(request: &Request, whole: &Whole) -> Result<(), ServeError> {
    let refused = |why: String| ServeError::BadContent { what: name(request).into(), why };
    let sense = match request {
        Request::Info(..) | Request::Latest(_) => {
            Info::parse(whole.content.clone()).map(drop).map_err(|error| error.to_string())
        }
        Request::Mod(_) => module_line(&whole.content).map(drop).map_err(|error| error.to_string()),
        Request::List(module) => {
            VersionList::parse_upstream(&whole.content, module).map(drop).map_err(|error| error.to_string())
        }
        Request::Zip(_) => Ok(()),
    };
    sense.map_err(|why| refused(format!("what another node sent makes no sense: {why}")))
}
