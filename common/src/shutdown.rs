//! Turning `SIGTERM` and `SIGINT` into values that tasks wait for, and `SIGHUP` where a terminal goes.
//!
//! The first signal asks for a drain, a second one for the end at once. To a process without a terminal `SIGHUP` is how operators ask that
//! settings be read again, of which there are none: it goes on. This module decides nothing about what a
//! drain is, and never ends the process itself.

use std::io::{self, IsTerminal as _};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The two stages of stopping.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    force: CancellationToken,
}

impl Shutdown {
    /// A shutdown that only [`Shutdown::request`] triggers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that the process's signals trigger as well. Needs a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        Self::on_signals_to(std::io::stderr().is_terminal())
    }

    fn on_signals_to(has_terminal: bool) -> io::Result<Self> {
        let shutdown = Self::new();
        let mut signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            has_terminal,
        };
        let stages = shutdown.clone();
        tokio::spawn(async move {
            let name = signals.next().await;
            info!(signal = name, "draining; a second signal stops at once");
            stages.drain.cancel();
            let name = signals.next().await;
            warn!(signal = name, "stopping at once");
            stages.force.cancel();
        });
        Ok(shutdown)
    }

    /// Asks for a drain as the first signal would.
    pub fn request(&self) {
        self.drain.cancel();
    }

    /// Cancelled when the drain begins; hand clones of it to listeners and workers.
    pub fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// Cancelled when whatever still runs is to be dropped.
    pub fn force(&self) -> &CancellationToken {
        &self.force
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    has_terminal: bool,
}

impl Signals {
    /// The next one that asks for an end.
    async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                Some(()) = self.hang_up.recv() => {}
            }
            if self.has_terminal {
                return "SIGHUP";
            }
            info!(
                "SIGHUP changes nothing: certificates are read when they change, other settings at the start"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Kill, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_forces() {
        let shutdown = Shutdown::on_signals_to(false).unwrap();
        let at_a_terminal = Shutdown::on_signals_to(true).unwrap();
        assert!(!shutdown.drain().is_cancelled());
        kill_process(getpid(), Kill::HUP).unwrap();
        at_a_terminal.drain().cancelled().await;
        assert!(!shutdown.drain().is_cancelled(), "there is no terminal that went");
        kill_process(getpid(), Kill::TERM).unwrap();
        shutdown.drain().cancelled().await;
        assert!(!shutdown.force().is_cancelled());
        kill_process(getpid(), Kill::INT).unwrap();
        shutdown.force().cancelled().await;
    }
}
