//! What is listed of a module, and which version of it is the latest: what the origin says, and what follows from what is held.

use std::sync::Arc;

use bytes::Bytes;
use gomod::list::{self, VersionList};
use gomod::{Info, ModulePath, ModuleVersion, Query, Request};

use super::error::ServeError;
use super::passing::kind;
use super::prepare;
use super::proxy::Proxy;
use super::ready::Ready;
use super::stand_in::written;
use super::texts::{Why, lost};
use crate::store::{CachedAnswer, Class, ClassChange, Held};

/// What was listed before.
#[derive(Default)]
struct Before {
    /// The versions of it whose zip is held, with their classes.
    held: Vec<(gomod::Version, Class)>,
    /// What stays listed, whatever the origin says.
    stays: VersionList,
    /// All that was listed.
    listed: VersionList,
}

impl Proxy {
    /// The origin's list, and what it listed before that is still held here.
    pub(super) async fn fetch_list(
        &self,
        request: &Request,
        module: &ModulePath,
    ) -> Result<Bytes, ServeError> {
        let fetched = self.fetch(request).await;
        let before = self.listed_before(request, module).await;
        let listed = match fetched {
            Ok(fetched) => VersionList::parse_upstream(&fetched.body, module).map_err(|error| {
                ServeError::BadContent { what: module.to_string().into(), why: error.to_string() }
            })?,
            Err(ServeError::NotFound { .. } | ServeError::Gone { .. })
                if !before.stays.versions().is_empty() =>
            {
                VersionList::new([], module)
            }
            Err(error) => return Err(error),
        };
        let is_new = |version: &&gomod::Version| before.listed.versions().binary_search(version).is_err();
        self.layers.upstream.appeared(module, listed.versions().iter().filter(is_new));
        self.keep_what_is_lost(module, &listed, &before.held).await;
        Ok(listed.union(&before.stays).render())
    }

    /// What the origin no longer lists may be nowhere else any more, so that it is not evicted; what it lists again may be.
    pub(super) async fn keep_what_is_lost(
        &self,
        module: &ModulePath,
        listed: &VersionList,
        held: &[(gomod::Version, Class)],
    ) {
        let changes: Vec<ClassChange> = held
            .iter()
            .filter_map(|(version, from)| {
                let to = class_by_list(*from, listed.versions().binary_search(version).is_ok())?;
                let version = ModuleVersion { module: module.clone(), version: version.clone() };
                Some(ClassChange { version, from: *from, to })
            })
            .collect();
        if changes.is_empty() {
            return;
        }
        let changed = self
            .with_store("keep what an origin has lost", move |store| store.change_classes(&changes))
            .await;
        if let Err(error) = changed {
            tracing::debug!(%error, "what an origin has lost may be evicted");
        }
    }

    /// The origin's latest version. One that names none, such as a copy of a module cache, may list commits: the go command would choose
    /// the newest of them by itself, but of us it hears of tagged versions alone.
    pub(super) async fn fetch_latest(
        self: &Arc<Self>,
        request: &Request,
        module: &ModulePath,
    ) -> Result<Bytes, ServeError> {
        let unnamed = match self.fetch(request).await {
            Ok(fetched) => return Ok(fetched.body),
            Err(error @ (ServeError::NotFound { .. } | ServeError::Gone { .. })) => error,
            Err(error) => return Err(error),
        };
        let listed = match self.fetch(&Request::List(module.clone())).await {
            Ok(fetched) => fetched.body,
            Err(ServeError::NotFound { .. } | ServeError::Gone { .. }) => return Err(unnamed),
            Err(error) => return Err(error),
        };
        let latest = list::latest_upstream(&listed, module).map_err(|error| ServeError::BadContent {
            what: module.to_string().into(),
            why: error.to_string(),
        })?;
        let latest = latest.ok_or(unnamed)?;
        self.layers.upstream.appeared(module, std::iter::once(&latest));
        let info = Request::Info(module.clone(), Query::Version(latest));
        // Nobody has asked for this version yet, so its `.info` stays out of memory.
        let landed = self.begin_own_text(&info, Why::Ahead).landed().await;
        let (ready, _) = landed.unwrap_or_else(|| Err(lost(request)))?;
        ready.content.bytes().ok_or_else(|| lost(request))
    }

    /// What was listed before, of which all stays while it cannot be read what of it is held: once a version is in no list any more, nobody
    /// misses it when its origin has lost it, and it is evicted. Damage here does not cost the list that just came.
    async fn listed_before(&self, request: &Request, module: &ModulePath) -> Before {
        let before = match self.held_passing(request).await {
            Ok(before) => before.and_then(|before| before.content.bytes()),
            Err(error) => {
                tracing::debug!(%error, "what was listed before cannot be read");
                None
            }
        };
        let listed = before.and_then(|before| VersionList::parse_upstream(&before, module).ok());
        let Some(listed) = listed else { return Before::default() };
        let Held { versions: mut held, may_have_more } = match self.held(module).await {
            Ok(held) => held,
            Err(error) => {
                tracing::debug!(%error, "what is held of what was listed before cannot be read");
                Held { may_have_more: true, ..Held::default() }
            }
        };
        held.retain(|(version, _)| listed.versions().binary_search(version).is_ok());
        let stays = if may_have_more {
            listed.clone()
        } else {
            VersionList::new(held.iter().map(|(version, _)| version.clone()), module)
        };
        Before { held, stays, listed }
    }

    /// Versions whose zip is held, in order, as far as they can be read.
    pub(crate) async fn held_versions(&self, module: &ModulePath) -> Result<Vec<gomod::Version>, ServeError> {
        Ok(in_order(self.held(module).await?))
    }

    /// The same where nobody else would tell what is missing: an error if a damaged record may be of one more.
    pub(super) async fn all_held_versions(
        &self,
        module: &ModulePath,
    ) -> Result<Vec<gomod::Version>, ServeError> {
        let held = self.held(module).await?;
        if held.may_have_more { Err(not_all_of(module)) } else { Ok(in_order(held)) }
    }

    pub(super) async fn held(&self, module: &ModulePath) -> Result<Held, ServeError> {
        let wanted = module.clone();
        self.with_store("read the versions of a module", move |store| store.held(&wanted)).await
    }

    /// Versions that can be served where nothing is fetched, in order: those whose zip is held here, or by a node that is asked for what is
    /// missing here and answers.
    async fn versions_within_reach(
        self: &Arc<Self>,
        module: &ModulePath,
    ) -> Result<Vec<gomod::Version>, ServeError> {
        let mut versions = self.held_versions(module).await?;
        let (peers, route) = (&self.layers.peers, self.route(module));
        let asked = route.all().map(|node| peers.held_versions(node, module));
        for told in futures_util::future::join_all(asked).await {
            match told {
                Ok(told) => versions.extend(told),
                Err(error) => tracing::debug!(%error, "what it holds is not within reach"),
            }
        }
        versions.sort();
        versions.dedup();
        Ok(versions)
    }

    /// Without a network and without a list from better times: what is held is what there is.
    pub(super) async fn derived(
        self: &Arc<Self>,
        request: &Request,
    ) -> Result<Option<Arc<Ready>>, ServeError> {
        let held = self.versions_within_reach(request.module()).await?;
        self.derived_from(request, held).await
    }

    /// The same from these versions.
    pub(super) async fn derived_from(
        self: &Arc<Self>,
        request: &Request,
        held: Vec<gomod::Version>,
    ) -> Result<Option<Arc<Ready>>, ServeError> {
        let module = request.module();
        let body = match request {
            // An empty one says that the module is known and nothing of it is tagged; then `@latest` is asked for.
            Request::List(_) if !held.is_empty() => VersionList::new(held, module).render(),
            Request::Latest(_) => {
                let Some(latest) = list::latest(&held) else { return Ok(None) };
                let version = ModuleVersion { module: module.clone(), version: latest.clone() };
                if let Some(record) = self.record(&version).await? {
                    record.info.unwrap_or_else(|| written(&version.version))
                } else {
                    let info = Request::Info(module.clone(), Query::Version(version.version));
                    let lent = self.lent_copy(&info).await?;
                    let Some(info) = lent.and_then(|(ready, _)| ready.content.bytes()) else {
                        return Ok(None);
                    };
                    info
                }
            }
            Request::List(_) | Request::Info(..) | Request::Mod(_) | Request::Zip(_) => return Ok(None),
        };
        Ok(Some(self.as_derived(request, body)))
    }

    /// What of an older answer can be served where nothing is fetched: the go command takes the highest version that is listed, and does not
    /// step down when it does not get that.
    pub(super) async fn cut_to_held(
        self: &Arc<Self>,
        request: &Request,
        ready: Arc<Ready>,
    ) -> Result<Option<Arc<Ready>>, ServeError> {
        let module = request.module();
        match request {
            Request::List(_) => {
                let listed = VersionList::parse_upstream(ready.content.slice().unwrap_or_default(), module);
                let Ok(listed) = listed else { return Ok(Some(ready)) };
                let held = self.versions_within_reach(module).await?;
                let (all, is_held) = (listed.versions().len(), |version: &&gomod::Version| {
                    held.binary_search(version).is_ok()
                });
                let left: Vec<_> = listed.versions().iter().filter(is_held).cloned().collect();
                if left.len() == all {
                    return Ok(Some(ready));
                }
                Ok(Some(self.as_derived(request, VersionList::new(left, module).render())))
            }
            Request::Latest(_) => {
                let named = ready.content.bytes().and_then(|info| Info::parse(info).ok());
                let Some(named) = named else { return Ok(Some(ready)) };
                let held = self.versions_within_reach(module).await?;
                if held.contains(named.version()) {
                    return Ok(Some(ready));
                }
                self.derived_from(request, held).await
            }
            Request::Info(..) | Request::Mod(_) | Request::Zip(_) => Ok(Some(ready)),
        }
    }

    /// An answer that follows from what is held: as old as one may be, since an origin may have a newer one.
    pub(super) fn as_derived(&self, request: &Request, body: Bytes) -> Arc<Ready> {
        let lifetime_us = i64::try_from(self.settings.list_lifetime.as_micros()).unwrap_or(i64::MAX);
        let answer =
            CachedAnswer { body, fetched_us: self.now_us().saturating_sub(lifetime_us), status: 200 };
        prepare::passing(
            kind(request),
            &answer,
            self.monotonic(),
            self.now_us(),
            self.settings.list_lifetime,
            self.is_private(request.module()),
        )
    }
}

/// What cannot all be read may be what is asked for.
pub(super) fn not_all_of(module: &ModulePath) -> ServeError {
    ServeError::Internal { what: format!("read all that is held of {module}") }
}

/// The versions alone.
pub(super) fn in_order(held: Held) -> Vec<gomod::Version> {
    let mut held: Vec<_> = held.versions.into_iter().map(|(version, _)| version).collect();
    held.sort();
    held
}

/// The class that a version of `class` is to have now; nothing where it has the right one.
fn class_by_list(class: Class, is_listed: bool) -> Option<Class> {
    match (class, is_listed) {
        (Class::Cache, false) => Some(Class::Retained),
        (Class::Retained, true) => Some(Class::Cache),
        (Class::Cache, true) | (Class::Retained, false) | (Class::Published, _) => None,
    }
}
