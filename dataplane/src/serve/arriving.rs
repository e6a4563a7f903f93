//! What this node has an origin send right now, for nodes that look for a copy of it.
//!
//! When a slot moves, its old fetcher and its new one may be asked for the same file within one answer of the origin; so may a node that
//! cannot reach the fetcher, and the fetcher. Who looks first at what is under way elsewhere asks no origin for it a second time. Only a
//! flight that is past its own look for copies counts: two that waited for each other's would wait for nobody.

use std::sync::Arc;

use gomod::Request;

use super::flights::{Flight, Flights, Waiter};
use super::proxy::{Answer, Landed, Proxy};
use super::ready::Ready;
use super::tag::Cache;
use super::zips::ZipStage;

/// What came of it, if anything.
type Came = Option<(Arc<Ready>, Cache)>;

/// The files that an origin is asked for.
pub(super) type Arriving = Arc<Flights<Request, Came>>;

impl Proxy {
    /// Does `fetching`, which asks an origin for what `request` names. Nodes that look for a copy wait meanwhile.
    pub(super) async fn arriving<T>(
        &self,
        request: &Request,
        fetching: impl Future<Output = T>,
        came: impl FnOnce(&T) -> Came,
    ) -> T {
        let mut seen: Option<Flight<Request, Came>> = None;
        drop(self.arriving.join(request, |flight| seen = Some(flight)));
        let fetched = fetching.await;
        if let Some(flight) = seen {
            flight.land(came(&fetched));
        }
        fetched
    }

    /// The answer to `request` that an origin is about to send; `None` at once if none is asked, or once nothing comes of it.
    pub async fn about_to_come(&self, request: &Request) -> Option<Answer> {
        let whole = self.arriving.under_way(request)?;
        let Request::Zip(version) = request else { return whole_of(whole).await };
        let Some(stages) = self.zips.under_way(version) else { return whole_of(whole).await };
        tokio::select! {
            biased;
            Some(ZipStage::Live(spool)) = stages.landed_where(|stage| matches!(stage, ZipStage::Live(_))) => {
                Some(Answer::Live { length: spool.length(), spool, cache: Cache::Miss })
            }
            whole = whole_of(whole) => whole,
        }
    }
}

/// What came of a small file.
pub(super) fn text_came(landed: &Landed) -> Came {
    landed.as_ref().ok().cloned()
}

async fn whole_of(whole: Waiter<Came>) -> Option<Answer> {
    let (ready, cache) = whole.landed().await??;
    Some(Answer::Ready { ready, cache })
}
