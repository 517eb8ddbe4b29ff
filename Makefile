# The menu. Everything CI does is one of these; `.ci/run` is `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET  := $(or $(CARGO_TARGET_DIR),target)
WASM    := --profile filters --target wasm32-wasip1
FILTERS := $(WASM) -p sticky-router -p session-binder
BINS    := -p limpet-core -p limpet-host -p limpet-tests --bins

# One selection everywhere. Cargo turns on the features that the selected packages and their tests need, so another
# selection would have other features and compile dependencies again.
ALL     := --workspace --all-targets
# The same features (a test is selected), for the programs of the demo alone.
DEMO    := --workspace --bin limpet-core --bin limpet-host --bin demo --bin demo-worker --test tidy
SOAK    := --workspace --bin limpet-core --bin limpet-host --bin soak --bin demo-worker --test tidy

# clippy's driver is the compiler with clippy's lints. With it, what is compiled is linted, and nothing is compiled or
# checked for the lints alone. These are the variables that `cargo clippy -- -D warnings` sets.
export CLIPPY_ARGS := -D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__
export CLIPPY_CONF_DIR := $(CURDIR)
LINTED  := RUSTC_WORKSPACE_WRAPPER=clippy-driver

.PHONY: help build release filters test sim fuzz demo proof-soak bench lint deps deps-bench deps-soak

help:
	@echo 'make demo    three nodes, demo workers and the proxy on http://127.0.0.1:8080'
	@echo 'make test    installs what the tests need, then lints, builds and runs all of them'
	@echo 'make sim     SEEDS simulated clusters from seed FROM on, in virtual time'
	@echo 'make fuzz    made-up bytes for every reader, SECONDS for each; ONLY=message reads one kind'
	@echo 'make proof-soak  five real nodes and two proxies under faults for MINUTES, every answer checked'
	@echo 'make bench   measures against its peers side by side; writes docs/BENCHMARKS.md'
	@echo '             ROW=update (or several) measures some rows and writes nothing; SHORT=1 tries it out'
	@echo 'make build   filters, daemons, demo worker and tests; `make release` the programs, optimised'
	@echo 'make lint    formatting and clippy, natively and for wasm'

# Filters first: limpet-host carries them inside itself.
filters:
	cargo build $(FILTERS)

build: filters
	cargo build $(ALL)

release: filters
	cargo build --release $(BINS)

# The tests run what `lint` compiled.
test: deps lint
	$(LINTED) cargo test --workspace --no-fail-fast

# For wasm a library is enough, for the filters that are run are compiled by rustc itself.
lint: filters
	cargo fmt --all --check
	$(LINTED) cargo rustc $(WASM) -p session-binder --lib --crate-type rlib
	$(LINTED) cargo build $(ALL)

# A failing seed prints the line that has it again: make sim SEEDS=1 FROM=1234
# LIMPET_SIM_MODE=backup or forgetful in front of it simulates clusters of those kinds.
SEEDS ?= 1000
FROM  ?= 0
sim:
	LIMPET_SIM_SEEDS=$(SEEDS) LIMPET_SIM_FROM=$(FROM) \
		cargo test --workspace --test sim run::seeds -- --exact --nocapture

# What goes wrong is kept in a file that the failure names; it belongs into tests/fuzz/corpus.
SECONDS ?= 60
ONLY    ?=
fuzz:
	LIMPET_FUZZ_SECONDS=$(SECONDS) LIMPET_FUZZ_TARGET=$(ONLY) \
		cargo test --workspace --test fuzz inputs_made_out_of_others -- --nocapture

demo: filters
	cargo build $(DEMO)
	$(TARGET)/debug/demo

# It needs root, for it makes network namespaces. LIMPET_SEED=1234 in front of it draws the same faults again;
# MODE=delta or backup soaks clusters of one kind, KEEP_GOING=1 goes on after a broken claim, WITHOUT=renames or
# late-reports leaves those out.
MINUTES ?= 10
proof-soak: deps-soak filters
	cargo build $(SOAK)
	$(TARGET)/debug/soak --minutes $(MINUTES) $(if $(MODE),--mode $(MODE)) $(if $(KEEP_GOING),--keep-going) \
		$(foreach what,$(WITHOUT),--without $(what))

bench: deps-bench release
	$(TARGET)/release/bench $(if $(SHORT),--short) $(ROW)

deps:
	scripts/deps wasm-target envoy ip faketime

deps-soak:
	scripts/deps wasm-target ip faketime

deps-bench:
	scripts/deps wasm-target envoy nginx haproxy wrk redis-server tomcat10 java curl ip ss
