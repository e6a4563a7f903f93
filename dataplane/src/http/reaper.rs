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

/// How long the sweep waits between rounds; the unit of all ticks.
pub(crate) const TICK: Duration = Duration::from_secs(1);

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
    /// See [`Patience::stall_ticks`]; together they are a minimum rate of about 2 KiB/s.
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

struct Entry {
    state: Arc<ConnectionState>,
    stall: Option<Stall>,
    abort: AbortHandle,
}

/// Knows every open connection.
pub struct Reaper {
    patience: Patience,
    tick: Arc<AtomicU32>,
    next_id: AtomicU64,
    connections: Mutex<HashMap<u64, Entry>>,
}

impl Reaper {
    /// A reaper with no connections yet.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            tick: Arc::new(AtomicU32::new(0)),
            next_id: AtomicU64::new(0),
            connections: Mutex::default(),
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

    /// Watches a connection until [`Reaper::forget`] is called with the id given back.
    pub fn watch(&self, state: Arc<ConnectionState>, abort: AbortHandle) -> u64 {
        let id = self.next_id.fetch_add(1, Relaxed);
        self.connections.lock().insert(id, Entry { state, stall: None, abort });
        id
    }

    /// Ends the watch on a connection that has closed.
    pub fn forget(&self, id: u64) {
        self.connections.lock().remove(&id);
    }

    /// Closes every connection.
    pub fn close_all(&self) {
        for entry in self.connections.lock().values() {
            entry.abort.abort();
        }
    }

    /// Advances the tick and closes whoever has been too slow, telling `closed` of each.
    pub fn sweep(&self, mut closed: impl FnMut(Verdict)) {
        let now = self.tick.fetch_add(1, Relaxed).wrapping_add(1);
        for entry in self.connections.lock().values_mut() {
            if let Some(verdict) = judge(&entry.state, &mut entry.stall, now, &self.patience) {
                entry.abort.abort();
                closed(verdict);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::Framing;
    use super::*;

    fn state(tick: u32) -> (Arc<AtomicU32>, Arc<ConnectionState>) {
        let tick = Arc::new(AtomicU32::new(tick));
        (Arc::clone(&tick), Arc::new(ConnectionState::new(tick)))
    }

    #[test]
    fn a_head_that_does_not_end_is_closed_and_an_answer_is_not() {
        let (_, connection) = state(0);
        let patience = Patience::default();
        assert_eq!(judge(&connection, &mut None, patience.head_ticks, &patience), None);
        assert_eq!(
            judge(&connection, &mut None, patience.head_ticks + 1, &patience),
            Some(Verdict::SlowHead)
        );
        let _answering = connection.answering(Framing::Lines);
        assert_eq!(judge(&connection, &mut None, 100_000, &patience), None);
    }

    #[test]
    fn an_idle_connection_is_closed_in_time() {
        let (tick, connection) = state(0);
        let patience = Patience::default();
        tick.store(50, Relaxed);
        drop(connection.answering(Framing::Lines));
        assert_eq!(judge(&connection, &mut None, 50 + patience.idle_ticks, &patience), None);
        assert_eq!(judge(&connection, &mut None, 51 + patience.idle_ticks, &patience), Some(Verdict::Idle));
    }

    #[test]
    fn the_end_of_an_answer_that_a_client_never_takes_closes_an_http2_connection() {
        let patience = Patience::default();
        for begun in [0, 5, u32::MAX - 20] {
            let (tick, connection) = state(begun);
            let mut verdicts = 0..=60;
            let mut answering = connection.answering(Framing::Frames);
            answering.leave();
            let mut stall = None;
            let at = verdicts.find(|after| {
                let now = begun.wrapping_add(*after);
                tick.store(now, Relaxed);
                // Answers that come and go are no progress of the one that is stuck.
                let mut other = connection.answering(Framing::Frames);
                other.leave();
                drop(other);
                judge(&connection, &mut stall, now, &patience) == Some(Verdict::SlowReader)
            });
            assert!(at.is_some_and(|at| (patience.stall_ticks..=40).contains(&at)), "{at:?} from {begun}");
            drop(answering);
            assert_eq!(judge(&connection, &mut stall, tick.load(Relaxed), &patience), None);
        }
        let (_, connection) = state(0);
        let mut over_one = connection.answering(Framing::Lines);
        over_one.leave();
        assert!((0..100).all(|now| judge(&connection, &mut None, now, &patience).is_none()));
    }

    #[tokio::test]
    async fn a_sweep_aborts_the_slow_and_spares_the_rest() {
        let reaper = Reaper::new(Patience { head_ticks: 2, ..Patience::default() });
        let slow = tokio::spawn(std::future::pending::<()>());
        let fine = tokio::spawn(std::future::pending::<()>());
        let busy = reaper.connection();
        let _answering = busy.answering(Framing::Lines);
        reaper.watch(reaper.connection(), slow.abort_handle());
        reaper.watch(busy, fine.abort_handle());
        let mut verdicts = Vec::new();
        for _ in 0..3 {
            reaper.sweep(|verdict| verdicts.push(verdict));
        }
        assert_eq!(verdicts, [Verdict::SlowHead]);
        assert!(slow.await.unwrap_err().is_cancelled());
        assert!(!fine.is_finished());
    }
}
