#!/usr/bin/env bash
# cargo with this project's build cache: `scripts/cargo.sh test -p common`. Everything but the programs themselves
# is built in a folder outside the clone, one for each place a clone is at: cargo names this workspace's crates alike
# wherever it stands and tells them apart by file times alone, so clones that shared a folder would run each other's code.
# RocksDB, which is what takes long, is built once for all, apart from cargo's own bookkeeping.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/goproxyd

ROCKSDB_LIB_DIR=$("$root/scripts/rocksdb.sh" "$cache")
export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
export CARGO_BUILD_BUILD_DIR=${CARGO_BUILD_BUILD_DIR:-$cache/build/$(printf %s "$root" | sha256sum | cut -c1-16)}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
# A hundred thousand answers lie all over the heap: with huge pages, where the system grants them, looking one up costs fewer walks
# through page tables (ADR 0034).
export JEMALLOC_SYS_WITH_MALLOC_CONF=thp:always
exec cargo "$@"
