//! Turning `SIGTERM` and `SIGINT` into values that tasks wait for.
//!
//! The first signal asks for a drain, a second one for the end at once. This module decides nothing about what a
//! drain is, and never ends the process itself.

use std::io;

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
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stages = shutdown.clone();
        tokio::spawn(async move {
            let name = next_signal(&mut terminate, &mut interrupt).await;
            info!(signal = name, "draining; a second signal stops at once");
            stages.drain.cancel();
            let name = next_signal(&mut terminate, &mut interrupt).await;
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

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Kill, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_forces() {
        let shutdown = Shutdown::on_signals().unwrap();
        assert!(!shutdown.drain().is_cancelled());
        kill_process(getpid(), Kill::TERM).unwrap();
        shutdown.drain().cancelled().await;
        assert!(!shutdown.force().is_cancelled());
        kill_process(getpid(), Kill::INT).unwrap();
        shutdown.force().cancelled().await;
    }
}
