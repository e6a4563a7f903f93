//! What the store and the caches may take: how `--memory` is divided, and what housekeeping keeps the disk to.

use std::sync::Arc;

use super::Config;
use crate::peers::Peers;
use crate::private::Private;
use crate::store::evict::{EvictionOptions, Policy};
use crate::store::{CHUNK_BYTES, StoreOptions};

/// How `--memory` is divided.
pub(super) struct MemoryBudget {
    write_buffers: u64,
    blocks: u64,
    pub(super) cache: u64,
    pub(super) ahead_chunks: usize,
    pub(super) transit_chunks: usize,
}

impl MemoryBudget {
    /// An eighth each for writes, for the tables' blocks, and for what is under way; the rest for ready answers
    /// and chunks. What is under way are chunks that are read ahead of their clients, and those that have arrived and are
    /// being stored, half and half. Zips that pass through memory because nothing can be stored are at the cost of the cache.
    pub(super) fn of(bytes: u64) -> Self {
        let eighth = bytes / 8;
        Self {
            write_buffers: eighth.clamp(4 << 20, 64 << 20),
            blocks: eighth.max(4 << 20),
            cache: (eighth * 5).max(4 << 20),
            ahead_chunks: (eighth / 2 / CHUNK_BYTES as u64) as usize,
            transit_chunks: (eighth / 2 / CHUNK_BYTES as u64) as usize,
        }
    }
}

pub(super) fn store_options(config: &Config, budget: &MemoryBudget) -> StoreOptions {
    StoreOptions {
        write_buffer_bytes: budget.write_buffers as usize,
        block_cache_bytes: budget.blocks as usize,
        eviction: EvictionOptions {
            algorithm: config.eviction,
            capacity_bytes: config.cache_bytes,
            ..EvictionOptions::default()
        },
        private: Private::new(config.private.clone()),
        ..StoreOptions::default()
    }
}

pub(super) fn policy(config: &Config, peers: &Arc<Peers>) -> Policy {
    let (pinned, peers) = (config.pinned.clone(), Arc::clone(peers));
    Policy {
        capacity_bytes: config.cache_bytes,
        keep: config.keep,
        keeps_everything: config.offline,
        pinned: Box::new(move |version| {
            let (module, version) = (&version.module, version.version.as_str());
            pinned.matches(module) || peers.marks(|marks| marks.pins(module.as_str(), version)) == Some(true)
        }),
        ..Policy::default()
    }
}
