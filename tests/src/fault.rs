//! What can go wrong with one answer of an origin. A list of faults is a script; all of it applies.

use crate::gate::Gate;
use std::time::Duration;

/// One deviation from a good answer.
#[derive(Clone)]
pub enum Fault {
    /// This status with a short text body.
    Status(u16),
    /// This status, these headers, this body instead of the real ones.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// Adds or replaces a header.
    Header(&'static str, String),
    /// A login page: 200 and HTML.
    Html,
    /// 302 to this URL.
    Redirect(String),
    /// 302 to itself for ever.
    RedirectLoop,
    /// Waits before the status line.
    Delay(Duration),
    /// Sends the body in pieces with a pause after each.
    Drip {
        /// Bytes a piece.
        bytes: usize,
        /// Pause after each piece.
        every: Duration,
    },
    /// Stops at the gate after so many body bytes. Reports its arrival once these bytes are sent.
    Hold {
        /// Body bytes sent before the gate.
        after: usize,
        /// The gate.
        gate: Gate,
    },
    /// Stops at the gate before the status line.
    HoldHead(Gate),
    /// Closes the connection in good order after so many body bytes.
    Truncate(usize),
    /// Resets the connection after so many body bytes.
    Reset(usize),
    /// Announces this content length whatever the body is, and closes after it.
    ContentLength(u64),
    /// Sends the body chunked, without a content length.
    Chunked,
    /// Sends the body without any length and closes at its end.
    UntilClose,
    /// Flips a bit of the body at this offset (from the end if negative).
    FlipBit(i64),
    /// Replaces the body.
    Body(Vec<u8>),
    /// Ignores `Range` although the origin knows ranges.
    NoRange,
}

impl Fault {
    /// 429 with `Retry-After` in seconds.
    pub fn too_many_requests(retry_after_seconds: u32) -> Self {
        let headers = vec![("Retry-After".to_owned(), retry_after_seconds.to_string())];
        Self::Answer(429, headers, b"slow down\n".to_vec())
    }
}
