# The menu. Everything CI does is one of these; `.ci/run` is `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET  := $(or $(CARGO_TARGET_DIR),target)
FILTERS := --profile filters --target wasm32-wasip1 -p sticky-router -p session-binder
BINS    := -p limpet-core -p limpet-host -p limpet-tests --bins
NATIVE  := --workspace --all-targets

.PHONY: help build release filters test sim fuzz demo bench lint deps deps-bench

help:
	@echo 'make demo    three nodes, demo workers and the proxy on http://127.0.0.1:8080'
	@echo 'make test    installs what the tests need, then runs all of them'
	@echo 'make sim     SEEDS simulated clusters from seed FROM on, in virtual time'
	@echo 'make fuzz    made-up bytes for every reader, SECONDS for each; ONLY=message reads one kind'
	@echo 'make bench   measures against its peers side by side; writes docs/BENCHMARKS.md'
	@echo '             ROW=update (or several) measures some rows and writes nothing; SHORT=1 tries it out'
	@echo 'make build   filters, daemons and demo worker; `make release` the same, optimised'
	@echo 'make lint    formatting and clippy, natively and for wasm'

# Filters first: limpet-host carries them inside itself.
filters:
	cargo build $(FILTERS)

build: filters
	cargo build $(BINS)

release: filters
	cargo build --release $(BINS)

test: deps lint build
	cargo test --workspace --no-fail-fast

# A failing seed prints the line that has it again: make sim SEEDS=1 FROM=1234
# LIMPET_SIM_MODE=backup or forgetful in front of it simulates clusters of those kinds.
SEEDS ?= 1000
FROM  ?= 0
sim:
	LIMPET_SIM_SEEDS=$(SEEDS) LIMPET_SIM_FROM=$(FROM) \
		cargo test -p limpet-tests --test sim run::seeds -- --exact --nocapture

# What goes wrong is kept in a file that the failure names; it belongs into tests/fuzz/corpus.
SECONDS ?= 60
ONLY    ?=
fuzz:
	LIMPET_FUZZ_SECONDS=$(SECONDS) LIMPET_FUZZ_TARGET=$(ONLY) \
		cargo test -p limpet-tests --test fuzz inputs_made_out_of_others -- --nocapture

demo: release
	$(TARGET)/release/demo

bench: deps-bench release
	$(TARGET)/release/bench $(if $(SHORT),--short) $(ROW)

lint: filters
	cargo fmt --all --check
	cargo clippy $(NATIVE) -- -D warnings
	cargo clippy $(FILTERS) -- -D warnings

deps:
	scripts/deps wasm-target envoy ip faketime

deps-bench:
	scripts/deps wasm-target envoy nginx haproxy wrk redis-server tomcat10 java curl ip ss
