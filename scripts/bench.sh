#!/usr/bin/env bash
# Benchmarks: criterion's of the hot path, both eviction policies on a generated trace, then, if the comparison bench
# lies beside the clone or in BENCH_DIR, ours against its peers.
# BENCHES=hit chooses among criterion's by name, MEASURE=small,zip among the comparison's measures (and leaves the rest
# out), SERVERS=… among the peers, OUT=… where results go.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/goproxyd
bench=${BENCH_DIR:-../shared/bench}

if [ -z "${MEASURE:-}" ]; then
  scripts/cargo.sh bench --locked -p benches -- ${BENCHES:+"$BENCHES"}
  scripts/cargo.sh test --locked --release -p dataplane --test evict_simulation -- --nocapture --test-threads 1
fi
if [ ! -f "$bench/bench.py" ]; then
  echo "no comparison bench in $bench: set BENCH_DIR to its folder to compare with other servers"
  exit 0
fi

tools=$cache/bench/bin tree=$cache/bench/tree
mkdir -p "$tools" "$cache/bench"
(cd "$bench/tools" && go build -o "$tools/" ./origin ./loadgen ./gofs)
if [ ! -f "$tree/complete" ]; then
  echo "fetching the corpus once (about 480 MB)"
  # By the go command itself: it takes toolchains from nowhere unless the checksum database vouches for them, which
  # corpus.py switches off.
  empty=$(mktemp -d)
  cat "$bench/corpus/public.txt" "$bench/corpus/public.graph.txt" |
    GOMODCACHE="$cache/bench/modcache" GOFLAGS=-modcacherw GOTOOLCHAIN=local xargs go -C "$empty" mod download
  rmdir "$empty"
  python3 "$bench/corpus.py" --name public --modcache "$cache/bench/modcache" --tree "$tree" --no-fetch
  touch "$tree/complete"
fi
work=$(mktemp -d) ram=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$work" "$ram"' EXIT
python3 "$bench/bench.py" --tree "$tree" --work "$work" --client-tmp "$ram" \
  --bin "origin=$tools/origin" --bin "loadgen=$tools/loadgen" --bin "gofs=$tools/gofs" \
  --servers "${SERVERS:-nginx-static,nginx-proxy-cache}" \
  --ours "$PWD/bin/goproxyd --listen=127.0.0.1:{port} --admin-listen=127.0.0.1:0 --upstream={upstream} --sumdb=off --data-dir={cache} --log-level=warn" \
  --ours-health /healthz --out "${OUT:-$cache/bench/results}" ${MEASURE:+--measure "$MEASURE"} ${BENCH_ARGS:-}
