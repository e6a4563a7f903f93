//! What a process takes of its machine, from proc(5).

use std::time::{Duration, Instant};

/// Processor time that a process has spent so far, to a hundredth of a second.
pub fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields 14 and 15 of proc(5); the second, in parentheses, may have spaces.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// A number of kibibytes in a process's status, such as that of `VmRSS:`.
pub fn status_kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Resident bytes of a process now.
pub fn resident_bytes(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:") * 1024
}

/// The share of one core that processes take, looked at over a while.
pub fn cores_over(pids: &[u32], time: Duration) -> Vec<f64> {
    let (begun, before) = (Instant::now(), times(pids));
    // There is nothing to wait for: what is measured is this time.
    std::thread::sleep(time);
    let took = begun.elapsed().as_secs_f64();
    let spent = times(pids).into_iter().zip(before).map(|(after, before)| after.saturating_sub(before));
    spent.map(|spent| spent.as_secs_f64() / took).collect()
}

fn times(pids: &[u32]) -> Vec<Duration> {
    pids.iter().map(|pid| processor_time(*pid)).collect()
}
