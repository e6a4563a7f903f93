//! Saying that one is there: a node that starts greets the others before it serves, so that all ask it for what it owns again.
//!
//! Who is greeted by a node that it passed over asks that node something before it answers. So when all have answered, all
//! have found the node.

use std::time::Duration;

use cluster::NodeName;
use futures_util::StreamExt;
use proto::data::v1::GreetRequest;

use super::copies::unknown;
use super::directory::{Lane, Peers};
use super::exchange::Unreachable;

/// How long a node may take to answer a greeting; finding out about who greeted it is part of that.
const TIMEOUT: Duration = Duration::from_millis(400);
const FINDING_TIMEOUT: Duration = Duration::from_millis(200);
/// Nodes that are greeted at once.
const AT_ONCE: usize = 16;

impl Peers {
    /// Greets everybody, for at most `patience`.
    pub async fn greet_all(&self, patience: Duration) {
        let Some((me, view)) = self.view() else { return };
        let others = view.nodes().filter(|node| node.state.is_admitted() && node.name != me);
        let others: Vec<_> = others.map(|node| node.name.clone()).collect();
        let greetings = futures_util::stream::iter(others).map(|node| async move {
            if let Err(error) = self.greet(&node, TIMEOUT).await {
                tracing::debug!(%error, "a node was not greeted");
            }
        });
        let greetings = greetings.buffer_unordered(AT_ONCE).collect::<()>();
        let _ = tokio::time::timeout(patience, greetings).await;
    }

    /// `node` says that it is there: if it was passed over, finds out.
    pub async fn greeted_by(&self, node: &NodeName) {
        let finds_out = self.health.lock().greeted(node, self.clock.monotonic());
        if !finds_out {
            return;
        }
        match self.greet(node, FINDING_TIMEOUT).await {
            Ok(()) => self.answered(node),
            Err(error) => self.failed(node, &error.why),
        }
    }

    async fn greet(&self, node: &NodeName, patience: Duration) -> Result<(), Unreachable> {
        let mut client = self.client(node, Lane::Small).ok_or_else(|| unknown(node))?;
        let unreachable = |why: &str| Unreachable { node: node.clone(), why: why.to_owned() };
        match tokio::time::timeout(patience, client.greet(GreetRequest {})).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(unreachable(status.message())),
            Err(_) => Err(unreachable("it did not answer a greeting in time")),
        }
    }
}
