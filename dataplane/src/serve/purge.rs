//! Removing what is known of a module. It is fetched anew when it is asked for.

use gomod::{ModulePath, ModuleVersion, Request, Version};

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
    /// Removes a version, or all of a module and what origins said of it.
    pub async fn purge(
        &self,
        module: &ModulePath,
        version: Option<Version>,
        spared: Spared,
    ) -> Result<Purged, ServeError> {
        let wanted = module.clone();
        let removing = self.with_store("remove versions", move |store| {
            let versions = match version {
                Some(version) => vec![version],
                None => store.versions(&wanted)?,
            };
            let mut purged = (Purged::default(), Vec::new());
            for version in versions {
                let version = ModuleVersion { module: wanted.clone(), version };
                let removed = match spared {
                    Spared::Nothing => store.remove(&version, Scope::Record)?,
                    // Control nodes look as well, but not at what is published while they do.
                    Spared::Published => store.remove_unless(&version, Class::Published)?,
                };
                purged.0.versions += u64::from(removed.existed);
                purged.0.freed_bytes += removed.freed_bytes;
                purged.1.push(version);
            }
            // Also for one version: a list keeps naming what is held here, and that is no more.
            store.forget_answers(&wanted)?;
            Ok(purged)
        });
        let (purged, versions) = removing.await?;
        for version in &versions {
            forget(&self.layers.memory, version);
        }
        for request in [Request::List(module.clone()), Request::Latest(module.clone())] {
            self.layers.memory.forget(&key(&request));
        }
        Ok(purged)
    }
}
