//! Cores for parts of a test: a node that is measured has one to itself, as it has a machine to itself elsewhere, and
//! everything around it another.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Two cores. This process, and what it starts from now on, runs on the second, until this is dropped.
pub struct Cores {
    all: CpuSet,
    first: CpuSet,
    second: CpuSet,
}

impl Cores {
    /// [`None`] on a machine, or in a container, that has only one.
    pub fn two() -> Option<Self> {
        let all = sched_getaffinity(None).unwrap();
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).map(only);
        let cores = Self { all, first: cores.next()?, second: cores.next()? };
        run_on(std::process::id(), &cores.second);
        Some(cores)
    }

    /// Gives a process the first core.
    pub fn first_is_for(&self, pid: u32) {
        run_on(pid, &self.first);
    }

    /// Gives a process the second core, which it shares with this one.
    pub fn second_is_for(&self, pid: u32) {
        run_on(pid, &self.second);
    }

    /// Does `work` in this thread, on the first core.
    pub fn on_first<T>(&self, work: impl FnOnce() -> T) -> T {
        sched_setaffinity(None, &self.first).unwrap();
        let done = work();
        sched_setaffinity(None, &self.second).unwrap();
        done
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        run_on(std::process::id(), &self.all);
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// All threads of a process; those that they start have it from them.
fn run_on(pid: u32, cores: &CpuSet) {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let id = thread.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
        // One that has ended since runs nowhere.
        let _ = sched_setaffinity(id, cores);
    }
}
