//! How messages get from member to member: a trait, and an implementation within one process for tests.
//!
//! Losing, doubling and reordering messages is allowed. Waiting is not: whoever implements this has bounded queues and
//! drops what does not fit.

use bytes::Bytes;
use cluster::MemberId;

use super::snapshot::OutgoingSnapshot;

/// Takes messages away. Called on raft's thread: it must not wait.
pub trait Transport: Send + Sync + 'static {
    /// Sends a message, or drops it. A member that cannot be reached is reported by
    /// [`super::RaftHandle::report_unreachable`], once for each time that it is found so.
    fn send(&self, to: MemberId, message: Bytes);

    /// Sends a state in the background, its message first and then every frame, and reports the end by
    /// [`super::RaftHandle::report_snapshot`], in every case: raft waits for that before it goes on with this member.
    /// The other side hands them to [`super::RaftHandle::receive_snapshot`].
    fn send_snapshot(&self, to: MemberId, snapshot: OutgoingSnapshot);
}
