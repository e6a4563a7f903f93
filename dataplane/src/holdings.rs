//! What the control plane hears of this node's store, and what comes of what it says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gomod::{H1, ModuleVersion};
use parking_lot::Mutex;

use crate::control::{Holdings, Load, Verdict};
use crate::http::HttpFamilies;
use crate::replicate::Progress;
use crate::serve::Proxy;
use crate::store::{Store, StoreError};

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
    pub(crate) http: Arc<HttpFamilies>,
    pub(crate) pace: Pace,
    pub(crate) in_hand: InHand,
}

/// What is being done of what the control plane said. It says so again with every heartbeat until that is done, which a disk that hangs may
/// put off for long.
#[derive(Clone, Debug, Default)]
pub(crate) struct InHand(Arc<Mutex<BTreeSet<Staged>>>);

/// A version, and what its zip hashes to.
type Staged = (ModuleVersion, [u8; 32]);

/// One of them, until it is dropped.
#[derive(Debug)]
struct Taken(InHand, Staged);

impl InHand {
    /// Takes this in hand; nothing if it is in hand already.
    fn take(&self, version: &ModuleVersion, zip_h1: H1) -> Option<Taken> {
        let staged = (version.clone(), *zip_h1.as_bytes());
        self.0.lock().insert(staged.clone()).then(|| Taken(self.clone(), staged))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

/// How many things happen in a second, by how many there were when it was asked last.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Option<(Instant, u64)>>);

impl Pace {
    /// By how many there are `now`; 0 when asked for the first time.
    fn per_second(&self, count: u64, now: Instant) -> f64 {
        let Some((then, before)) = self.0.lock().replace((now, count)) else { return 0.0 };
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        if seconds > 0.0 { count.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

impl NodeHoldings {
    fn ago(&self, time: Duration) -> i64 {
        self.proxy.now_us().saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Holdings for NodeHoldings {
    fn load(&self) -> Load {
        // First, since it may take long: what is in memory is as it is then.
        let usage = self.store.usage();
        let staged = self.proxy.waiting(self.ago(ASK_AFTER), ASKED_MAX);
        let load = Load {
            synced_epoch: self.progress.synced_epoch(),
            bytes_left: self.progress.bytes_left(),
            requests_per_second: self.pace.per_second(self.http.answers(), Instant::now()),
            requests_in_flight: u32::try_from(self.http.in_flight.get()).unwrap_or_default(),
            staged: staged.into_iter().map(|(version, zip_h1, _)| (version, zip_h1)).collect(),
            // Known without the database, which may be one that could not be opened again.
            disk_unwritable: self.store.unwritable().is_some() || matches!(usage, Err(StoreError::Closed)),
            disk_slow: self.store.is_slow(),
            ..Load::default()
        };
        let Ok(usage) = usage else { return load };
        let file_system = usage.file_system;
        Load {
            disk_bytes: file_system.used_bytes.saturating_add(file_system.available_bytes),
            disk_free_bytes: file_system.available_bytes,
            store_bytes: usage.store_bytes(),
            version_count: usage.records,
            ..load
        }
    }

    fn told(&self, version: ModuleVersion, zip_h1: H1, verdict: Verdict) {
        let since_us = self.proxy.waits_since(&version, zip_h1);
        let is_too_old = || since_us.is_some_and(|since_us| since_us < self.ago(WAIT_MAX));
        if verdict == Verdict::Unbound && !is_too_old() {
            return;
        }
        let Some(in_hand) = self.in_hand.take(&version, zip_h1) else { return };
        let proxy = Arc::clone(&self.proxy);
        tokio::spawn(async move {
            let _in_hand = in_hand;
            let done = match verdict {
                Verdict::Bound { since_us } => proxy.reveal(&version, zip_h1, since_us).await.map(drop),
                // Staged again since, it may be bound by now.
                Verdict::Unbound => {
                    let since_us = since_us.unwrap_or_default();
                    proxy.unstage(&version, zip_h1, since_us).await.map_err(Into::into)
                }
                Verdict::Other => proxy.unstage(&version, zip_h1, i64::MAX).await.map_err(Into::into),
            };
            if let Err(error) = done {
                tracing::warn!(%error, "a version that was to be published still waits");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use gomod::{ModulePath, Version};

    use super::*;

    #[test]
    fn a_verdict_is_carried_out_once_at_a_time() {
        let in_hand = InHand::default();
        let version = |text: &str| {
            let (module, version) = text.split_once('@').unwrap();
            ModuleVersion {
                module: ModulePath::parse(module).unwrap(),
                version: Version::parse(version).unwrap(),
            }
        };
        let (one, two) = (version("a.example/m@v1.0.0"), version("a.example/m@v1.1.0"));
        let zip_h1 = H1::from_bytes([1; 32]);
        let taken = in_hand.take(&one, zip_h1).unwrap();
        assert!(in_hand.take(&one, zip_h1).is_none());
        assert!(
            in_hand.take(&two, zip_h1).is_some() && in_hand.take(&one, H1::from_bytes([2; 32])).is_some()
        );
        drop(taken);
        assert!(in_hand.take(&one, zip_h1).is_some());
    }

    #[test]
    fn a_pace_is_what_came_since_it_was_asked_last() {
        let (pace, start) = (Pace::default(), Instant::now());
        let asked =
            |count, seconds| pace.per_second(count, start + Duration::from_secs(seconds)).round().to_string();
        assert_eq!([asked(7, 0), asked(27, 2), asked(27, 3), asked(28, 3)], ["0", "10", "0", "0"]);
    }
}
