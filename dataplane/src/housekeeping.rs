//! The background pass over the store: eviction, retention, access times, and the gauges that show its state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::record::Marked;
use common::clock::Clock;
use common::error_chain::ErrorChain;
use gomod::{ModulePath, ModuleVersion, Version};
use tokio_util::sync::CancellationToken;

use crate::serve::{Memory, forget};
use crate::store::evict::{Policy, Report, StoreFamilies, reclaim_all, run_once};
use crate::store::{Scope, Store, StoreError};

/// Pause between two passes.
const INTERVAL: Duration = Duration::from_secs(5);
/// Pause while more has to go than one pass takes.
const INTERVAL_PRESSED: Duration = Duration::from_millis(100);
/// How long a pass has to come to its end by itself when the process is to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What collecting everything came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Collected {
    /// Versions whose zip or record left to keep the store in its bounds.
    pub evicted: u64,
    /// Bytes of these.
    pub evicted_bytes: u64,
}

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
    /// What was taken down, and is to leave whoever brought it.
    pub taken_down: Box<dyn Fn() -> Vec<Marked> + Send + Sync>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Housekeeping {
    /// Runs until `stop`; then no thread is inside the store on its behalf.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
            }
            let pass = Arc::clone(&self);
            let mut passing = tokio::task::spawn_blocking(move || pass.once());
            let more = tokio::select! {
                more = &mut passing => more.unwrap_or(false),
                () = stop.cancelled() => {
                    self.end().await;
                    let _ = passing.await;
                    return;
                }
            };
            pause = if more { INTERVAL_PRESSED } else { INTERVAL };
        }
        self.end().await;
    }

    /// Has whoever works on the store come to an end, by itself or by force, and writes what it keeps in memory.
    async fn end(&self) {
        self.store.end_housekeeping();
        let store = Arc::clone(&self.store);
        let mut finishing = tokio::task::spawn_blocking(move || store.finish_housekeeping());
        let finished = if let Ok(finished) = tokio::time::timeout(PATIENCE, &mut finishing).await {
            finished
        } else {
            let store = Arc::clone(&self.store);
            let broken_off = tokio::task::spawn_blocking(move || store.break_off_housekeeping()).await;
            if let Ok(Err(error)) = broken_off {
                tracing::warn!(error = %ErrorChain::new(&error), "failed to break off housekeeping");
            }
            finishing.await
        };
        match finished {
            Ok(Err(error)) if !error.takes_nothing() => {
                tracing::warn!(error = %ErrorChain::new(&error), "failed to write access times");
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Brings the store within its bounds and gives back all the space that nothing takes, however long that takes.
    pub(crate) fn collect_all(&self) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        loop {
            let report = match run_once(&self.store, &self.policy, self.clock.now_us()) {
                Ok(report) => report,
                Err(interrupted) => {
                    self.take_up(&interrupted.report);
                    return Err(interrupted.source);
                }
            };
            self.take_up(&report);
            collected.evicted += report.evicted.len() as u64;
            collected.evicted_bytes += report.evicted.iter().map(|evicted| evicted.bytes).sum::<u64>();
            if !report.more {
                break;
            }
        }
        reclaim_all(&self.store)?;
        Ok(collected)
    }

    /// Removes what was taken down. A copy that was on its way, or that a node held that could not be reached, goes now. What
    /// cannot be removed keeps nothing else.
    fn take_down(&self) -> Result<(), StoreError> {
        let mut done = Ok(());
        for about in (self.taken_down)() {
            done = done.and(self.take_down_one(&about));
        }
        done
    }

    fn take_down_one(&self, about: &Marked) -> Result<(), StoreError> {
        let Ok(module) = ModulePath::parse(about.module()) else { return Ok(()) };
        let versions = match about.version().map(Version::parse) {
            Some(Ok(version)) => BTreeSet::from([version]),
            Some(Err(_)) => return Ok(()),
            None => self.store.versions_to_remove(&module)?,
        };
        let mut done = Ok(());
        for version in versions {
            done = done.and(self.take_down_version(&ModuleVersion { module: module.clone(), version }));
        }
        done
    }

    fn take_down_version(&self, version: &ModuleVersion) -> Result<(), StoreError> {
        // One that cannot be read goes as well.
        if !matches!(self.store.record(version), Ok(None))
            && self.store.remove(version, Scope::Record)?.existed
        {
            forget(&self.memory, version);
            tracing::info!("something that was taken down was still held here, and is removed");
        }
        Ok(())
    }

    /// One pass; whether more has to go at once.
    fn once(&self) -> bool {
        if let Err(error) = self.take_down() {
            tracing::warn!(error = %ErrorChain::new(&error), "failed to remove what was taken down");
        }
        let more = match run_once(&self.store, &self.policy, self.clock.now_us()) {
            Ok(report) => {
                self.take_up(&report);
                report.more
            }
            Err(interrupted) => {
                self.take_up(&interrupted.report);
                let error = ErrorChain::new(&*interrupted);
                tracing::error!(%error, "failed to keep the store in bounds");
                false
            }
        };
        match self.store.usage() {
            Ok(usage) => self.families.show(&usage),
            // It was told when that began.
            Err(error) if error.takes_nothing() => self.families.show_unwritable(),
            Err(error) => tracing::warn!(error = %ErrorChain::new(&error), "failed to measure the store"),
        }
        more
    }

    /// Forgets and counts what left, whether or not the pass came to its end.
    fn take_up(&self, report: &Report) {
        let evicted = report.evicted.iter().map(|evicted| &evicted.version);
        evicted.chain(&report.healed.quarantined).for_each(|version| forget(&self.memory, version));
        self.families.count(report);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::clock::ManualClock;

    use super::*;
    use crate::serve::Ready;
    use crate::serve::tag::Kind;
    use crate::store::bed::{self, version};
    use crate::store::evict::{Algorithm, EvictionOptions};
    use crate::store::{CHUNK_BYTES, StoreOptions};

    const ZIPS: u8 = 8;
    const ZIP_BYTES: usize = 2 * CHUNK_BYTES;

    fn path(number: u8) -> String {
        format!("/example.com/a/@v/v1.{number}.0.zip")
    }

    fn put(store: &Store, number: u8) {
        bed::put(store, number, number, ZIP_BYTES);
    }

    /// A store in `dir`, opened anew, with a place for every zip in memory.
    fn housekeeping(dir: &std::path::Path) -> Housekeeping {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(1_767_225_600_000_000));
        let eviction = EvictionOptions { algorithm: Algorithm::Lru, ..EvictionOptions::default() };
        let options = StoreOptions { eviction, ..bed::options() };
        let policy = Policy {
            capacity_bytes: ZIP_BYTES as u64 * u64::from(ZIPS / 2),
            watermarks: bed::watermarks(),
            garbage_floor_bytes: 0,
            ..Policy::default()
        };
        Housekeeping {
            store: Arc::new(Store::open(dir, options, Arc::clone(&clock)).expect("open the store")),
            memory: Arc::new(Memory::new(1 << 20)),
            policy,
            families: StoreFamilies::default(),
            taken_down: Box::new(Vec::new),
            clock,
        }
    }

    fn remembered(memory: &Memory) -> Vec<u8> {
        (0..ZIPS).filter(|&number| memory.ready(&path(number)).is_some()).collect()
    }

    /// Collecting garbage meets damage in the newest zip, after the oldest ones were evicted.
    #[test]
    fn what_left_is_forgotten_though_the_pass_fails_later() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = housekeeping(dir.path()).store;
        (0..ZIPS).for_each(|number| put(&store, number));
        drop(store);
        let files = std::fs::read_dir(dir.path().join("db")).expect("read the folder");
        let blobs = files.map(|file| file.expect("file").path());
        let blob = blobs.into_iter().find(|path| path.extension().is_some_and(|end| end == "blob"));
        let blob = blob.expect("a blob file");
        let mut bytes = std::fs::read(&blob).expect("read");
        let at = bytes.len() - 1000;
        bytes[at] ^= 1;
        std::fs::write(&blob, bytes).expect("write");

        let keeping = housekeeping(dir.path());
        for number in 0..ZIPS {
            let ready = Arc::new(Ready::inline(Kind::Zip, Bytes::from_static(b"zip"), &[number; 32], false));
            keeping.memory.put_ready(&path(number), ready);
        }
        assert!(!keeping.once());
        assert!(keeping.store.usage().expect("usage").stopped, "the pass met no damage");
        let kept: Vec<u8> = (0..ZIPS)
            .filter(|&number| keeping.store.open_zip(&version(number)).expect("open").is_some())
            .collect();
        assert!(kept.len() < ZIPS.into() && kept.contains(&(ZIPS - 1)), "{kept:?}");
        assert_eq!(remembered(&keeping.memory), kept);

        // The next pass heals: the damaged zip is taken out of service, and its answer with it.
        assert!(!keeping.once());
        assert!(!keeping.store.usage().expect("usage").stopped);
        assert_eq!(remembered(&keeping.memory), kept[..kept.len() - 1]);
    }

    #[test]
    fn what_was_taken_down_goes_also_where_it_cannot_be_read() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let module = || vec![Marked::parse("example.com/a").expect("a module")];
        let keeping = Housekeeping { taken_down: Box::new(module), ..housekeeping(dir.path()) };
        (1..4).for_each(|number| put(&keeping.store, number));
        bed::spoil(&keeping.store, &version(2));
        keeping.take_down().expect("take down");
        assert!(keeping.store.versions(&version(1).module).expect("versions").is_empty());
    }

    #[tokio::test]
    async fn access_times_are_written_at_the_end() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let keeping = Arc::new(housekeeping(dir.path()));
        put(&keeping.store, 1);
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&keeping).run(stop.clone()));
        keeping.store.touch(&version(1), true);
        stop.cancel();
        running.await.expect("run");
        assert!(keeping.store.last_access(&version(1)).expect("access").zip_us > 0);
        // And no pass does anything any more.
        keeping.store.touch(&version(1), false);
        assert!(!keeping.once());
    }
}
