#!/usr/bin/env bash
# cargo-deny over licences, sources and banned crates. It is built once into the cache (90 seconds of CPU, since it
# needs no optimising); where it cannot be had this says so and goes on, as it is no check of our own code.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
root=${XDG_CACHE_HOME:-$HOME/.cache}/goproxyd/cargo-deny-$version

if [ ! -x "$root/bin/cargo-deny" ]; then
  echo "building cargo-deny once into $root" >&2
  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR="$root/build" \
    cargo install "cargo-deny@$version" --locked --no-default-features --quiet --root "$root" || {
    echo "warning: cargo-deny cannot be installed here, licences and sources are not checked" >&2
    exit 0
  }
  rm -rf "$root/build"
fi
# cargo-deny reads the manifests of all platforms' crates; what a build here fetched lacks some.
cargo fetch --locked --quiet
"$root/bin/cargo-deny" --offline --log-level warn check --hide-inclusion-graph bans licenses sources
