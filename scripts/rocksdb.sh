#!/usr/bin/env bash
# Prints the folder of a librocksdb.a that fits third_party/librocksdb, building it once (about 12 minutes
# on 2 cores) if no earlier checkout has. The folder is keyed by crate version, features and CPU flags.
set -euo pipefail
cd "$(dirname "$0")/../third_party/librocksdb"
cache=${1:?usage: rocksdb.sh CACHE-FOLDER}

case $(uname -m) in
  # Without these two RocksDB computes its CRC32C in software, 4 to 6 times slower.
  x86_64) flags=-Ctarget-feature=+sse4.2,+pclmulqdq ;;
  aarch64) flags=-Ctarget-feature=+crc,+aes,+sha2 ;;
  *) flags= ;;
esac

key=$({ cat Cargo.toml Cargo.lock; echo "$flags"; c++ -dumpfullversion; } | sha256sum | cut -c1-16)
dir=$cache/rocksdb-$key
if [ ! -f "$dir/librocksdb.a" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/rocksdb.lock"
  flock 9 # a second checkout waits here and finds the library made
  if [ ! -f "$dir/librocksdb.a" ]; then
    echo "building RocksDB once into $dir (about 12 minutes on 2 cores)" >&2
    # Cargo says nothing while the crate's build script compiles, so the object files are counted.
    while sleep 30 2>/dev/null && kill -0 $$ 2>/dev/null; do
      echo "RocksDB: $(find "$dir/build" -name '*.o' 2>/dev/null | wc -l) of about 340 files compiled" >&2
    done >/dev/null 9>&- &
    progress=$!
    trap 'kill $progress 2>/dev/null || :' EXIT
    env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC RUSTFLAGS="$flags" CARGO_TARGET_DIR="$dir/build" \
      cargo build --release --locked --quiet >&2
    lib=$(find "$dir/build/release/build" -name librocksdb.a | head -n 1)
    mv "$lib" "$dir/librocksdb.a"
    rm -rf "$dir/build"
  fi
fi
echo "$dir"
