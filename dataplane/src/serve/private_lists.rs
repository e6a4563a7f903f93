//! Lists of private modules: what the nodes hold that should hold them. No origin is asked.
//!
//! A node that was away may not have what was published meanwhile, so all replicas are asked: whatever is published is held by most
//! of them.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use gomod::list::VersionList;
use gomod::{ModulePath, Query, Request};

use super::error::ServeError;
use super::lend::Lent;
use super::prepare;
use super::proxy::{Answer, Asker, Mode, Proxy};
use super::ready::Ready;
use super::tag::Cache;
use crate::peers::Effort;

impl Proxy {
    /// Answers the list or `@latest` of a private module from what is held; `refusal` where nothing is.
    pub(super) async fn private_passing(
        self: &Arc<Self>,
        request: &Request,
        asker: Asker,
        refusal: ServeError,
    ) -> Result<Answer, ServeError> {
        if asker != Asker::Client {
            let ready = self.derived(request).await?.ok_or(refusal)?;
            return Ok(Answer::Ready { ready, cache: Cache::Hit });
        }
        let module = request.module();
        let (list, cache) = self.list_of_all(module).await?;
        match request {
            Request::List(_) if !list.versions().is_empty() => {
                Ok(Answer::Ready { ready: self.as_list(request, &list), cache })
            }
            Request::Latest(_) => {
                let latest = list.latest().cloned().ok_or(refusal)?;
                let info = Request::Info(module.clone(), Query::Version(latest));
                Box::pin(self.text(info, Mode::CachedOnly, asker)).await
            }
            Request::List(_) | Request::Info(..) | Request::Mod(_) | Request::Zip(_) => Err(refusal),
        }
    }

    /// What this node and those that should hold the module have of it.
    async fn list_of_all(&self, module: &ModulePath) -> Result<(VersionList, Cache), ServeError> {
        let mut list = VersionList::new(self.held_versions(module).await?, module);
        let mut cache = Cache::Hit;
        let (route, request) = (self.layers.peers.route(module), Request::List(module.clone()));
        let mut asking: FuturesUnordered<_> =
            route.all().map(|node| self.ask(node, &request, Effort::Held, 0)).collect();
        while let Some(answer) = asking.next().await {
            let Some(Ok(Lent::Whole(whole))) = answer else { continue };
            let Ok(theirs) = VersionList::parse_upstream(&whole.content, module) else { continue };
            let both = list.union(&theirs);
            if both.versions().len() > list.versions().len() {
                (list, cache) = (both, Cache::Peer);
            }
        }
        Ok((list, cache))
    }

    fn as_list(&self, request: &Request, list: &VersionList) -> Arc<Ready> {
        let answer =
            crate::store::CachedAnswer { body: list.render(), fetched_us: self.now_us(), status: 200 };
        let (now, now_us, lifetime) = (self.monotonic(), self.now_us(), self.settings.list_lifetime);
        prepare::passing(super::passing::kind(request), &answer, now, now_us, lifetime, true)
    }
}
