//! What leaves when space runs out.
//!
//! The unit is a zip: `.info`, `.mod` and lists are a few kilobytes and stay until retention, or until no zip is
//! left to take. Retained, published and pinned versions never leave. What a version is bound to stays, whatever leaves of it.
//!
//! | file | owns |
//! |---|---|
//! | `policy` | S3-FIFO and LRU as pure steps over queues behind a trait |
//! | `sketch`, `ghost` | what the policy remembers, in fixed memory |
//! | `memory` | queues in memory, for simulations and tests |
//! | `disk` | queues in the database: order survives restarts, memory does not grow with versions |
//! | `heat` | the store's side: where a new zip enters, who was asked for; `heat/ages` whether the clock can be believed |
//! | `touch` | access times, bounded and hourly |
//! | `goal` | how much has to go, from capacity and watermarks; `goal/garbage` when garbage is collected |
//! | `retention` | "newest N", "accessed within D days" |
//! | `worker`, `report` | one pass of it all (`worker/retain`, `worker/collect`; `worker/damage` what is in its way), and what it did |
//! | `families` | metrics |

mod disk;
mod families;
mod ghost;
mod goal;
mod heat;
mod memory;
mod policy;
mod report;
mod retention;
mod sketch;
mod touch;
mod worker;

pub use families::StoreFamilies;
pub use ghost::Ghost;
pub use goal::{Goal, Watermarks, goal};
pub use heat::EvictionOptions;
pub use memory::MemoryQueues;
pub use policy::{Algorithm, Front, Memory, Pool, QUEUES, Queues, SMALL_OBJECT_BYTES, Shares, Step, step};
pub use report::{Evicted, Interrupted, Report, Why};
pub use retention::Keep;
pub use sketch::Frequency;
pub(super) use worker::Suspicion;
pub use worker::{Policy, begin_reclaiming, reclaim_all, run_once};

pub(super) use heat::Heat;
