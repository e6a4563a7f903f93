//! Stored bytes that do not verify are set aside, never served; the next request fetches them anew.

use std::sync::Arc;

use gomod::ModuleVersion;

use super::blobs::OnDamage;
use super::error::ServeError;
use super::memory::Memory;
use super::metrics::ServeFamilies;
use super::proxy::{Proxy, forget};
use crate::private::Private;
use crate::store::{Scope, Store, StoreError};

impl Proxy {
    /// Sets the zip of `version` aside.
    pub(super) async fn set_aside(
        &self,
        version: &ModuleVersion,
        error: &StoreError,
    ) -> Result<(), ServeError> {
        self.layers.metrics.damaged.inc();
        tracing::error!(
            version = %self.shown(&version.module, version), %error,
            "a stored zip does not verify; it is set aside and fetched anew"
        );
        let (damaged, why) = (version.clone(), error.to_string());
        let quarantined = self
            .with_store("set a damaged zip aside", move |store| {
                where_there_is_place(store.quarantine(&damaged, Scope::Zip, &why))
            })
            .await;
        // Afterwards, so that whoever puts it into memory meanwhile finds that it was removed.
        forget(&self.layers.memory, version);
        quarantined
    }
}

/// A disk that takes nothing has to bear the damage for now: it is met again, and what is fetched meanwhile is passed on.
pub(super) fn where_there_is_place<T>(set_aside: Result<T, StoreError>) -> Result<(), StoreError> {
    match set_aside {
        Err(error) if error.takes_nothing() => Ok(()),
        other => other.map(drop),
    }
}

/// The same for readers that meet the damage in the middle of a zip.
pub fn on_damage(
    store: Arc<Store>,
    memory: Arc<Memory>,
    metrics: Arc<ServeFamilies>,
    private: Private,
) -> OnDamage {
    Box::new(move |version, blob, error| {
        let shown = || private.shown(&version.module, version);
        if !matches!(error, StoreError::Corrupt { .. } | StoreError::NoChunk { .. }) {
            tracing::error!(version = %shown(), %error, "failed to read a stored zip");
            return;
        }
        match store.quarantine_blob(version, blob, &error.to_string()) {
            // The version has another blob by now, or none: somebody else met the damage first.
            Ok(removed) if !removed.existed => {}
            Ok(_) => {
                metrics.damaged.inc();
                tracing::error!(
                    version = %shown(), %error,
                    "a stored zip does not verify; it is set aside and fetched anew"
                );
                forget(&memory, version);
            }
            Err(error) => tracing::error!(version = %shown(), %error, "failed to set a damaged zip aside"),
        }
    })
}
