//! The checksum database: asked, verified and served again.
//!
//! Owns what is fetched from it and kept of it, and the one timeline of tree heads that this server vouches for. The
//! mathematics is in [`gomod::sumdb`]. Invariants: nothing is kept or served that does not follow from a tree head signed
//! with the configured key; all heads ever accepted lie on one timeline; what clients need for the records held is held
//! too, so that a warm server serves offline.
//!
//! | file | idea |
//! |---|---|
//! | `spec` | the setting, in GOSUMDB's syntax (pure) |
//! | `error`, `metrics` | what can go wrong, each with its own name and count |
//! | `store`, `flight` | what is kept under which keys; doing a thing once for all who ask |
//! | `head`, `alarm` | the timeline of tree heads, and the alarm when there are two; for the operator |
//! | `transport` | from whom its answers come |
//! | `tiles` | fetching and keeping tiles; proofs that ask for more tiles |
//! | `prove` | one tile proven by itself |
//! | `judge` | telling a fork from a broken answer |
//! | `records` | splitting data tiles (pure) |
//! | `database` | the shell: hashes of a module version |
//! | `serve` | the answers under `/sumdb/` |

mod alarm;
mod database;
mod error;
mod flight;
mod head;
mod judge;
mod metrics;
mod prove;
mod records;
mod serve;
mod spec;
mod store;
mod tiles;
mod transport;

pub use alarm::StoredAlarm;
pub use database::{Reach, SumDb, SumDbOptions, SumHashes};
pub use error::{SumDbError, SumDbOpenError};
pub(crate) use flight::Flight;
pub use head::Fork;
pub use metrics::SumDbMetrics;
pub use serve::SumAnswer;
pub use spec::{Database, SpecError, SumSpec};
pub use store::{MemorySumStore, SumStore, SumStoreError};
pub use transport::{Borrowing, Fetching, SumTransport};
