//! Closes connections whose client is too slow: one sweep a second over all of them instead of timers per
//! request (faults: slow heads, slow readers, idle connections).
//!
//! The judgement is a pure function of what a connection was last seen doing; closing is aborting its task.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::connection::{ConnectionState, Phase};
use crate::client::Client;
use crate::per_client::{Held, PerClient};

/// How long the sweep waits between rounds; the unit of all ticks.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// Ticks in which a head is not cut off for want of places: an honest client's is there long before.
const HEAD_TICKS_SPARED: u32 = 2;

/// The bounds a client is held to, in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A request head or TLS handshake must be complete within this.
    pub head_ticks: u32,
    /// A keep-alive connection may wait this long for its next request. Longer than the go command's own
    /// 90 s, so that the client is the one who closes and no request races with our close.
    pub idle_ticks: u32,
    /// A client that does not take bytes must take [`Patience::stall_bytes_min`] within this.
    pub stall_ticks: u32,
    /// See [`Patience::stall_ticks`]; together they are a minimum rate of about 2 KiB/s, and of 9 KiB/s where the kernel holds all that it may
    /// of an answer.
    pub stall_bytes_min: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head_ticks: 10, idle_ticks: 120, stall_ticks: 30, stall_bytes_min: 64 * 1024 }
    }
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The head took too long.
    SlowHead,
    /// No request for too long.
    Idle,
    /// The client takes bytes too slowly.
    SlowReader,
    /// Others had no place, and this client held the most.
    MadeRoom,
}

/// The start of the stretch in which a client was blocked at every sweep.
#[derive(Debug, Clone, Copy)]
struct Stall {
    since: u32,
    written: u64,
}

/// Judges one connection at tick `now`; `stall` is the memory between sweeps.
fn judge(
    state: &ConnectionState,
    stall: &mut Option<Stall>,
    now: u32,
    patience: &Patience,
) -> Option<Verdict> {
    let (written, blocked) = state.progress();
    if !blocked {
        *stall = None;
    } else if let Some(begun) = stall {
        if written - begun.written >= patience.stall_bytes_min {
            *stall = Some(Stall { since: now, written });
        } else if now.wrapping_sub(begun.since) >= patience.stall_ticks {
            return Some(Verdict::SlowReader);
        }
    } else {
        *stall = Some(Stall { since: now, written });
    }
    if state.is_stuck(now) {
        return Some(Verdict::SlowReader);
    }
    let (phase, since) = state.phase();
    let elapsed = now.wrapping_sub(since);
    match phase {
        Phase::Head if elapsed > patience.head_ticks => Some(Verdict::SlowHead),
        Phase::Idle if elapsed > patience.idle_ticks => Some(Verdict::Idle),
        Phase::Head | Phase::Idle | Phase::Answer => None,
    }
}

/// For how long a connection has done without an answer at tick `now`; `None` when it is not to be closed for others.
fn dispensable(state: &ConnectionState, now: u32) -> Option<u32> {
    let (phase, since) = state.phase();
    let elapsed = now.wrapping_sub(since);
    match phase {
        // What it was sent last has not left yet.
        _ if state.is_sending() => None,
        Phase::Idle => Some(elapsed),
        Phase::Head => (elapsed >= HEAD_TICKS_SPARED).then_some(elapsed),
        Phase::Answer => None,
    }
}

struct Entry {
    state: Arc<ConnectionState>,
    stall: Option<Stall>,
    abort: AbortHandle,
    /// Its place among the connections of the same client.
    held: Held<()>,
    /// Told to end, and not gone yet.
    closed: bool,
}

#[derive(Default)]
struct Open {
    connections: HashMap<u64, Entry>,
    crowd: Arc<PerClient<()>>,
}

/// Knows every open connection.
pub struct Reaper {
    patience: Patience,
    tick: Arc<AtomicU32>,
    next_id: AtomicU64,
    open: Mutex<Open>,
}

impl Reaper {
    /// A reaper with no connections yet.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            tick: Arc::new(AtomicU32::new(0)),
            next_id: AtomicU64::new(0),
            open: Mutex::default(),
        }
    }

    /// How long a client may take for one piece of an answer.
    pub fn stall_time(&self) -> Duration {
        TICK * self.patience.stall_ticks
    }

    /// State for a connection that is about to be served.
    pub fn connection(&self) -> Arc<ConnectionState> {
        Arc::new(ConnectionState::new(Arc::clone(&self.tick)))
    }

    /// Watches a connection of `client` until [`Reaper::forget`] is called with the id given back.
    pub(crate) fn watch(&self, state: Arc<ConnectionState>, abort: AbortHandle, client: Client) -> u64 {
        let id = self.next_id.fetch_add(1, Relaxed);
        let mut open = self.open.lock();
        let held = open.crowd.enter(client, || ());
        open.connections.insert(id, Entry { state, stall: None, abort, held, closed: false });
        id
    }

    /// Ends the watch on a connection that has closed.
    pub fn forget(&self, id: u64) {
        self.open.lock().connections.remove(&id);
    }

    /// Closes every connection.
    pub fn close_all(&self) {
        for entry in self.open.lock().connections.values() {
            entry.abort.abort();
        }
    }

    /// Closes one connection to make a place for another: of the clients that have one which is not being answered, the
    /// client with the most connections loses the one that has not been for the longest. Whether there was one.
    pub(crate) fn make_room(&self) -> bool {
        let now = self.tick.load(Relaxed);
        let mut open = self.open.lock();
        let rank = |entry: &Entry| {
            let elapsed = if entry.closed { None } else { dispensable(&entry.state, now) };
            elapsed.map(|elapsed| (entry.held.count(), elapsed))
        };
        let ranked = open.connections.values_mut().filter_map(|entry| Some((rank(entry)?, entry)));
        let Some((_, entry)) = ranked.max_by_key(|(rank, _)| *rank) else { return false };
        entry.abort.abort();
        entry.closed = true;
        true
    }

    /// Advances the tick and closes whoever has been too slow, telling `closed` of each.
    pub fn sweep(&self, mut closed: impl FnMut(Verdict)) {
        let now = self.tick.fetch_add(1, Relaxed).wrapping_add(1);
        let mut open = self.open.lock();
        // One that was told to end before it began never says that it has.
        open.connections.retain(|_, entry| !entry.abort.is_finished());
        for entry in open.connections.values_mut().filter(|entry| !entry.closed) {
            if let Some(verdict) = judge(&entry.state, &mut entry.stall, now, &self.patience) {
                entry.abort.abort();
                entry.closed = true;
                closed(verdict);
            }
        }
    }
}

#[cfg(test)]
mod tests;
