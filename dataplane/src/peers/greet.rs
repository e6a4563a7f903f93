//! Saying that one is there: a node that starts greets the others before it serves, so that all ask it for what it owns again.
//!
//! Who is greeted by a node that it passed over asks that node something before it answers. So when all have answered, all
//! have found the node. From the answers it hears of a layout that came while it was away, and waits for it: by an older one it
//! might fetch what is another's.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cluster::{Epoch, NodeName};
use futures_util::StreamExt;
use proto::data::v1::GreetRequest;

use super::copies::unknown;
use super::directory::{Lane, Peers};
use super::exchange::Unreachable;

/// How long a node may take to answer a greeting; finding out about who greeted it is part of that.
const TIMEOUT: Duration = Duration::from_millis(600);
const FINDING_TIMEOUT: Duration = Duration::from_millis(400);
/// How often a node is greeted that does not answer, or has not found who greets it, and the pause in between. Busy nodes may need it.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(50);
/// Nodes that are greeted at once.
const AT_ONCE: usize = 16;

impl Peers {
    /// Greets everybody and waits for the layout that they know, for at most `patience`.
    pub async fn greet_all(&self, patience: Duration) {
        let begun = self.clock.monotonic();
        let Some((me, view)) = self.view() else { return };
        let others = view.nodes().filter(|node| node.state.is_admitted() && node.name != me);
        let mut others: Vec<_> = others.map(|node| (node.state.is_away(), node.name.clone())).collect();
        // Those that are taken for dead may all be silent, and the time is short.
        others.sort();
        let newest = AtomicU64::new(0);
        let greetings = futures_util::stream::iter(others).map(|(_, node)| {
            let newest = &newest;
            async move {
                for _ in 0..ATTEMPTS {
                    match self.greet(&node, TIMEOUT).await {
                        Ok(epoch) => {
                            newest.fetch_max(epoch.get(), Relaxed);
                            return;
                        }
                        Err(error) => tracing::debug!(%error, "a node was not greeted"),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        let greetings = greetings.buffer_unordered(AT_ONCE).collect::<()>();
        let _ = tokio::time::timeout(patience, greetings).await;
        let left = patience.saturating_sub(self.clock.monotonic().saturating_duration_since(begun));
        self.reaches(Epoch::new(newest.into_inner()), left).await;
    }

    /// `node` says that it is there: if it was passed over, finds out. An error says that it cannot be found.
    pub async fn greeted_by(&self, node: &NodeName) -> Result<(), Unreachable> {
        let finds_out = self.health.lock().greeted(node, self.clock.monotonic());
        if !finds_out {
            return Ok(());
        }
        let begun = self.clock.monotonic();
        match self.greet(node, FINDING_TIMEOUT).await {
            Ok(_) => {
                self.found(node);
                Ok(())
            }
            Err(error) => {
                self.failed(node, &error.why, begun);
                Err(error)
            }
        }
    }

    async fn greet(&self, node: &NodeName, patience: Duration) -> Result<Epoch, Unreachable> {
        let (mut client, _) = self.client(node, Lane::Small).ok_or_else(|| unknown(node))?;
        let unreachable = |why: &str| Unreachable { node: node.clone(), why: why.to_owned() };
        match tokio::time::timeout(patience, client.greet(GreetRequest {})).await {
            Ok(Ok(answer)) => Ok(Epoch::new(answer.into_inner().layout_epoch)),
            Ok(Err(status)) => Err(unreachable(status.message())),
            Err(_) => Err(unreachable("it did not answer a greeting in time")),
        }
    }
}
