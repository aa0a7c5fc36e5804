# The commands of this project; `make` lists them. CARGO_TARGET_DIR is honoured; CHANCERY_TOOLS moves the cache of
# fetched tools; CHANCERY_ENVOY names an Envoy to use instead of the newest fetched one, CHANCERY_ENVOY_OLDEST instead of
# the oldest, CHANCERY_PROMETHEUS a Prometheus, KUBEBUILDER_ASSETS a folder with a Kubernetes control plane,
# CHANCERY_HELM a Helm, CHANCERY_HADOLINT a hadolint, CHANCERY_PROMTOOL a promtool, CHANCERY_ISTIO_CRDS, CHANCERY_GATEWAY_CRDS,
# CHANCERY_OPERATOR_CRDS and CHANCERY_CERT_MANAGER_CRDS files with definitions of kinds.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
CALM := integration/tools/calm
FETCH := integration/tools/fetch

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: need-cargo need-python ## Real Envoys, real requests, a change seen live (ONCE=1: exits by itself)
	@$(CALM) "build" cargo build --bins --examples
	@CHANCERY_ENVOY="$${CHANCERY_ENVOY:-$$($(FETCH) envoy)}"; export CHANCERY_ENVOY; $(if $(ONCE),ONCE='$(ONCE)') exec '$(TARGET)/debug/examples/demo'

.PHONY: test
test: need-cargo need-network tools lint ## Everything that must hold: format, lints, all tests
	@integration/tools/test-all

.PHONY: build
build: need-cargo ## The binary: target/debug/chancery
	@cargo build --bins

.PHONY: release
release: need-cargo ## The binary as the image has it: target/release/chancery
	@cargo build --locked --release --bin chancery

.PHONY: fmt
fmt: need-rustfmt ## Format the sources
	@cargo fmt

.PHONY: lint
lint: need-rustfmt need-clippy ## Formatting and clippy, warnings denied
	@$(CALM) "format" cargo fmt --check
	@$(CALM) "clippy" cargo clippy --all-targets -- -D warnings

.PHONY: golden
golden: need-cargo ## Rewrite the golden files and generated pages; read the difference before you commit it
	@CHANCERY_REWRITE=1 cargo test --test golden
	@CHANCERY_REWRITE=1 cargo test --test docs fields
	@CHANCERY_REWRITE=1 cargo test --test manifests -- golden every_value

.PHONY: descriptors
descriptors: need-cargo ## Rebuild proto/envoy.fds and proto/maps.txt, byte for byte
	@$(CALM) "proto/envoy.fds" proto/regenerate
	@CHANCERY_REWRITE=1 $(CALM) "proto/maps.txt" cargo test --test descriptors

.PHONY: tools
tools: need-python ## Fetch the pinned tools the demo and the tests use
	@[ -n "$${CHANCERY_ENVOY:-}" ] || $(FETCH) envoy >/dev/null
	@[ -n "$${CHANCERY_ENVOY_OLDEST:-}" ] || $(FETCH) envoy-oldest >/dev/null
	@[ -n "$${CHANCERY_ENVOY_FORGETFUL:-}" ] || $(FETCH) envoy-forgetful >/dev/null
	@[ -n "$${CHANCERY_PROMETHEUS:-}" ] || $(FETCH) prometheus >/dev/null
	@[ -n "$${CHANCERY_PROMTOOL:-}" ] || $(FETCH) promtool >/dev/null
	@for name in etcd kubectl kube-apiserver kube-controller-manager; do \
		[ -f "$${KUBEBUILDER_ASSETS:-}/$$name" ] || $(FETCH) $$name >/dev/null; done
	@[ -n "$${CHANCERY_HELM:-}" ] || $(FETCH) helm >/dev/null
	@[ -n "$${CHANCERY_HADOLINT:-}" ] || $(FETCH) hadolint >/dev/null
	@[ -n "$${CHANCERY_ISTIO_CRDS:-}" ] || $(FETCH) istio-crds >/dev/null
	@[ -n "$${CHANCERY_GATEWAY_CRDS:-}" ] || $(FETCH) gateway-crds >/dev/null
	@[ -n "$${CHANCERY_OPERATOR_CRDS:-}" ] || $(FETCH) operator-crds >/dev/null
	@[ -n "$${CHANCERY_CERT_MANAGER_CRDS:-}" ] || $(FETCH) cert-manager-crds >/dev/null

# Where a cluster to try things on has its files.
CLUSTER := /tmp/chancery-cluster

.PHONY: cluster
cluster: need-python ## A Kubernetes cluster without machines, to try things on (STOP=1 ends it)
	@command -v openssl >/dev/null || { echo "openssl is missing; run: apt-get install openssl" >&2; exit 1; }
	@integration/tools/cluster $(if $(STOP),--stop) '$(CLUSTER)'
	@$(if $(STOP),:,echo 'The cluster is there: export KUBECONFIG=$(CLUSTER)/kubeconfig')

.PHONY: mutants
mutants: need-cargo need-python ## Alter lines of the protocol one at a time; the tests must notice each (a quarter of an hour)
	@integration/tools/mutants

.PHONY: fuzz
fuzz: need-cargo ## Bytes nobody wrote, and stories nobody told, from another seed each time
	@CHANCERY_FUZZ_SECONDS=120 CHANCERY_FUZZ_SEED=$$RANDOM $(CALM) "fuzz" cargo test --test fuzz
	@PROPTEST_RNG_SEED=$$RANDOM PROPTEST_CASES=10000 $(CALM) "ten thousand stories of clients" cargo test --test model
	@PROPTEST_RNG_SEED=$$RANDOM $(CALM) "sessions, worlds and folders" cargo test --test session --test equivalence --test folder

.PHONY: soak
soak: need-cargo need-python need-network tools ## What takes longer than a test may: a minute of moving routes, silence, large fleets, and the mutants
	@$(CALM) "soak" cargo test --test manifests -- --ignored
	@CHANCERY_SOAK=60 $(CALM) "a minute of moving routes, and of changes" cargo test --test live -- moving_routes a_storm
	@CHANCERY_SOAK=60 $(CALM) "a load balancer that changes its mind for a minute" cargo test --test live -- led_to_and_fro
	@CHANCERY_SOAK=60 $(CALM) "a minute of certificates that are renewed, and of roots that take over" \
		cargo test --test live -- certificates_are_renewed a_root_takes_over
	@CHANCERY_SOAK=600 $(CALM) "ten minutes without an API server" cargo test --test kubernetes -- an_outage
	@CHANCERY_SOAK=60 $(CALM) "a minute of an API server that is silent, forgets, goes back, hangs, is slow, or tells in any order, of Leases that are stolen, and of being led to and fro" \
		cargo test --test kubernetes -- silence_is_noticed a_restored_backup twice_late_and_in_any_order requests_cross forgotten_history whose_list_hangs a_slow_list one_of_two_writes led_to_and_fro --test-threads 1
	@CHANCERY_SOAK=60 $(CALM) "two thousand proxies that come back after a crash" cargo test --test live -- a_crowd_comes_back
	@CHANCERY_SOAK=60 $(CALM) "fleets that misbehave" cargo test --test ads faults -- --test-threads 1
	@integration/tools/mutants

.PHONY: bench
bench: need-cargo ## Time, CPU and memory against the least they can be (twenty minutes; QUICK=1: two)
	@$(CALM) "build" cargo bench --bench bench --no-run
	@$(if $(QUICK),QUICK='$(QUICK)') $(if $(ONLY),ONLY='$(ONLY)') $(if $(OUT),OUT='$(OUT)') $(if $(UNDER),UNDER='$(UNDER)') cargo bench -q --bench bench

.PHONY: audit
audit: need-cargo need-python ## Licences, sources and bans of all dependencies (builds cargo-deny once: minutes)
	@deny="$$($(FETCH) cargo-deny)"; $(CALM) "audit" "$$deny" check bans licenses sources

.PHONY: advisories
advisories: need-cargo need-python ## Whether a dependency is known to be bad today: asks RustSec's database, so it needs the network
	@deny="$$($(FETCH) cargo-deny)"; $(CALM) "advisories" "$$deny" check advisories

.PHONY: clean-tools
clean-tools: need-python ## Remove the cache of fetched tools
	@$(FETCH) --clean

.PHONY: need-cargo need-rustfmt need-clippy need-python need-network
need-cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing; install Rust 1.95 or newer, for example with rustup" >&2; exit 1; }
need-rustfmt: need-cargo
	@cargo fmt --version >/dev/null 2>&1 || { echo "rustfmt is missing; run: rustup component add rustfmt" >&2; exit 1; }
need-clippy: need-cargo
	@cargo clippy --version >/dev/null 2>&1 || { echo "clippy is missing; run: rustup component add clippy" >&2; exit 1; }
need-python:
	@command -v python3 >/dev/null || { echo "python3 is missing; run: apt-get install python3 python3-pip" >&2; exit 1; }
need-network:
	@$(CALM) "network tools" integration/tools/network
