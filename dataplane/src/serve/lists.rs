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
use crate::store::CachedAnswer;

impl Proxy {
    /// The origin's list, and what it listed before that is still held here.
    pub(super) async fn fetch_list(
        &self,
        request: &Request,
        module: &ModulePath,
    ) -> Result<Bytes, ServeError> {
        let fetched = self.fetch(request).await;
        // What was listed before is a courtesy; damage there must not cost the list that just came.
        let kept =
            self.listed_and_held(request, module).await.unwrap_or_else(|_| VersionList::new([], module));
        let listed = match fetched {
            Ok(fetched) => VersionList::parse_upstream(&fetched.body, module).map_err(|error| {
                ServeError::BadContent { what: module.to_string().into(), why: error.to_string() }
            })?,
            Err(ServeError::NotFound { .. } | ServeError::Gone { .. }) if !kept.versions().is_empty() => {
                VersionList::new([], module)
            }
            Err(error) => return Err(error),
        };
        Ok(listed.union(&kept).render())
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

    async fn listed_and_held(
        &self,
        request: &Request,
        module: &ModulePath,
    ) -> Result<VersionList, ServeError> {
        let Some(before) = self.held_passing(request).await? else { return Ok(VersionList::new([], module)) };
        let Some(before) = before.content.bytes() else { return Ok(VersionList::new([], module)) };
        let Ok(before) = VersionList::parse_upstream(&before, module) else {
            return Ok(VersionList::new([], module));
        };
        let held = self.held_versions(module).await?;
        let kept = before.versions().iter().filter(|version| held.binary_search(version).is_ok()).cloned();
        Ok(VersionList::new(kept, module))
    }

    /// Versions whose zip is held, in order.
    pub(super) async fn held_versions(&self, module: &ModulePath) -> Result<Vec<gomod::Version>, ServeError> {
        let wanted = module.clone();
        let all =
            self.with_store("read the versions of a module", move |store| store.versions(&wanted)).await?;
        let mut held: Vec<_> =
            all.into_iter().filter(|(_, held)| *held).map(|(version, _)| version).collect();
        held.sort();
        Ok(held)
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
