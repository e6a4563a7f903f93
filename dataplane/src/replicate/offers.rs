//! Telling replicas of what was stored here. They take copies by themselves, when it suits them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
/// For so long whoever was told of a version may still be about to take it.
const TAKING: Duration = Duration::from_secs(5);
/// Versions that are handed over when this node ends: what was stored a moment before.
const HANDED_OVER_MAX: usize = 4 * OFFER_MAX;

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
    /// Works until `drain`; when this node's clients were `served`, hands over what others may not have yet: they would have to fetch it
    /// again while this node is away.
    pub async fn run(self, drain: CancellationToken, served: CancellationToken) {
        let mut told = VecDeque::new();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while drain.run_until_cancelled(ticks.tick()).await.is_some() {
            self.tell(&mut told).await;
            self.peers.families().set_waiting("tell", self.queue.hints.lock().len());
        }
        served.cancelled().await;
        self.hand_over(told).await;
    }

    fn is_pinned(&self, version: &ModuleVersion) -> bool {
        let pins = |marks: &Marks| marks.pins(version.module.as_str(), version.version.as_str());
        self.peers.marks(pins).unwrap_or(false)
    }

    /// Who else should have a copy.
    fn nodes(&self, version: &ModuleVersion) -> Vec<NodeName> {
        let everywhere = self.private.matches(&version.module) || self.is_pinned(version);
        self.peers.copies_at(&version.module, if everywhere { usize::MAX } else { COPIES })
    }

    /// Tells all that is due, and notes in `told` what somebody heard of.
    async fn tell(&self, told: &mut VecDeque<(Instant, ModuleVersion)>) {
        loop {
            let due = self.queue.hints.lock().take(self.clock.monotonic(), OFFER_MAX);
            if due.is_empty() {
                return;
            }
            let mut of_node: BTreeMap<NodeName, Vec<Due<ModuleVersion>>> = BTreeMap::new();
            for due in due {
                let nodes = self.nodes(&due.item);
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
                for (number, due) in due.into_iter().enumerate() {
                    if number < taken {
                        told.push_back((now, due.item));
                    } else {
                        hints.again(due, now);
                    }
                }
                let surplus = told.len().saturating_sub(HANDED_OVER_MAX);
                told.drain(..surplus);
            }
        }
    }

    /// Has others take what they were not told of, or were a moment ago.
    async fn hand_over(&self, told: VecDeque<(Instant, ModuleVersion)>) {
        let now = self.clock.monotonic();
        let waiting = self.queue.hints.lock().take(now + TAKING, HANDED_OVER_MAX);
        let taking = told.into_iter().filter(|(at, _)| now.saturating_duration_since(*at) < TAKING);
        let versions: BTreeSet<_> =
            waiting.into_iter().map(|due| due.item).chain(taking.map(|(_, version)| version)).collect();
        let mut of_node: BTreeMap<NodeName, Vec<ModuleVersion>> = BTreeMap::new();
        for version in versions {
            for node in self.nodes(&version) {
                of_node.entry(node).or_default().push(version.clone());
            }
        }
        let handing = of_node.iter().map(async |(node, versions)| {
            for versions in versions.chunks(OFFER_MAX) {
                if let Err(error) = self.peers.hand_over(node, versions).await {
                    tracing::debug!(%error, "a node has not taken what was stored here last");
                    return;
                }
            }
        });
        futures_util::future::join_all(handing).await;
    }
}
