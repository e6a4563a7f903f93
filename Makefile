# What a developer, an operator who builds from source and CI call. `make help` lists the targets.
# Builds go through scripts/cargo.sh, which keeps them in a cache outside the clone.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Where rustup, Go and nginx are put, for shells that were not told.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/go/bin:/usr/sbin

CARGO := scripts/cargo.sh
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/goproxyd
# One feature set for lints and tests, so that nothing is compiled twice.
ALL := --workspace --features failpoints
# Where the integration tests find the server that was built with them.
SERVER := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug/goproxyd
TEST := GOPROXYD_BIN=$(SERVER) GOPROXYD_FAILPOINTS_BIN=$(SERVER) $(CARGO) test --locked
TESTS ?=

.PHONY: help
help: ## show this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## leave the release binaries in bin/
	@scripts/need.sh build
	$(CARGO) build --locked --release --package goproxyd --package ctl
	@mkdir -p bin
	@install "$(or $(CARGO_TARGET_DIR),target)/release/goproxyd" bin/goproxyd
	@install "$(or $(CARGO_TARGET_DIR),target)/release/goproxyctl" bin/goproxyctl

.PHONY: run
run: build ## build and start the server; ARGS='--cache-size 20GiB' passes flags
	bin/goproxyd $(ARGS)

.PHONY: cluster
cluster: build ## start a cluster on this machine: 3 control nodes, 3 data nodes, HAProxy; says how to use it
	@scripts/need.sh cluster
	@scripts/cluster.sh up

.PHONY: cluster-down
cluster-down: ## end it; its data stays
	@scripts/cluster.sh down

.PHONY: test
test: ## run every test that needs no network; TESTS=name runs those whose name has it
	@scripts/need.sh test
	$(TEST) --no-fail-fast $(ALL) -- $(TESTS)

# `--test process` is there because cargo then builds the server as well.
.PHONY: test-online
test-online: ## ask the real upstream and checksum database as well (network)
	@scripts/need.sh test
	GOPROXYD_TEST_ONLINE=1 $(TEST) $(ALL),gomod/online --test online --test process -- $(TESTS)

.PHONY: soak
soak: ## run the fault tests for long, and measure; SOAK=500 sets the rounds
	@scripts/need.sh test
	@$(MAKE) build
	SOAK=$(or $(SOAK),200) GOPROXYD_RELEASE_BIN=$(CURDIR)/bin/goproxyd $(TEST) --no-fail-fast $(ALL) -- $(TESTS)

.PHONY: lint
lint: ## formatting, clippy, house rules, licences, documentation
	@scripts/need.sh build
	cargo fmt --all --check
	$(CARGO) clippy --locked $(ALL) --all-targets -- -D warnings
	$(CARGO) xtask tidy
	@scripts/deny.sh
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked $(ALL) --no-deps --quiet

.PHONY: fmt
fmt: ## format the code
	cargo fmt --all

.PHONY: bench
bench: ## benchmarks; MEASURE=small,zip for a part (see scripts/bench.sh)
	@scripts/need.sh bench
	@$(MAKE) build
	scripts/bench.sh

.PHONY: vectors
vectors: ## write the test vectors anew from the real golang.org/x/mod (network)
	@scripts/need.sh test
	go -C tests/gomod-vectors run . -dir ../../core/gomod/tests/vectors
	go -C tests/sumdb-vectors run . > core/gomod/tests/vectors/sumdb.jsonl.gz
	go -C tests/zip-vectors run . tables > core/gomod/src/zip/unicode_tables.rs
	go -C tests/zip-vectors run . zips > core/gomod/tests/vectors/zips.jsonl.gz
	go -C tests/zip-vectors run . select > core/gomod/tests/vectors/select.jsonl.gz

.PHONY: clean-cache
clean-cache: ## remove what builds left outside the clone, RocksDB included
	rm -rf "$(CACHE)"
