//! Lists of private modules: what the nodes hold that should hold them. No origin is asked.
//!
//! A node that was away may not have what was published meanwhile, so all replicas are asked: whatever is published is held by most
//! of them. What is told of a path that is no module is in `private_paths`.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use cluster::NodeName;
use cluster::layout::Slot;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use gomod::info::Info;
use gomod::list::{self, VersionList};
use gomod::{ModulePath, Query, Request, Version};
use proto::data::v1::RefusalReason;
use tracing::Instrument as _;

use super::error::{FETCH_FORBIDDEN_NEXT, ServeError};
use super::lend::Lent;
use super::lists::{in_order, not_all_of};
use super::prepare;
use super::proxy::{Answer, Asker, Mode, Proxy};
use super::ready::Ready;
use super::tag::Cache;
use super::texts::name;
use crate::client;
use crate::peers::Effort;

/// What this node and those that should hold a module have of it.
pub(super) struct Known {
    list: VersionList,
    cache: Cache,
    pub(super) presence: Presence,
}

/// Whether there is anything of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Somebody holds a version.
    Here,
    /// Nobody does, and if there were one, somebody would.
    Absent,
    /// Those who would have to hold it cannot all be asked.
    Unknown,
}

impl Proxy {
    /// Answers the list or `@latest` of a private module from what is held; `refusal` where nothing is.
    pub(super) async fn private_passing(
        self: &Arc<Self>,
        request: &Request,
        asker: Asker,
        refusal: ServeError,
    ) -> Result<Answer, ServeError> {
        if asker != Asker::Client {
            let held = self.all_held_versions(request.module()).await?;
            let ready = self.derived_from(request, held).await?.ok_or_else(|| not_held(request))?;
            return Ok(Answer::Ready { ready, cache: Cache::Hit });
        }
        let module = request.module();
        let known = self.known_of(module).await?;
        match request {
            Request::List(_) if known.presence == Presence::Here => {
                return Ok(Answer::Ready {
                    ready: self.as_told(request, known.list.render()),
                    cache: known.cache,
                });
            }
            Request::Latest(_) if known.presence == Presence::Here => {
                let latest = match known.list.latest() {
                    Some(latest) => latest.clone(),
                    None => self.latest_commit_of_all(request).await?.ok_or(refusal)?,
                };
                let info = Request::Info(module.clone(), Query::Version(latest));
                let answer = Box::pin(self.text(info, Mode::CachedOnly, asker)).await?;
                return self.as_latest(request, answer);
            }
            Request::List(_) | Request::Latest(_) | Request::Info(..) | Request::Mod(_) | Request::Zip(_) => {
            }
        }
        Err(self.refused_or_within(request, known.presence, refusal).await)
    }

    /// The `.info` of the latest version, for as long as there is no later one.
    fn as_latest(&self, request: &Request, answer: Answer) -> Result<Answer, ServeError> {
        let lost = || super::texts::lost(request);
        let Answer::Ready { ready, cache } = answer else { return Err(lost()) };
        let body = ready.content.bytes().ok_or_else(lost)?;
        Ok(Answer::Ready { ready: self.as_told(request, body), cache })
    }

    /// What this node and those that should hold the module have of it. One flight for all who ask before it begins.
    pub(super) async fn known_of(self: &Arc<Self>, module: &ModulePath) -> Result<Arc<Known>, ServeError> {
        if let Some(earlier) = self.known.under_way(module) {
            // It may have asked before what this request is to find was published, so it is only waited for, to its very end.
            earlier.landed_where(|_| false).await;
        }
        let proxy = Arc::clone(self);
        let waiter = self.known.join(module, |flight| {
            let module = module.clone();
            let asking = async move {
                let landed = Box::pin(proxy.ask_of(&module)).await.map(Arc::new);
                flight.land(landed);
            };
            client::spawn(asking.in_current_span());
        });
        let lost = || ServeError::Internal { what: "ask what there is of a module".to_owned() };
        waiter.landed().await.unwrap_or_else(|| Err(lost()))
    }

    /// What cannot be read here counts if no other one has a list: what is left may not be all of it.
    async fn ask_of(&self, module: &ModulePath) -> Result<Known, ServeError> {
        let held = self.held(module).await?;
        let mut may_be_less = held.may_have_more;
        let held = in_order(held);
        let mut is_here = !held.is_empty();
        let (mut list, mut cache) = (VersionList::new(held, module), Cache::Hit);
        let (route, request) = (self.layers.peers.route(module), &Request::List(module.clone()));
        let mut asking: FuturesUnordered<_> = route
            .all()
            .map(|node| async move { (node, self.ask(node, request, Effort::Held, 0).await) })
            .collect();
        let mut without = Vec::new();
        while let Some((node, answer)) = asking.next().await {
            let whole = match answer {
                Some(Ok(Lent::Whole(whole))) => whole,
                Some(Err(refusal)) if refusal.reason() == RefusalReason::NotHeld => {
                    // By a layout that is not known here others would hold it.
                    if crate::peers::epoch_of(&refusal) <= self.layers.peers.epoch() {
                        without.push(node);
                    }
                    continue;
                }
                Some(Ok(Lent::Zip { .. }) | Err(_)) | None => continue,
            };
            let Ok(theirs) = VersionList::parse_upstream(&whole.content, module) else { continue };
            (is_here, may_be_less) = (true, false);
            let both = list.union(&theirs);
            if both.versions().len() > list.versions().len() {
                (list, cache) = (both, Cache::Peer);
            }
        }
        if may_be_less {
            return Err(not_all_of(module));
        }
        let presence = if is_here {
            Presence::Here
        } else if self.would_be_held(module, &without) {
            Presence::Absent
        } else {
            Presence::Unknown
        };
        Ok(Known { list, cache, presence })
    }

    /// Whether some of those that said that they are `without` a module would hold it, were it published. It would be at most of its
    /// replicas, by the layout in force or by the one before: so no more than half may be silent.
    fn would_be_held(&self, module: &ModulePath, without: &[&NodeName]) -> bool {
        let peers = &self.layers.peers;
        // Every process belongs to a cluster, if only to one of its own, a moment after its start.
        let Some((me, view)) = peers.view() else { return false };
        let Some(placement) = view.placement() else { return true };
        let slot = Slot::of(module.as_str());
        let mut layouts = std::iter::once(placement.new_layout()).chain(placement.old_layout());
        !peers.is_sent_away()
            && layouts.all(|layout| {
                let replicas = layout.replicas(slot);
                let silent = replicas.iter().filter(|node| **node != me && !without.contains(node));
                silent.count() <= replicas.len() / 2
            })
    }

    /// The newest commit that this node or one of those that should hold the module has, where nothing is tagged.
    async fn latest_commit_of_all(&self, request: &Request) -> Result<Option<Version>, ServeError> {
        let module = request.module();
        let mut commits = self.held_versions(module).await?;
        let route = self.layers.peers.route(module);
        let mut asking: FuturesUnordered<_> =
            route.all().map(|node| self.ask(node, request, Effort::Held, 0)).collect();
        while let Some(answer) = asking.next().await {
            if let Some(Ok(Lent::Whole(whole))) = answer
                && let Ok(info) = Info::parse(whole.content)
            {
                commits.push(info.version().clone());
            }
        }
        Ok(list::latest(&commits).cloned())
    }

    fn as_told(&self, request: &Request, body: Bytes) -> Arc<Ready> {
        let answer = crate::store::CachedAnswer { body, fetched_us: self.now_us(), status: 200 };
        let (now, now_us, lifetime) = (self.monotonic(), self.now_us(), self.settings.list_lifetime);
        prepare::passing(super::passing::kind(request), &answer, now, now_us, lifetime, true)
    }
}

/// What another node is told: that this one has nothing of it, which is not the same as that there is nothing.
fn not_held(request: &Request) -> ServeError {
    ServeError::NotHeld {
        what: name(request).into(),
        why: Cow::Borrowed("it is private, and nothing of it is held here"),
        next: Cow::Borrowed(FETCH_FORBIDDEN_NEXT),
    }
}
