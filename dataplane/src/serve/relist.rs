//! What an origin has lost is kept for good, so it is asked now and then whether it has it again: by each node for its own copies, since
//! clients may ask another one for the list, or nobody.

use std::sync::Arc;
use std::time::Duration;

use gomod::list::VersionList;
use gomod::{ModulePath, Request};
use tokio_util::sync::CancellationToken;

use super::error::ServeError;
use super::proxy::{Mode, Proxy};
use crate::store::Class;

/// After a start, and between two looks.
const FIRST_PAUSE: Duration = Duration::from_hours(1);
const PAUSE: Duration = Duration::from_hours(12);
/// Modules that one look asks about.
const MODULES_MAX: usize = 10_000;

impl Proxy {
    /// Asks again and again until `stop`.
    pub(crate) async fn keep_relisting(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            pause = PAUSE;
            let looking = self.relist_all();
            match stop.run_until_cancelled(Box::pin(looking)).await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(%error, "what origins have lost cannot be read"),
            }
        }
    }

    async fn relist_all(&self) -> Result<(), ServeError> {
        let modules = self
            .with_store("read what origins have lost", |store| store.modules_of(Class::Retained, MODULES_MAX))
            .await?;
        for module in modules {
            if let Err(error) = self.relist(&module).await {
                tracing::debug!(%error, "whether an origin has again what it had lost is not known");
            }
        }
        Ok(())
    }

    /// Makes evictable what the origin lists again.
    pub(super) async fn relist(&self, module: &ModulePath) -> Result<(), ServeError> {
        self.may_fetch(module, module.as_str(), Mode::Fetch)?;
        let fetched = self.fetch(&Request::List(module.clone())).await?;
        let listed = VersionList::parse_upstream(&fetched.body, module).map_err(|error| {
            ServeError::BadContent { what: module.to_string().into(), why: error.to_string() }
        })?;
        let mut lost = self.held(module).await?.versions;
        lost.retain(|(_, class)| *class == Class::Retained);
        self.keep_what_is_lost(module, &listed, &lost).await;
        Ok(())
    }
}
