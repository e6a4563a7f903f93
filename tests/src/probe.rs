//! Somebody who asks for one file after the other, at an even pace, and writes down how long each took.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::raw_http::Call;

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Probed {
    /// When it was due.
    pub at: Instant,
    /// How long it took until its last byte from then on, a second attempt included: what waits behind one that takes long counts as well.
    pub took: Duration,
}

/// See the head of this file.
#[derive(Default)]
pub struct Probe {
    done: AtomicBool,
    probed: Mutex<Vec<Probed>>,
    failures: Mutex<Vec<String>>,
}

impl Probe {
    /// Asks `address` for `paths` in turn, one request each `pace`, while `scene` happens; fails the test if a request was not answered with
    /// 200 at the first or the second attempt, which is what the go command does with GOPROXY `URL|URL`.
    pub fn ask<T>(
        &self,
        address: SocketAddr,
        paths: &[String],
        pace: Duration,
        scene: impl FnOnce() -> T,
    ) -> T {
        let told = std::thread::scope(|scope| {
            scope.spawn(|| self.run(address, paths, pace));
            let _end = End(self);
            scene()
        });
        let failures = self.failures.lock().expect("failures");
        assert!(failures.is_empty(), "{} requests failed: {}", failures.len(), failures.join("\n"));
        told
    }

    fn run(&self, address: SocketAddr, paths: &[String], pace: Duration) {
        let mut due = Instant::now();
        for path in paths.iter().cycle() {
            if self.done.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let at = due;
            let attempt = || {
                Call::new(address, "GET", path).try_send().map_err(|error| error.to_string()).and_then(
                    |answer| {
                        if answer.status == 200 && answer.complete {
                            Ok(())
                        } else {
                            Err(format!("status {}", answer.status))
                        }
                    },
                )
            };
            match attempt().or_else(|_| attempt()) {
                Ok(()) => self.probed.lock().expect("requests").push(Probed { at, took: at.elapsed() }),
                Err(error) => self.failures.lock().expect("failures").push(format!("{path}: {error}")),
            }
            due += pace;
        }
    }

    /// The 99th percentile of what was begun between two times; `None` if nothing was.
    pub fn p99(&self, from: Instant, to: Instant) -> Option<Duration> {
        self.p99_of(std::slice::from_ref(&(from..to)))
    }

    /// The same of several spans of time together.
    pub fn p99_of(&self, spans: &[Range<Instant>]) -> Option<Duration> {
        let probed = self.probed.lock().expect("requests");
        let is_in = |one: &&Probed| spans.iter().any(|span| span.contains(&one.at));
        let mut took: Vec<_> = probed.iter().filter(is_in).map(|one| one.took).collect();
        took.sort_unstable();
        took.get((took.len() * 99 / 100).min(took.len().saturating_sub(1))).copied()
    }
}

struct End<'a>(&'a Probe);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::SeqCst);
    }
}
