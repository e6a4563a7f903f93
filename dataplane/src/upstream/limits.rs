//! Owns the bounds of a fetch: sizes by kind of file, time by phase, requests at an origin.
//!
//! Sizes are the go command's own (golang.org/x/mod/zip); times are settings so that tests need not wait.

use std::time::Duration;

/// Requests out at one origin at a time.
pub const PLACES: usize = 64;
/// Largest `.info` or `@latest`, in bytes.
pub const INFO_BYTES_MAX: u64 = 1 << 20;
/// Largest `.mod`, in bytes (golang.org/x/mod/zip.MaxGoMod).
pub const MOD_BYTES_MAX: u64 = 16 << 20;
/// Largest version list, in bytes.
pub const LIST_BYTES_MAX: u64 = 16 << 20;
/// Largest zip, in bytes (golang.org/x/mod/zip.MaxZipFile).
pub const ZIP_BYTES_MAX: u64 = 500 << 20;
/// Largest answer of a checksum database (a tile of 256 records), in bytes.
pub const SUMDB_BYTES_MAX: u64 = 4 << 20;
/// Small files on their way from all origins at a time, in bytes; those of up to 64 KiB are not counted. Four of the
/// largest, or of those that do not say how large they are.
pub const SMALL_BYTES_MAX: u32 = 64 << 20;
/// Times that a zip is taken up again after its connection broke.
pub const RESUMES_MAX: u32 = 3;

/// The bounds that may be set.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests out at one origin at a time; at most half of them are for zips.
    pub places: usize,
    /// Requests waiting for a place at one origin, and as many zips for their half.
    pub waiting_max: usize,
    /// How long each of them waits while nothing comes from the origin …
    pub wait: Duration,
    /// … and at most, while something does: then it is only a matter of time.
    pub wait_max: Duration,
    /// From sending a request to its response head, connecting included. Long, because the public mirror may first
    /// have to fetch from version control itself.
    pub head: Duration,
    /// The whole body of a small file, waiting for room for it included.
    pub small_body: Duration,
    /// Small files on their way from all origins at a time, in bytes.
    pub small_bytes: u32,
    /// Between two parts of any body. A zip is taken up again after that, [`RESUMES_MAX`] times, so that an origin which
    /// sends nothing any more is given up after four of these.
    pub idle: Duration,
    /// The slowest pace of a zip in bytes per second …
    pub bytes_per_second_min: u64,
    /// … over each such span of waiting for the origin.
    pub pace_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            places: PLACES,
            waiting_max: 1_024,
            wait: Duration::from_secs(10),
            wait_max: Duration::from_secs(30),
            head: Duration::from_mins(1),
            small_body: Duration::from_secs(30),
            small_bytes: SMALL_BYTES_MAX,
            idle: Duration::from_secs(20),
            bytes_per_second_min: 1_024,
            pace_window: Duration::from_mins(1),
        }
    }
}
