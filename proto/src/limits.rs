//! How much may be said at once, and how long it may take. Servers refuse what is beyond, clients do not ask for it.

use std::time::Duration;

/// Bytes of one message in either direction, unless a service says otherwise. The largest is a layout with every slot
/// of a thousand nodes; a page of anything is cut to fit.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes of one message between data nodes: a small file, of which go.mod files and lists of versions are the largest, with what
/// is said of it.
pub const CONTENT_MESSAGE_BYTES_MAX: usize = (16 << 20) + (64 << 10);

/// Bytes of records in one part of a whole state, or of Raft's messages in one batch. Less than [`MESSAGE_BYTES_MAX`] by
/// enough that one record more, of which none is larger than a mebibyte, still fits.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Bytes of a part of a snapshot.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;

/// Entries of a page where the client names no number.
pub const PAGE_SIZE_DEFAULT: u32 = 100;

/// Entries of a page at most; who asks for more gets so many.
pub const PAGE_SIZE_MAX: u32 = 1000;

/// Bytes of a page token that is looked at.
pub const PAGE_TOKEN_BYTES_MAX: usize = 256;

/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 64;

/// Bytes of the reason for a change.
pub const REASON_BYTES_MAX: usize = 500;

/// Time that a call may take where the client names none. Streams have none.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);

/// Time that a call may take however much the client would wait.
pub const DEADLINE_MAX: Duration = Duration::from_mins(1);
