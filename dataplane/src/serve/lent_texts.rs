//! Small files that another node lends: kept here like those of an origin.

use std::sync::Arc;

use gomod::dirhash::go_mod_h1;
use gomod::modfile::module_line;
use gomod::{H1, ModuleVersion, Query, Request};
use proto::data::v1::Whole;
use tracing::Instrument as _;

use super::checks::Part;
use super::error::ServeError;
use super::flights::Waiter;
use super::lend::{Errand, Lent};
use super::look::Look;
use super::prepare;
use super::proxy::{Landed, Mode, Proxy, key};
use super::ready::{Lifetime, Ready};
use super::tag::{Cache, Kind};
use super::texts::{Why, lost, name};
use super::vouch::class_of;
use crate::client;
use crate::store::{CachedAnswer, Class, Patch, Verified};
use crate::upstream::kind::check_small;

impl Proxy {
    /// Whether another node fetches for the slot of the module of `request`.
    pub(super) fn is_fetched_elsewhere(&self, request: &Request) -> bool {
        !self.route(request.module()).fetchers.is_empty()
    }

    /// Joins or begins the flight that asks other nodes for a small file.
    pub(super) fn begin_lent(self: &Arc<Self>, request: &Request) -> Waiter<Landed> {
        let proxy = Arc::clone(self);
        self.lent_texts.join(request, |flight| {
            let span = self.fetch_span(request);
            let request = request.clone();
            let making = async move {
                let landed = Box::pin(proxy.make_lent(&request)).await;
                flight.land(landed);
            };
            client::spawn(making.instrument(span));
        })
    }

    async fn make_lent(self: &Arc<Self>, request: &Request) -> Landed {
        let is_text = matches!(request, Request::Info(_, Query::Version(_)) | Request::Mod(_));
        if is_text && let Some(ready) = self.held_text(request, Why::Asked).await? {
            return Ok((ready, Cache::Hit));
        }
        let lent = match self.borrow(Errand::whole(request, Mode::Fetch)).await? {
            Some(Lent::Whole(whole)) => Some(self.keep_lent(request, whole).await),
            Some(Lent::Zip { .. }) | None => None,
        };
        match lent {
            Some(Err(error @ ServeError::BadContent { .. })) => {
                tracing::warn!(request = %self.shown(request.module(), request), %error, "what another node sent is of no use");
                self.make_own(request, is_text).await
            }
            Some(landed) => landed,
            None => self.make_own(request, is_text).await,
        }
    }

    async fn make_own(self: &Arc<Self>, request: &Request, is_text: bool) -> Landed {
        let own =
            if is_text { self.begin_own_text(request, Why::Asked) } else { self.begin_own_passing(request) };
        own.landed().await.unwrap_or_else(|| Err(lost(request)))
    }

    /// What another node holds of a small file, where nothing may be fetched. One flight for all who ask.
    pub(super) async fn lent_copy(self: &Arc<Self>, request: &Request) -> Result<Option<Held>, ServeError> {
        let proxy = Arc::clone(self);
        let waiter = self.lent_copies.join(request, |flight| {
            let request = request.clone();
            let making = async move {
                let landed = match Box::pin(proxy.borrow(Errand::whole(&request, Mode::CachedOnly))).await {
                    Ok(Some(Lent::Whole(whole))) => proxy.keep_lent(&request, whole).await.map(Some),
                    // It is as if nobody had it.
                    Ok(Some(Lent::Zip { .. }) | None) => Ok(None),
                    Err(error) => Err(error),
                };
                flight.land(landed);
            };
            client::spawn(making.in_current_span());
        });
        waiter.landed().await.unwrap_or_else(|| Err(lost(request)))
    }

    /// A copy that `look` finds, for whoever is to fetch. What is of no use counts as none.
    pub(super) async fn copied_text(&self, request: &Request, look: &mut Look<'_>) -> Option<Held> {
        while let Some(lent) = look.copy().await {
            let Lent::Whole(whole) = lent else { continue };
            match self.keep_lent(request, whole).await {
                Ok(held) => return Some(held),
                Err(error) => look.came_to_nothing(error),
            }
        }
        None
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
        let told = class_of(&provenance);
        // A zip is what an origin may have lost.
        let class =
            if told == Class::Published { self.class_of_copy(&version.module, told) } else { Class::Cache };
        let mut patch = Patch { origin: provenance.origin, class, ..Patch::default() };
        let kind = if matches!(request, Request::Mod(_)) { Kind::Mod } else { Kind::Info };
        // Of an `.info` nobody vouches for anything.
        let content = whole.content;
        if kind == Kind::Mod && told != Class::Published {
            patch.verified =
                self.vouched_for(&version, provenance.verified, Part::GoMod, go_mod_h1(&content)).await?;
        }
        *(if kind == Kind::Mod { &mut patch.go_mod } else { &mut patch.info }) = Some(content.clone());
        let (verified, removals) = (patch.verified, self.layers.store.removals());
        let stored = self.commit(&version, patch).await?;
        if kind == Kind::Mod && told != Class::Published {
            self.layers.checks.stored(&version, verified);
        }
        let held = stored.map_or(
            Some(content),
            |record| {
                if kind == Kind::Mod { record.go_mod } else { record.info }
            },
        );
        let ready = prepare::text(kind, held.ok_or_else(|| lost(request))?, self.is_private(&version.module));
        self.remember_text(request, &ready, removals);
        Ok((ready, Cache::Peer))
    }

    /// Who vouches for a part of a copy: the checksum database, as the node says that sent it or as is known here. Refused where it is known here
    /// that it does not: nodes find that out at different times.
    pub(super) async fn vouched_for(
        &self,
        version: &ModuleVersion,
        vouched_there: bool,
        part: Part,
        h1: H1,
    ) -> Result<Verified, ServeError> {
        if vouched_there {
            return Ok(Verified::ChecksumDatabase);
        }
        self.layers.checks.known(version).await.check(version, part, &h1)
    }

    async fn keep_lent_passing(&self, request: &Request, whole: Whole) -> (Arc<Ready>, Cache) {
        let age_us = i64::try_from(whole.age_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        let mut fetched_us = self.now_us().saturating_sub(age_us);
        if whole.stale {
            // Whatever the clocks say, it is past its lifetime.
            let lifetime = i64::try_from(self.settings.list_lifetime.as_micros()).unwrap_or(i64::MAX);
            fetched_us = fetched_us.min(self.now_us().saturating_sub(lifetime));
        }
        // An older answer takes the place of none.
        let held = self.held_passing(request).await.ok().flatten();
        let newer = held.filter(|held| match &held.lifetime {
            Lifetime::Immutable => false,
            Lifetime::Until(until) => until.fetched_us > fetched_us,
        });
        let ready = if let Some(held) = newer {
            held
        } else {
            let answer = CachedAnswer { body: whole.content, fetched_us, status: 200 };
            self.store_passing(request, &answer).await;
            self.remember_passing(request, &answer)
        };
        if !whole.stale {
            return (ready, Cache::Peer);
        }
        // Nothing newer is to be had there for a while.
        let resting = prepare::resting(&ready, self.monotonic());
        self.layers.memory.put_ready(&key(request), Arc::clone(&resting));
        (resting, Cache::Stale)
    }
}

/// An answer that is there, and where it comes from.
pub(super) type Held = (Arc<Ready>, Cache);

/// Nodes of other versions may err; what is kept for ever is looked at.
fn believe(request: &Request, whole: &Whole) -> Result<(), ServeError> {
    let refused = |why: String| ServeError::BadContent {
        what: name(request).into(),
        why: format!("what another node sent makes no sense: {why}"),
    };
    check_small(request, &whole.content).map_err(|unbelievable| refused(unbelievable.detail))?;
    match request {
        Request::Mod(_) => module_line(&whole.content).map(drop).map_err(|error| refused(error.to_string())),
        Request::Info(..) | Request::List(_) | Request::Latest(_) | Request::Zip(_) => Ok(()),
    }
}
