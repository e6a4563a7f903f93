//! What `/debug/` tells of a data plane.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::admin::DebugPage;
use crate::serve::{Memory, Proxy};
use crate::store::Store;

/// The pages.
pub(super) fn pages(proxy: &Arc<Proxy>, store: &Arc<Store>, memory: &Arc<Memory>) -> Vec<DebugPage> {
    let (proxy, memory) = (Arc::clone(proxy), Arc::clone(memory));
    let (database, holder) = (Arc::clone(store), Arc::clone(store));
    vec![
        DebugPage::new("fetches", "what is being fetched, and for how long", move || proxy.under_way()),
        DebugPage::new("memory", "what takes memory, in bytes", move || memory_text(&memory, &holder)),
        DebugPage::new("store", "what RocksDB says of itself", move || {
            database.account().unwrap_or_else(|error| format!("{error}\n"))
        }),
    ]
}

fn memory_text(memory: &Memory, store: &Store) -> String {
    let mut out = String::new();
    let mut line = |bytes: u64, what: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{bytes:>14}  {what}");
    };
    line(memory.bytes(), "answers and chunks of zips, of these at most:");
    line(memory.bytes_max_now(), "… now, and");
    line(memory.bytes_max(), "… while nothing else needs room");
    match store.usage() {
        Ok(usage) => {
            line(usage.memtable_bytes, "writes of the store");
            line(usage.block_cache_bytes, "blocks of its tables");
        }
        Err(error) => {
            let _ = writeln!(out, "{error}");
        }
    }
    for (field, what) in [
        ("RssAnon", "the process' heap and stacks"),
        ("RssShmem", "its memory files"),
        ("RssFile", "its program"),
    ] {
        if let Some(kib) = status_kib(field) {
            let _ = writeln!(out, "{:>14}  {what}", kib * 1024);
        }
    }
    out
}

/// A field of `/proc/self/status`, in KiB.
fn status_kib(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
