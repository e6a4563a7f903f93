//! Walking over everything that is stored, slowly, and making whole what is found bad: from another node, else from an origin.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::error_chain::ErrorChain;
use gomod::ModuleVersion;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::serve::{Proxy, Wanted};
use crate::store::{Finding, ScrubReport, Store, StoreError};

/// Between two words on how far a walk is.
const TELL_INTERVAL: Duration = Duration::from_millis(500);
/// Findings that wait to be made whole; the walk waits for them.
const FINDINGS_WAITING_MAX: usize = 16;
/// What could not be made whole at once is tried once more at the end of the walk, so long after it; at most so many.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
const AGAIN_MAX: usize = 10_000;
/// After a start, and between two walks of a node's own.
const FIRST_PAUSE: Duration = Duration::from_mins(10);
const PAUSE: Duration = Duration::from_hours(24);

/// How far a walk is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scrubbed {
    /// Versions looked at.
    pub(crate) versions: u64,
    /// Bytes of zips read.
    pub(crate) bytes: u64,
    /// Versions found bad.
    pub(crate) bad: u64,
    /// Of these, how many are whole again.
    pub(crate) healed: u64,
}

/// What is told on the way.
#[derive(Debug)]
pub(crate) enum Told {
    /// How far it is.
    Progress(Scrubbed),
    /// Something does not verify.
    Found {
        /// What.
        finding: Finding,
        /// Whether it is whole again.
        healed: bool,
        /// How far the walk is.
        so_far: Scrubbed,
    },
}

/// What the walk finds, as it goes.
enum Step {
    At(ScrubReport),
    Found(Finding),
}

/// Walks over `store` at `rate` bytes a second, and tells of it. Ends early when nobody hears any more.
pub(crate) async fn scrub(
    proxy: &Arc<Proxy>,
    store: &Arc<Store>,
    rate: u64,
    told: &mpsc::Sender<Told>,
) -> Result<Scrubbed, StoreError> {
    let (steps, mut walk) = mpsc::channel(FINDINGS_WAITING_MAX);
    let (walked, gone) = (Arc::clone(store), told.clone());
    let walking = tokio::task::spawn_blocking(move || walk_over(&walked, rate.max(1), &steps, &gone));
    let (mut so_far, mut again) = (Scrubbed::default(), Vec::new());
    while let Some(step) = walk.recv().await {
        let telling = match step {
            Step::At(report) => {
                (so_far.versions, so_far.bytes) = (report.records, report.bytes);
                Told::Progress(so_far)
            }
            Step::Found(finding) => {
                so_far.bad += 1;
                let healed = heal(proxy, &finding).await;
                so_far.healed += u64::from(healed);
                if !healed && again.len() < AGAIN_MAX {
                    again.push(finding.clone());
                }
                Told::Found { finding, healed, so_far }
            }
        };
        if told.send(telling).await.is_err() {
            break;
        }
    }
    drop(walk);
    if let Ok(report) = walking.await {
        let report = report?;
        (so_far.versions, so_far.bytes) = (report.records, report.bytes);
    }
    // Whoever could not be reached when it was needed may be there by now.
    if !again.is_empty() && !told.is_closed() {
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    for finding in again {
        if told.is_closed() {
            break;
        }
        let healed = heal(proxy, &finding).await || have_again(proxy, &finding.version).await;
        so_far.healed += u64::from(healed);
    }
    Ok(so_far)
}

async fn heal(proxy: &Arc<Proxy>, finding: &Finding) -> bool {
    proxy.heal(finding).await.unwrap_or_else(|error| {
        // The error names the version, which may be private.
        tracing::warn!(
            "something damaged could not be made whole at once; it is tried again at the end of the walk"
        );
        tracing::debug!(%error, "something damaged could not be made whole at once");
        false
    })
}

/// Fetches it as if a client had asked, else takes what any node has, whether it should have it or not. Whole is what verifies afterwards.
async fn have_again(proxy: &Arc<Proxy>, version: &ModuleVersion) -> bool {
    if proxy.warm(version, Wanted::Everything).await.is_err() {
        for node in proxy.all_other_nodes() {
            // Large enough for a place of its own.
            if Box::pin(proxy.take_copies(version, &node)).await.is_ok_and(|bytes| bytes > 0) {
                break;
            }
        }
    }
    proxy.is_whole(version).await.unwrap_or_default()
}

fn walk_over(
    store: &Store,
    rate: u64,
    steps: &mpsc::Sender<Step>,
    told: &mpsc::Sender<Told>,
) -> Result<ScrubReport, StoreError> {
    let begun = Instant::now();
    let mut last = begun;
    let mut pace = |report: &ScrubReport| {
        let due = begun + Duration::from_secs_f64(report.bytes as f64 / rate as f64);
        // In small parts, so that who no longer wants to know does not leave a walk behind.
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|_| !told.is_closed()) {
            std::thread::sleep(left.min(TELL_INTERVAL));
        }
        if last.elapsed() >= TELL_INTERVAL {
            last = Instant::now();
            if steps.blocking_send(Step::At(*report)).is_err() {
                return ControlFlow::Break(());
            }
        }
        if told.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    store.scrub(&mut pace, &mut |finding| {
        // Nobody wants to know: the walk ends at the next chunk.
        let _ = steps.blocking_send(Step::Found(finding));
    })
}

/// Walks again and again until `stop`, at `rate` bytes a second; 0 for never.
pub(crate) async fn keep_scrubbing(proxy: Arc<Proxy>, store: Arc<Store>, rate: u64, stop: CancellationToken) {
    if rate == 0 {
        return;
    }
    let mut pause = FIRST_PAUSE;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = PAUSE;
        let (told, mut hears) = mpsc::channel(1);
        let hearing = async { while hears.recv().await.is_some() {} };
        let walking = async {
            let walked = scrub(&proxy, &store, rate, &told).await;
            drop(told);
            walked
        };
        let both = async { tokio::join!(walking, hearing).0 };
        match stop.run_until_cancelled(Box::pin(both)).await {
            None => return,
            Some(Ok(Scrubbed { versions, bytes, bad, healed })) => {
                tracing::info!(versions, bytes, bad, healed, "everything that is stored was read");
            }
            Some(Err(error)) => {
                tracing::error!(error = %ErrorChain::new(&error), "failed to read everything that is stored");
            }
        }
    }
}
