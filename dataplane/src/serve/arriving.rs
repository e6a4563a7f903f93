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

    /// What an origin is asked for right now, if it is what `request` names.
    pub fn about_to_come(&self, request: &Request) -> Option<Coming> {
        let whole = self.arriving.under_way(request)?;
        let stages = match request {
            Request::Zip(version) => self.zips.under_way(version),
            Request::List(_) | Request::Latest(_) | Request::Info(..) | Request::Mod(_) => None,
        };
        Some(Coming { whole, stages })
    }
}

/// What an origin is about to send.
pub struct Coming {
    whole: Waiter<Came>,
    stages: Option<Waiter<ZipStage>>,
}

impl Coming {
    /// The answer, once it is there; `None` once nothing comes of it.
    pub async fn answer(self) -> Option<Answer> {
        let live = async {
            let stage = self.stages?.landed_where(|stage| matches!(stage, ZipStage::Live(_))).await;
            if let Some(ZipStage::Live(spool)) = stage { Some(spool) } else { None }
        };
        tokio::select! {
            biased;
            Some(spool) = live => Some(Answer::Live { length: spool.length(), spool, cache: Cache::Miss }),
            whole = self.whole.landed() => {
                let (ready, cache) = whole??;
                Some(Answer::Ready { ready, cache })
            }
        }
    }
}

/// What came of a small file.
pub(super) fn text_came(landed: &Landed) -> Came {
    landed.as_ref().ok().cloned()
}
