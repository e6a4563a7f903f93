//! What is listed of a module, and which version of it is the latest: what the origin says, and what follows from what is held.

use std::sync::Arc;

use bytes::Bytes;
use gomod::list::{self, VersionList};
use gomod::{ModulePath, ModuleVersion, Query, Request};

use super::error::ServeError;
use super::passing::kind;
use super::prepare;
use super::proxy::Proxy;
use super::ready::Ready;
use super::texts::{Why, lost};
use crate::store::{CachedAnswer, Class};

impl Proxy {
    /// The origin's list, and what it listed before that is still held here.
    pub(super) async fn fetch_list(
        &self,
        request: &Request,
        module: &ModulePath,
    ) -> Result<Bytes, ServeError> {
        let fetched = self.fetch(request).await;
        // What was listed before is a courtesy; damage there must not cost the list that just came.
        let kept = self.listed_and_held(request, module).await.unwrap_or_default();
        let listed = match fetched {
            Ok(fetched) => VersionList::parse_upstream(&fetched.body, module).map_err(|error| {
                ServeError::BadContent { what: module.to_string().into(), why: error.to_string() }
            })?,
            Err(ServeError::NotFound { .. } | ServeError::Gone { .. }) if !kept.is_empty() => {
                VersionList::new([], module)
            }
            Err(error) => return Err(error),
        };
        self.keep_what_is_lost(module, &listed, &kept).await;
        let kept = VersionList::new(kept.into_iter().map(|(version, _)| version), module);
        Ok(listed.union(&kept).render())
    }

    /// What the origin no longer lists may be nowhere else any more, so that it is not evicted; what it lists again may be.
    async fn keep_what_is_lost(
        &self,
        module: &ModulePath,
        listed: &VersionList,
        kept: &[(gomod::Version, Class)],
    ) {
        let changes: Vec<(ModuleVersion, Class)> = kept
            .iter()
            .filter_map(|(version, class)| {
                let class = class_by_list(*class, listed.versions().binary_search(version).is_ok())?;
                Some((ModuleVersion { module: module.clone(), version: version.clone() }, class))
            })
            .collect();
        if changes.is_empty() {
            return;
        }
        let changed = self.with_store("keep what an origin has lost", move |store| {
            changes.iter().try_for_each(|(version, class)| store.set_class(version, *class).map(drop))
        });
        if let Err(error) = changed.await {
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
        let info = Request::Info(module.clone(), Query::Version(latest.ok_or(unnamed)?));
        // Nobody has asked for this version yet, so its `.info` stays out of memory.
        let landed = self.begin_own_text(&info, Why::Ahead).landed().await;
        let (ready, _) = landed.unwrap_or_else(|| Err(lost(request)))?;
        ready.content.bytes().ok_or_else(|| lost(request))
    }

    /// What was listed before and whose zip is held.
    async fn listed_and_held(
        &self,
        request: &Request,
        module: &ModulePath,
    ) -> Result<Vec<(gomod::Version, Class)>, ServeError> {
        let Some(before) = self.held_passing(request).await? else { return Ok(Vec::new()) };
        let Some(before) = before.content.bytes() else { return Ok(Vec::new()) };
        let Ok(before) = VersionList::parse_upstream(&before, module) else { return Ok(Vec::new()) };
        let mut held = self.held(module).await?;
        held.retain(|(version, _)| before.versions().binary_search(version).is_ok());
        Ok(held)
    }

    /// Versions whose zip is held, in order.
    pub(super) async fn held_versions(&self, module: &ModulePath) -> Result<Vec<gomod::Version>, ServeError> {
        let mut held: Vec<_> = self.held(module).await?.into_iter().map(|(version, _)| version).collect();
        held.sort();
        Ok(held)
    }

    async fn held(&self, module: &ModulePath) -> Result<Vec<(gomod::Version, Class)>, ServeError> {
        let wanted = module.clone();
        self.with_store("read the versions of a module", move |store| store.held(&wanted)).await
    }

    /// Without a network and without a list from better times: what is held is what there is.
    pub(super) async fn derived(&self, request: &Request) -> Result<Option<Arc<Ready>>, ServeError> {
        let module = request.module();
        let held = self.held_versions(module).await?;
        let body = match request {
            // An empty one says that the module is known and nothing of it is tagged; then `@latest` is asked for.
            Request::List(_) if !held.is_empty() => VersionList::new(held, module).render(),
            Request::Latest(_) => {
                let Some(latest) = list::latest(&held) else { return Ok(None) };
                let version = ModuleVersion { module: module.clone(), version: latest.clone() };
                let Some(info) = self.record(&version).await?.and_then(|record| record.info) else {
                    return Ok(None);
                };
                info
            }
            Request::List(_) | Request::Info(..) | Request::Mod(_) | Request::Zip(_) => return Ok(None),
        };
        let lifetime_us = i64::try_from(self.settings.list_lifetime.as_micros()).unwrap_or(i64::MAX);
        let answer =
            CachedAnswer { body, fetched_us: self.now_us().saturating_sub(lifetime_us), status: 200 };
        Ok(Some(prepare::passing(
            kind(request),
            &answer,
            self.monotonic(),
            self.now_us(),
            self.settings.list_lifetime,
            self.is_private(request.module()),
        )))
    }
}

/// The class that a version of `class` is to have now; nothing where it has the right one.
fn class_by_list(class: Class, is_listed: bool) -> Option<Class> {
    match (class, is_listed) {
        (Class::Cache, false) => Some(Class::Retained),
        (Class::Retained, true) => Some(Class::Cache),
        (Class::Cache, true) | (Class::Retained, false) | (Class::Published, _) => None,
    }
}
