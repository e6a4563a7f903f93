//! Removing what is known of a module. It is fetched anew when it is asked for.

use std::collections::BTreeSet;
use std::time::Instant;

use gomod::{ModulePath, ModuleVersion, Request, Version};

use super::convert::from_store;
use super::error::ServeError;
use super::proxy::{Proxy, forget, key};
use crate::store::{Class, Scope};

/// What a removal leaves where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spared {
    /// Nothing: it was taken down.
    Nothing,
    /// What was published, which can be fetched from nowhere else.
    Published,
}

/// What a removal came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Versions of which something was known.
    pub versions: u64,
    /// Bytes of zips that nothing names any more.
    pub freed_bytes: u64,
}

impl Proxy {
    /// Removes a version, or all of a module and what origins said of it; also copies that are on their way from other nodes.
    pub async fn purge(
        &self,
        module: &ModulePath,
        version: Option<Version>,
        spared: Spared,
    ) -> Result<Purged, ServeError> {
        self.purges.lock().note(module, version.as_ref(), self.monotonic());
        self.remove(module, version, spared).await
    }

    /// Removes a copy that has come from another node since `begun`, if it may have been purged meanwhile. Whoever waits for its bytes gets them.
    pub(super) async fn remove_if_purged(&self, version: &ModuleVersion, begun: Instant) {
        if !self.purges.lock().may_be_of(version, begun) {
            return;
        }
        let removed = self.remove(&version.module, Some(version.version.clone()), Spared::Published).await;
        let shown = |what| self.shown(&version.module, what);
        match removed {
            Ok(_) => {
                tracing::info!(version = %shown(version), "removed a copy that was on its way while its module was purged");
            }
            Err(error) => {
                tracing::warn!(
                    version = %shown(version), error = %shown(&error),
                    "failed to remove a copy that was on its way while its module was purged; purge it again"
                );
            }
        }
    }

    async fn remove(
        &self,
        module: &ModulePath,
        version: Option<Version>,
        spared: Spared,
    ) -> Result<Purged, ServeError> {
        let wanted = module.clone();
        let removing = self.with_store("remove versions", move |store| {
            let versions = match version {
                Some(version) => BTreeSet::from([version]),
                None => store.versions_to_remove(&wanted)?,
            };
            let (mut purged, mut named, mut failed) = (Purged::default(), Vec::new(), None);
            for version in versions {
                let version = ModuleVersion { module: wanted.clone(), version };
                let removed = match spared {
                    Spared::Nothing => store.remove(&version, Scope::Record),
                    // Control nodes look as well, but not at what is published while they do.
                    Spared::Published => store.remove_unless(&version, Class::Published),
                };
                match removed {
                    Ok(removed) => {
                        purged.versions += u64::from(removed.existed);
                        purged.freed_bytes += removed.freed_bytes;
                    }
                    // It keeps no other one here.
                    Err(error) => failed = failed.or(Some(error)),
                }
                named.push(version);
            }
            // Also for one version: a list keeps naming what is held here, and that is no more.
            failed = failed.or(store.forget_answers(&wanted).err());
            Ok((purged, named, failed))
        });
        let (purged, versions, failed) = removing.await?;
        for version in &versions {
            forget(&self.layers.memory, version);
        }
        for request in [Request::List(module.clone()), Request::Latest(module.clone())] {
            self.layers.memory.forget(&key(&request));
        }
        match failed {
            Some(error) => Err(from_store("remove versions", &error)),
            None => Ok(purged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{new_clock, proxy};
    use super::*;
    use crate::store::bed;

    #[tokio::test]
    async fn what_cannot_be_read_goes_with_the_rest_of_its_module() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let proxy = proxy(dir.path(), &new_clock());
        let store = &proxy.layers.store;
        (1..4).for_each(|number| bed::put(store, number, number, 3));
        bed::spoil(store, &bed::version(2));
        let module = bed::version(1).module;
        let purged = proxy.purge(&module, None, Spared::Nothing).await.expect("purge");
        assert_eq!(purged, Purged { versions: 3, freed_bytes: 9 });
        assert!(store.versions(&module).expect("versions").is_empty());
    }
}
