//! How content is found: memory, then the store, then the origins, one flight for each thing that is missing.
//! Knows nothing of HTTP but the words its answers are described in.

mod ahead;
mod avoid;
mod blobs;
mod checks;
mod clerk;
mod convert;
mod copies;
mod damage;
mod error;
mod flights;
mod freshness;
mod hasher;
mod index;
mod ingest;
mod lend;
mod lent_texts;
mod lent_zips;
mod memory;
mod metrics;
mod mods;
mod neighbours;
mod overflow;
mod passing;
mod prepare;
mod proof;
mod proxy;
mod readiness;
mod ready;
mod received;
mod refusal;
mod search;
mod sink;
mod spool;
mod sums;
pub mod tag;
#[cfg(test)]
mod tests;
mod texts;
mod transit;
mod vouch;
mod zips;

pub use blobs::{BlobReader, OnDamage};
pub use checks::{Checks, WhenUnavailable};
pub(crate) use convert::from_fetch;
pub use copies::{CopyError, Depth};
pub use damage::on_damage;
pub use error::ServeError;
pub use freshness::Freshness;
pub use memory::Memory;
pub use metrics::ServeFamilies;
pub use proof::Proof;
pub use proxy::{Answer, Asker, Layers, Mode, Proxy, ProxySettings, forget};
pub use ready::{Content, Lifetime, OwnHeaders, Ready};
pub use refusal::{from_refusal, to_refusal};
pub use spool::{Spool, SpoolReader};
