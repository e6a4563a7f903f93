//! Clocks of its own for a process: a wall clock, which a test steps while the process runs, and a monotonic clock that runs too fast
//! or too slow.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::node::Node;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shims/clock.c");

/// An hour, as [`WallClock::step`] takes it.
pub const HOUR_S: i64 = 60 * 60;

/// A day, as [`WallClock::step`] takes it.
pub const DAY_S: i64 = 24 * 60 * 60;

/// The clock. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct WallClock {
    directory: Arc<tempfile::TempDir>,
    shift: Arc<Mutex<std::fs::File>>,
    /// Hundredths of the speed at which the machine's monotonic clocks run.
    rate: u32,
}

impl WallClock {
    /// Clocks that are right.
    pub fn right() -> Self {
        Self::at_rate(100)
    }

    /// A wall clock that is right, and monotonic clocks that run at so many hundredths of the speed of the machine's.
    pub fn at_rate(percent: u32) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let shim = Self::shim(directory.path());
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(shim).arg(SOURCE).status();
        assert!(compiled.expect("run cc").success(), "compile {SOURCE}");
        let shift = std::fs::File::create(Self::file(directory.path())).expect("make the shift");
        let clock =
            Self { directory: Arc::new(directory), shift: Arc::new(Mutex::new(shift)), rate: percent };
        clock.step(0);
        clock
    }

    /// Has a process go by this clock from its next start.
    pub fn give(&self, node: &mut Node) {
        for (name, value) in self.environment() {
            node.env(name, &value);
        }
    }

    /// What a process that is to go by this clock has in its environment.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let text = |path: PathBuf| path.display().to_string();
        let directory = self.directory.path();
        [
            ("LD_PRELOAD", text(Self::shim(directory))),
            ("SHIFTED_CLOCK", text(Self::file(directory))),
            ("CLOCK_RATE_PERCENT", self.rate.to_string()),
        ]
    }

    /// Sets it so many seconds ahead of the time, or behind it.
    pub fn step(&self, ahead_s: i64) {
        let mut file = self.shift.lock().expect("nobody fails while he steps a clock");
        file.seek(SeekFrom::Start(0)).expect("seek the shift");
        file.write_all(&(ahead_s * 1_000_000_000).to_ne_bytes()).expect("write the shift");
    }

    fn shim(directory: &Path) -> PathBuf {
        directory.join("clock.so")
    }

    fn file(directory: &Path) -> PathBuf {
        directory.join("shift")
    }
}
