#!/usr/bin/env bash
# cargo with this project's build cache: `scripts/cargo.sh test -p common`. Everything but the programs themselves
# is built in a folder outside the clone, so that a second clone or a fresh CI run does not build it again (cargo
# locks the folder; two at once take turns). RocksDB is built once, apart from cargo's own bookkeeping.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/goproxyd

ROCKSDB_LIB_DIR=$("$root/scripts/rocksdb.sh" "$cache")
export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
export CARGO_BUILD_BUILD_DIR=${CARGO_BUILD_BUILD_DIR:-$cache/build}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
exec cargo "$@"
