//! What the control plane hears of this node's store, and what comes of what it says.

use std::sync::Arc;
use std::time::Duration;

use gomod::{H1, ModuleVersion};

use crate::control::{Holdings, Load, Verdict};
use crate::replicate::Progress;
use crate::serve::Proxy;
use crate::store::Store;

/// How long a version waits before it is asked about: whoever publishes it is there sooner.
const ASK_AFTER: Duration = Duration::from_secs(5);
/// How long a version may wait for its name to be bound: longer than publishing may take.
const WAIT_MAX: Duration = Duration::from_hours(1);
/// Versions asked about at a time.
const ASKED_MAX: usize = 64;

/// See the head of this file.
pub struct NodeHoldings {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) store: Arc<Store>,
    pub(crate) progress: Arc<Progress>,
}

impl NodeHoldings {
    fn ago(&self, time: Duration) -> i64 {
        self.proxy.now_us().saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Holdings for NodeHoldings {
    fn load(&self) -> Load {
        let staged = self.proxy.waiting(self.ago(ASK_AFTER), ASKED_MAX);
        let load = Load {
            synced_epoch: self.progress.synced_epoch(),
            bytes_left: self.progress.bytes_left(),
            staged: staged.into_iter().map(|(version, zip_h1, _)| (version, zip_h1)).collect(),
            ..Load::default()
        };
        let Ok(usage) = self.store.usage() else { return load };
        let file_system = usage.file_system;
        Load {
            disk_bytes: file_system.used_bytes.saturating_add(file_system.available_bytes),
            disk_free_bytes: file_system.available_bytes,
            store_bytes: usage.chunk_disk_bytes.saturating_add(usage.meta_disk_bytes),
            version_count: usage.records,
            ..load
        }
    }

    fn told(&self, version: ModuleVersion, zip_h1: H1, verdict: Verdict) {
        let since_us = self.proxy.waits_since(&version, zip_h1);
        let is_too_old = || since_us.is_some_and(|since_us| since_us < self.ago(WAIT_MAX));
        let published_us = match verdict {
            Verdict::Bound { since_us } => Some(since_us),
            Verdict::Other => None,
            Verdict::Unbound if is_too_old() => None,
            Verdict::Unbound => return,
        };
        let proxy = Arc::clone(&self.proxy);
        tokio::spawn(async move {
            let done = if let Some(published_us) = published_us {
                proxy.reveal(&version, zip_h1, published_us).await.map(drop)
            } else {
                proxy.unstage(&version, zip_h1).await.map_err(Into::into)
            };
            if let Err(error) = done {
                tracing::warn!(%error, "a version that was to be published still waits");
            }
        });
    }
}
