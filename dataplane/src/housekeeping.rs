//! The background pass over the store: eviction, retention, access times, and the gauges that show its state.

use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::error_chain::ErrorChain;
use tokio_util::sync::CancellationToken;

use crate::serve::{Memory, forget};
use crate::store::Store;
use crate::store::evict::{Policy, StoreFamilies, run_once};

/// Pause between two passes.
const INTERVAL: Duration = Duration::from_secs(5);
/// Pause while more has to go than one pass takes.
const INTERVAL_PRESSED: Duration = Duration::from_millis(100);

/// What the pass works on.
pub(crate) struct Housekeeping {
    /// The store to keep in bounds.
    pub store: Arc<Store>,
    /// Forgets what has left the store.
    pub memory: Arc<Memory>,
    /// The bounds.
    pub policy: Policy,
    /// Counts what left.
    pub families: StoreFamilies,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Housekeeping {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            let pass = Arc::clone(&this);
            let more = tokio::task::spawn_blocking(move || pass.once()).await.unwrap_or(false);
            pause = if more { INTERVAL_PRESSED } else { INTERVAL };
        }
    }

    /// One pass; whether more has to go at once.
    fn once(&self) -> bool {
        let more = match run_once(&self.store, &self.policy, self.clock.now_us()) {
            Ok(report) => {
                report.evicted.iter().for_each(|evicted| forget(&self.memory, &evicted.version));
                self.families.count(&report);
                report.more
            }
            Err(error) => {
                tracing::error!(error = %ErrorChain::new(&error), "failed to keep the store in bounds");
                false
            }
        };
        match self.store.usage() {
            Ok(usage) => self.families.show(&usage),
            Err(error) => tracing::warn!(error = %ErrorChain::new(&error), "failed to measure the store"),
        }
        more
    }
}
