//! Places for client connections, and who gives one up when there is none.
//!
//! One client must not keep the others out by holding connections that do nothing. A bound for each address would have to
//! be small to help, and small it would hurt a load balancer, all of whose connections have one address. So there is no
//! bound as long as there are places. When there are none, the address that holds the most gives up the connection that has
//! been without an answer for the longest (see [`Reaper::make_room`]): behind a load balancer that is one that it keeps for
//! later and opens again. Where everybody is being answered, the new one waits, and so do the next ones, in the kernel.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics::HttpFamilies;
use super::reaper::{Reaper, TICK, Verdict};

/// A place for one more connection; waits until there is one.
pub(crate) async fn place(
    permits: &Arc<Semaphore>,
    reaper: &Reaper,
    metrics: &HttpFamilies,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Some(permit);
    }
    let waiting = Arc::clone(permits).acquire_owned();
    tokio::pin!(waiting);
    loop {
        if reaper.make_room() {
            metrics.closed(Verdict::MadeRoom);
        }
        // Its task gives the place back at its next turn. What cannot be closed now may be at the next tick.
        if let Ok(permit) = tokio::time::timeout(TICK, &mut waiting).await {
            return permit.ok();
        }
    }
}
