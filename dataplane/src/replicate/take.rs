//! Taking copies that other nodes offer, a few at a time; one that fails is taken later, from whoever offered it.

use std::sync::Arc;
use std::time::Duration;

use cluster::NodeName;
use common::clock::Clock;
use futures_util::{StreamExt as _, stream};
use gomod::ModuleVersion;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::{IntervalStream, ReceiverStream};
use tokio_util::sync::CancellationToken;

use super::waiting::{Due, Waiting};
use crate::peers::Peers;
use crate::serve::{CopyError, Proxy, ServeError};

/// Offers that wait.
const WAITING_MAX: usize = 4096;
/// Versions taken at a time.
const AT_ONCE: usize = 4;
/// Between two looks at what is due again.
const INTERVAL: Duration = Duration::from_millis(250);
/// Attempts at one version: some four minutes. Then it is for the comparison of replicas.
const ATTEMPTS_MAX: u32 = 18;

/// A version to be taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The version.
    pub version: ModuleVersion,
    /// Who has it.
    pub from: NodeName,
}

/// See the head of this file.
pub struct Taker {
    offers: mpsc::Receiver<Wanted>,
    peers: Arc<Peers>,
    clock: Arc<dyn Clock>,
}

impl Taker {
    /// A taker, and where offers go; an offer that finds no place there is made again by whoever made it.
    pub fn new(peers: Arc<Peers>, clock: Arc<dyn Clock>) -> (mpsc::Sender<Wanted>, Self) {
        let (sender, offers) = mpsc::channel(WAITING_MAX);
        (sender, Self { offers, peers, clock })
    }

    /// Works until `stop`.
    pub async fn run(self, proxy: Arc<Proxy>, stop: CancellationToken) {
        let attempts =
            Arc::new(Attempts { proxy, peers: self.peers, failed: Mutex::default(), clock: self.clock });
        let offered = ReceiverStream::new(self.offers).map(|item| Due { item, failures: 0 });
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let failed = Arc::clone(&attempts);
        let again = IntervalStream::new(ticks).flat_map(move |_| stream::iter(failed.due()));
        let taking = stream::select(offered, again).for_each_concurrent(AT_ONCE, |due| {
            let attempts = Arc::clone(&attempts);
            async move { attempts.make(due).await }
        });
        stop.run_until_cancelled(taking).await;
    }
}

struct Attempts {
    proxy: Arc<Proxy>,
    peers: Arc<Peers>,
    failed: Mutex<Waiting<Wanted>>,
    clock: Arc<dyn Clock>,
}

impl Attempts {
    fn due(&self) -> Vec<Due<Wanted>> {
        let mut failed = self.failed.lock();
        self.peers.families().set_waiting("take", failed.len());
        failed.take(self.clock.monotonic(), WAITING_MAX)
    }

    async fn make(&self, due: Due<Wanted>) {
        let Wanted { version, from } = &due.item;
        let Err(error) = self.proxy.take_copies(version, from).await else { return };
        tracing::debug!(node = %from, %error, "a copy was not taken");
        // Content that differs stays so, and a disk that is full is for the comparison of replicas.
        let it_broke =
            matches!(error, CopyError::Unreachable | CopyError::Refused(ServeError::Unavailable { .. }));
        if it_broke && due.failures + 1 < ATTEMPTS_MAX {
            self.failed.lock().again(due, self.clock.monotonic());
        }
    }
}
