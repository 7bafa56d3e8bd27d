# Every target first installs what it needs and is not there yet (.ci/setup says what and why); Rust itself is assumed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# rustup's default place, for shells that do not know it.
export PATH := $(PATH):$(HOME)/.cargo/bin

CONFIG ?= conf/tollgate.yaml
LISTEN ?= 127.0.0.1:8080

# How long: each fuzz target, and the soak.
fuzz: SECONDS ?= 60
soak: SECONDS ?= 3600

.PHONY: help demo run test lint conformance bench instructions fuzz soak

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## Start a gateway with a bundled upstream and data (LISTEN=127.0.0.1:8080), and print curl lines to try
	@.ci/setup build
	cargo run --locked -- demo --listen $(LISTEN)

run: ## Start the gateway with your file (CONFIG=conf/tollgate.yaml), optimised
	@.ci/setup build
	cargo run --locked --release -- run -c $(CONFIG)

test: ## Run all tests, Tinybird's own clients among them
	@.ci/setup build
	@.ci/setup clients
	@.ci/setup stores
	@.ci/setup acme
	@.ci/setup stack
	@.ci/test

lint: ## Check formatting, clippy and rustdoc, warnings denied
	@.ci/setup build
	@.ci/setup lint
	cargo fmt --check
	cargo clippy --all-targets --features bench-peers,bench-instructions --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

conformance: ## Let testssl.sh look for vulnerabilities (into docs/conformance.md), and Tinybird's program and ClickHouse at the export's files
	@.ci/setup build
	@.ci/setup conformance
	cargo build --locked --release
	.build/datafiles/bin/python tests/conformance/datafiles.py $${CARGO_TARGET_DIR:-target}/release/tollgate
	tests/conformance/t3_tls.py $${CARGO_TARGET_DIR:-target}/release/tollgate docs/conformance.md

bench: ## Measure: criterion benches, load against nginx, HAProxy, Caddy and a bare Pingora proxy, TLS, reloads, usage and logs under load
	@.ci/setup build
	@.ci/setup bench
	cargo bench --locked --profile measured
	benches/end_to_end/run.sh
	python3 benches/end_to_end/scenarios.py
	python3 benches/end_to_end/reload.py
	python3 benches/end_to_end/metering.py
	benches/tls/run.py

instructions: ## Count instructions: no step and no request may take 3 % more (RECORD=1 keeps the counts, WHY='..' what they are spent on)
	@.ci/setup build
	@.ci/setup instructions
	@.ci/instructions

fuzz: ## Invent inputs for whatever reads what strangers write (SECONDS=60 for each part), and say how to repeat what breaks it
	@.ci/setup build
	@.ci/setup fuzz
	@.ci/fuzz $(SECONDS)

soak: ## Try every fault in its long form, then let a gateway run at half load among faults (SECONDS=3600), and judge memory, files and answers (into docs/soak.md)
	@.ci/setup build
	@.ci/setup soak
	TOLLGATE_LONG=1 .ci/test --test faults
	cargo build --locked --release
	SECONDS=$(SECONDS) python3 tests/soak/soak.py
