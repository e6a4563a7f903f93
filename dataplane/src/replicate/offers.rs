//! Telling replicas of what was stored here. They take copies by themselves, when it suits them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::NodeName;
use cluster::marks::Marks;
use common::clock::Clock;
use gomod::ModuleVersion;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::waiting::{Due, Waiting};
use crate::peers::{OFFER_MAX, Peers};
use crate::private::Private;

/// Copies of what can be fetched again: at the owner and at one more node. Of what is private or pinned there is one at each replica.
const COPIES: usize = 2;
/// Between two looks at what is due.
const INTERVAL: Duration = Duration::from_millis(250);

/// What is to be told, filled while serving.
#[derive(Debug, Default)]
pub struct OfferQueue {
    /// Versions that replicas have still to be told of.
    hints: Mutex<Waiting<ModuleVersion>>,
}

impl OfferQueue {
    /// `version` was stored at `now`.
    pub fn add(&self, version: ModuleVersion, now: Instant) {
        self.hints.lock().add(version, now);
    }
}

/// See the head of this file.
pub struct Offers {
    /// What is to be told.
    pub queue: Arc<OfferQueue>,
    /// Whom.
    pub peers: Arc<Peers>,
    /// What may be nowhere else.
    pub private: Private,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Offers {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if stop.run_until_cancelled(self.tell()).await.is_none() {
                return;
            }
            self.peers.families().set_waiting("tell", self.queue.hints.lock().len());
        }
    }

    fn is_pinned(&self, version: &ModuleVersion) -> bool {
        let pins = |marks: &Marks| marks.pins(version.module.as_str(), version.version.as_str());
        self.peers.marks(pins).unwrap_or(false)
    }

    /// Tells all that is due.
    async fn tell(&self) {
        loop {
            let due = self.queue.hints.lock().take(self.clock.monotonic(), OFFER_MAX);
            if due.is_empty() {
                return;
            }
            let mut of_node: BTreeMap<NodeName, Vec<Due<ModuleVersion>>> = BTreeMap::new();
            for due in due {
                let everywhere = self.private.matches(&due.item.module) || self.is_pinned(&due.item);
                let copies = if everywhere { usize::MAX } else { COPIES };
                let nodes = self.peers.copies_at(&due.item.module, copies);
                if nodes.is_empty() && self.peers.is_one_of_many(&due.item.module) {
                    // Those who should have it are gone; they, or others in their place, will come.
                    self.queue.hints.lock().again(due.clone(), self.clock.monotonic());
                }
                for node in nodes {
                    of_node.entry(node).or_default().push(due.clone());
                }
            }
            for (node, due) in of_node {
                let versions: Vec<_> = due.iter().map(|due| due.item.clone()).collect();
                let taken = match self.peers.offer(&node, &versions).await {
                    Ok(taken) => taken,
                    Err(error) => {
                        tracing::debug!(%error, "a node was not told of new versions");
                        0
                    }
                };
                let now = self.clock.monotonic();
                let mut hints = self.queue.hints.lock();
                for due in due.into_iter().skip(taken) {
                    hints.again(due, now);
                }
            }
        }
    }
}
