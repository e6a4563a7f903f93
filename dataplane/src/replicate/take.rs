//! Taking copies that other nodes offer, a few at a time.

use std::sync::Arc;

use cluster::NodeName;
use futures_util::StreamExt as _;
use gomod::ModuleVersion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::serve::Proxy;

/// Offers that wait.
const WAITING_MAX: usize = 4096;
/// Versions taken at a time.
const AT_ONCE: usize = 4;

/// A version to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The version.
    pub version: ModuleVersion,
    /// Who has it.
    pub from: NodeName,
}

/// See the head of this file.
pub struct Taker {
    offers: mpsc::Receiver<Wanted>,
}

impl Taker {
    /// A taker, and where offers go; an offer that finds no place there is made again by whoever made it.
    pub fn new() -> (mpsc::Sender<Wanted>, Self) {
        let (sender, offers) = mpsc::channel(WAITING_MAX);
        (sender, Self { offers })
    }

    /// Works until `stop`.
    pub async fn run(self, proxy: Arc<Proxy>, stop: CancellationToken) {
        let taking = ReceiverStream::new(self.offers).for_each_concurrent(AT_ONCE, |wanted| {
            let proxy = Arc::clone(&proxy);
            async move {
                if let Err(error) = proxy.take_copies(&wanted.version, &wanted.from).await {
                    tracing::debug!(node = %wanted.from, %error, "a copy was not taken");
                }
            }
        });
        stop.run_until_cancelled(taking).await;
    }
}
