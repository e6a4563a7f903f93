//! Time and sizes by which a peer works. Invariant: everything that can grow has a bound here.

use std::time::Duration;

use super::error::StartError;

/// How long things take, in ticks of a monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Length of a tick.
    pub tick: Duration,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks without a heartbeat after which a member stands for election: from this many to just under twice as
    /// many, drawn anew for each term. A leader that hears of no majority for as long steps down.
    pub election_ticks: usize,
}

impl Default for Timing {
    /// A leader that dies is replaced after 0.4 to 0.8 s, with two others alive after 0.5 s on average; a disk that takes
    /// 0.4 s for one sync costs no election. For members further apart than 50 ms take a longer tick.
    fn default() -> Self {
        Self { tick: Duration::from_millis(40), heartbeat_ticks: 4, election_ticks: 10 }
    }
}

/// Bounds of what a peer holds and sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one proposed command.
    pub command_bytes_max: usize,
    /// Bytes of entries in one message. One entry that is larger goes alone.
    pub message_bytes_max: u64,
    /// Messages with entries under way to one member without an answer.
    pub messages_in_flight_max: usize,
    /// Bytes of entries that are proposed and not committed; more proposals are refused.
    pub uncommitted_bytes_max: u64,
    /// Bytes of entries applied in one step.
    pub apply_bytes_max: u64,
    /// Bytes of recent entries kept in memory for followers.
    pub log_cache_bytes_max: u64,
    /// Entries after which the log is cut.
    pub log_entries_max: u64,
    /// Bytes of entries after which the log is cut.
    pub log_bytes_max: u64,
    /// Entries that are left when the log is cut, for members that are a little behind.
    pub log_entries_kept: u64,
    /// Proposals that wait for their answer.
    pub proposals_max: usize,
    /// Reads that wait for their index.
    pub reads_max: usize,
    /// Snapshots being sent at once.
    pub snapshots_max: usize,
    /// Bytes of records in one frame of a snapshot. One record that is larger goes alone.
    pub frame_bytes: usize,
    /// Entries after which members compare the digests of their states.
    pub digest_interval: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_bytes_max: 1024 * 1024,
            message_bytes_max: 1024 * 1024,
            messages_in_flight_max: 64,
            uncommitted_bytes_max: 16 * 1024 * 1024,
            apply_bytes_max: 4 * 1024 * 1024,
            log_cache_bytes_max: 4 * 1024 * 1024,
            log_entries_max: 20_000,
            log_bytes_max: 64 * 1024 * 1024,
            log_entries_kept: 5_000,
            proposals_max: 4_096,
            reads_max: 16_384,
            snapshots_max: 2,
            frame_bytes: 256 * 1024,
            digest_interval: 1_000,
        }
    }
}

/// How a peer works.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Ticks and timeouts.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
    /// Seed of the election timeouts and of the names of reads: other for each start of each member.
    pub seed: u64,
    /// The rule to break.
    #[cfg(feature = "sabotage")]
    pub sabotage: Option<Sabotage>,
}

impl Config {
    /// The defaults with this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            timing: Timing::default(),
            limits: Limits::default(),
            seed,
            #[cfg(feature = "sabotage")]
            sabotage: None,
        }
    }

    /// Says what is impossible about it.
    pub(super) fn validate(&self) -> Result<(), StartError> {
        let refuse = |reason| Err(StartError::Config { reason });
        if self.timing.heartbeat_ticks == 0 || self.timing.election_ticks < 2 * self.timing.heartbeat_ticks {
            return refuse(
                "an election takes at least twice the ticks of a heartbeat, and that at least one",
            );
        }
        if self.limits.uncommitted_bytes_max < self.limits.message_bytes_max {
            return refuse("what may be uncommitted has to be at least a message");
        }
        if self.limits.messages_in_flight_max == 0 || self.limits.digest_interval == 0 {
            return refuse("neither messages in flight nor the interval of digests can be 0");
        }
        Ok(())
    }
}

/// Rules that a peer can be told to break, to see whether tests notice.
#[cfg(feature = "sabotage")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// Messages leave before what they promise is on disk.
    SendBeforeSync,
    /// The applied index is written apart from the records that belong to it.
    IndexApartFromRecords,
    /// Reads are answered with the index at hand, without asking a majority.
    ReadWithoutQuorum,
}
