# What can be done here. `make` alone prints the list.
#
# Everything that is built, fetched or installed for a target goes into one cache folder
# outside the clone, so that the second time is quick and a fresh clone is warm.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

export TIDINGS_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tidings
export CARGO_TARGET_DIR ?= $(TIDINGS_CACHE)/target
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

# Words for the command behind a target: make demo ARGS=--exit
ARGS ?=
# Where a running Tidings answers.
URL = $(or $(TIDINGS_URL),http://127.0.0.1:8080)

.PHONY: help install demo run test test-slow check check-deploy audit bench health metrics logs dist clean

help: ## print this list
	@printf 'Tidings: make TARGET [ARGS="…"]\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nCache folder (TIDINGS_CACHE): %s\n' "$$TIDINGS_CACHE"

install: ## install what building and running needs (apt and rustup, only what is missing), then build
	@scripts/install.sh
	@echo "building (the first time compiles some 500 crates: 5 to 15 minutes on two cores)"
	@cargo build --workspace --bins
	@echo "installed: $$CARGO_TARGET_DIR/debug/tidings"

demo: ## install, build and show everything on real texts; ARGS=--exit ends by itself, ARGS=--live follows feeds
	@scripts/demo.sh $(ARGS)

run: ## build and run everything in one process, log files under logs/; ARGS go to `tidings run`
	@TIDINGS__LOGGING__FILES=true cargo run --quiet --bin tidings -- run $(ARGS)

test: ## unit, oracle, conformance (real Kafka), crash and end-to-end tests; minutes per area
	@scripts/test.sh

test-slow: ## the long forms of the same tests
	@scripts/test.sh --long

check: ## formatting, clippy, docs, dependencies (licences, sources, doubles), shell scripts
	@scripts/check.sh

check-deploy: ## validate compose, Kubernetes, Prometheus, Grafana and systemd files with the tools that define them
	@scripts/check_deploy.sh

audit: ## ask the public advisory database about the dependencies (needs the internet)
	@PATH="$$(scripts/tools.sh):$$PATH" cargo deny check advisories

bench: ## benchmarks in a release build; ARGS name one, for example ARGS="--bench throughput"
	@cargo bench $(ARGS)

health: ## what a running Tidings says about its health
	@curl -fsS --max-time 10 $(URL)/health | python3 -m json.tool

metrics: ## the metrics of a running Tidings; ARGS is a pattern, for example ARGS=dead_letters
	@curl -fsS --max-time 10 $(URL)/metrics | grep -E '^tidings_.*$(ARGS)'

logs: ## follow the log files of a Tidings that runs in this folder
	@tail -n 20 -F logs/*.log

dist: ## a release build as an archive with its checksum under dist/
	@scripts/dist.sh

clean: ## remove what was built and the demo's data; models, packages and ./data stay
	@cargo clean
	@rm -rf "$$TIDINGS_CACHE/demo" dist
	@echo "removed: $$CARGO_TARGET_DIR, $$TIDINGS_CACHE/demo, dist"
