#!/usr/bin/env bash
# Installs what a make target needs, or says what is missing, all at once: need.sh build|test|cluster|bench
# Toolchains come first: whoever lacks one should not wait for packages before being told.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }
# As bindgen looks for it. libclang-cpp, which other packages bring, is another library.
have_libclang() {
  compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null ||
    ldconfig -p 2>/dev/null | grep -qE 'libclang(-[0-9.]+)?\.so'
}
older() { [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" != "$1" ]; } # older FOUND OLDEST

complaints=() packages=()
complain() { complaints+=("error: $*"); }
want() { packages+=("$1"); }

build() {
  rust
  have c++ || want g++
  have pkg-config || want pkg-config
  have git || want git
  have_libclang || want libclang-dev # bindgen reads RocksDB's header with it
}

# The oldest that builds; rust-toolchain.toml names the one that rustup fetches by itself.
rust() {
  have cargo || { complain "Rust is missing: install it with rustup (see rustup.rs)"; return; }
  local found oldest=1.95.0
  found=$(cargo --version | cut -d' ' -f2)
  ! older "$found" "$oldest" || complain "cargo $found is too old, $oldest is needed: install Rust with rustup (see rustup.rs)"
}

# Debian 12 packages 1.19.
go_command() {
  have go || { complain "Go is missing, the tests run the real go command: install it from go.dev/dl"; return; }
  local found oldest=1.21
  found=$(go env GOVERSION) found=${found#go}
  ! older "$found" "$oldest" || complain "Go $found is too old, $oldest is needed: install it from go.dev/dl"
}

# The cluster tests run the real ones.
balancers() {
  have nginx || want nginx-light
  have haproxy || want haproxy
  have keepalived || want keepalived
}

case ${1:?usage: need.sh build|test|cluster|bench} in
  build) build ;;
  test) build; go_command; balancers ;;
  cluster) build; have haproxy || want haproxy; have curl || want curl ;;
  bench) build; go_command; have nginx || want nginx-light; have wrk || want wrk; have python3 || want python3 ;;
  *) complain "unknown target $1" ;;
esac

can_install() { have apt-get && [ "$(id -u)" = 0 ]; }
if [ ${#packages[@]} -gt 0 ] && ! can_install; then
  if have apt-get; then
    as_root="su -"
    ! have sudo || as_root="sudo sh"
    complain "packages are missing; this installs them:"
    complaints+=("$as_root -c 'apt-get update && apt-get install -y --no-install-recommends ${packages[*]}'")
  else
    complain "missing: ${packages[*]} (names of Debian packages)"
  fi
fi
if [ ${#complaints[@]} -gt 0 ]; then
  printf '%s\n' "${complaints[@]}" >&2
  exit 1
fi

if [ ${#packages[@]} -gt 0 ]; then
  echo "installing ${packages[*]}, which takes about a minute" >&2
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "${packages[@]}"; } >"$log" 2>&1 || {
    cat "$log" >&2
    echo "error: ${packages[*]} could not be installed" >&2
    exit 1
  }
fi
