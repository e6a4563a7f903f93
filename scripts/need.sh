#!/usr/bin/env bash
# Installs what a make target needs, or says in one line what is missing: need.sh build|test|bench
set -euo pipefail

fail() { echo "error: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
have_libclang() { compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || ldconfig -p 2>/dev/null | grep -q libclang; }

packages=()
want() { packages+=("$1"); }

build() {
  have c++ || want g++
  have pkg-config || want pkg-config
  have git || want git
  have_libclang || want libclang-dev # bindgen reads RocksDB's header with it
}

# The oldest that builds; rust-toolchain.toml names the one that rustup fetches by itself.
rust() {
  have cargo || fail "Rust is missing: install it with rustup (see rustup.rs), open a new shell and try again"
  local found oldest=1.95.0
  found=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$oldest" "$found" | sort -V | head -n 1)" = "$oldest" ] ||
    fail "cargo $found is too old, $oldest is needed: install Rust with rustup (see rustup.rs)"
}

go_command() {
  have go || fail "Go 1.21 or newer is missing: the tests run the real go command (see go.dev/dl)"
}

case ${1:?usage: need.sh build|test|bench} in
  build) build ;;
  test) build; go_command ;;
  bench) build; go_command; have nginx || want nginx-light; have wrk || want wrk; have python3 || want python3 ;;
  *) fail "unknown target $1" ;;
esac

if [ ${#packages[@]} -gt 0 ]; then
  if have apt-get && [ "$(id -u)" = 0 ]; then
    echo "installing ${packages[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >&2
  elif have apt-get; then
    fail "missing: ${packages[*]}; run: sudo apt-get install ${packages[*]}"
  else
    fail "missing: ${packages[*]} (names of Debian packages)"
  fi
fi
rust
