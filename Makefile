# The commands of this repository; `make help` lists them. All run without a terminal and without standard input.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The steps of `test` go from cheap to dear, each with the whole machine to itself.
.NOTPARALLEL:

# What cargo builds into; the laboratory keeps its base trees there as well.
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))

# Pinned: a new cargo-deny judges differently. Built once and kept with the other build products.
DENY_VERSION := 0.20.2
DENY := $(TARGET)/tools/deny-$(DENY_VERSION)/bin/cargo-deny

# The cargo profile of the package: `release` for users; `lab` for tests, the same code built in less time.
PROFILE ?= release

# Which laboratory tests to run, by a part of their name; all unless said.
LAB ?=

.PHONY: help
help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "%-11s %s\n", $$1, $$2 }'

.PHONY: setup
setup: ## install the Debian packages that building and testing need (as root)
	@tests/lab/setup

.PHONY: setup-vm
setup-vm: ## the same, and what virtual machines need (as root)
	@tests/lab/setup vm

.PHONY: demo
demo: setup ## two throwaway Debian hosts converge, are tampered with, put right, follow a commit, are compared
	@cargo run --locked --quiet --package agentd-demo

.PHONY: test
test: setup lint deny unit package lab ## everything: set-up, lint, deny, unit and integration tests, package, laboratory

.PHONY: lint
lint: ## formatting, and clippy with warnings denied
	@echo '==> lint'
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test lab -- -D warnings
	cargo fmt --check --package agentd-demo
	cargo clippy --locked --package agentd-demo -- -D warnings

.PHONY: deny
deny: $(DENY) ## licences, bans and sources of all dependencies; advisories where their database can be had
	@echo '==> deny'
	$(DENY) --locked check bans licenses sources
	@tests/lab/advisories $(DENY)

$(DENY):
	cargo install cargo-deny --locked --version $(DENY_VERSION) --root $(TARGET)/tools/deny-$(DENY_VERSION) \
		--target-dir $(TARGET)/tools/build
	rm -rf $(TARGET)/tools/build

.PHONY: unit
unit: ## unit and integration tests
	@echo '==> unit'
	cargo test --locked
	@echo '==> unit: the whole package index, one dpkg a pair'
	cargo test --locked --test it -- --ignored every_neighbouring_pair

.PHONY: deb
deb: ## make the .deb of PROFILE (release unless said) in target/deb
	packaging/build-deb $(PROFILE) $(TARGET)/deb

.PHONY: reproduce
reproduce: ## make the package of the last commit in two folders and compare the bytes (PROFILE as for deb)
	packaging/reproduce $(PROFILE)

# The package of the laboratory, made before it so that a failure shows by itself.
.PHONY: package
package:
	@echo '==> package'
	@$(MAKE) --no-print-directory deb PROFILE=lab
	lintian --fail-on error --tag-display-limit 0 $(TARGET)/deb/agentd_*.deb

.PHONY: lab
lab: ## tests on real booted Debian hosts (as root); LAB=name runs a part
	@echo '==> lab'
	# Hosts wait more than they compute.
	cargo test --locked --test lab -- --test-threads=$$(( $$(nproc) * 2 )) $(LAB)

.PHONY: trust
trust: ## every verdict over signatures and histories, against ssh-keygen and git; hostile commits (some minutes)
	@echo '==> trust'
	@rm -f $(TARGET)/trust.score
	@status=0; \
	TRUST_SCORE=$(TARGET)/trust.score cargo test --locked --test it -- --ignored --exact trust::matrix::figures \
		--nocapture || status=$$?; \
	cat $(TARGET)/trust.score || status=1; exit $$status

.PHONY: bench
bench: setup ## what passes, undone changes and the idle daemon cost, with floors (as root; 6 minutes once all is built)
	@echo '==> bench'
	packaging/build-deb release $(TARGET)/bench
	BENCH_PROGRAM=$$(cargo build --locked --release --bench passes --message-format json \
		| sed -n 's/.*"name":"passes".*"executable":"\([^"]*\)".*/\1/p') \
		BENCH_PACKAGE=$$(echo $(TARGET)/bench/agentd_*.deb) \
		cargo test --locked --test lab -- --ignored --exact bench::figures --nocapture
	@$(MAKE) --no-print-directory storm

.PHONY: storm
storm: ## what ten minutes of 10,000 writes a second cost, and what is seen meanwhile (as root)
	@echo '==> storm'
	cargo test --locked --test lab -- --ignored --exact storm::figures --nocapture

# In a container first, whose score is information; the score of the virtual machine is the last line, and counts.
.PHONY: attribution
attribution: setup-vm ## who made a change: many ways of making one, scored on a virtual machine (as root; some 15 minutes)
	@echo '==> attribution'
	@rm -f $(TARGET)/attribution.score
	cargo test --locked --test lab -- --ignored --exact attribution::in_a_container --nocapture
	@status=0; \
	cargo test --locked --test lab -- --ignored --exact attribution::on_a_virtual_machine --nocapture || status=$$?; \
	cat $(TARGET)/attribution.score || status=1; exit $$status
