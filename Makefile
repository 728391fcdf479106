# Everything here needs Go, gcc (for the race detector), make and git, and
# nothing else. "make" alone lists the targets.

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The modules of go.work, as folders, and all their packages as patterns.
MODULES = $(shell sed -n 's|^[[:space:]]*\(\.[./a-z0-9]*\)$$|\1|p' go.work)
PACKAGES = $(addsuffix /...,$(MODULES))

# conformance/codec needs the half of the codec that only tests use.
CODEC = ./conformance/codec/...
CODEC_TAGS = -tags codectest

STATICCHECK = .cache/bin/staticcheck
LOG = .cache/test.log

FUZZTIME ?= 10s
SOAKTIME ?= 10m

##@ Try it

demo: ## A tour of keys, leases, watches and services, on a real etcd
	go run ./examples/quickstart

bench: ## Measure against client/v3 (about 12 minutes)
	cd bench && go run .

bench-quick: ## The same in under 50 s, ending in one JSON object
	cd bench && go run . -quick -json

bench-curves: ## Draw 1 to 1024 goroutines, coalesced and not, as bench/coalesce.svg (3 minutes)
	cd bench && go run . -curves coalesce.svg

##@ Check it

test: lint ## Everything: linters, all tests of all modules with -race, robustness-quick
	@$(go_test); \
	echo "== tests of every module, with -race"; \
	go_test -race $$(go list $(PACKAGES) | grep -v /conformance/codec); \
	echo "== differential tests of the codec, with -race"; \
	go_test -race $(CODEC_TAGS) $(CODEC); \
	echo "== the root alone, without the workspace"; \
	GOWORK=off go_test ./...; \
	echo "== the client under faults, the quick run"; \
	{ (cd robustness && go run . -quick) && printf 'ok  \trobustness -quick\n' || printf 'FAIL\trobustness -quick\n'; } 2>&1 | tee -a $(LOG); \
	$(report)

test-short: ## The root's tests only, without -race: a few seconds
	go test ./...

test-slow: ## What is scaled down otherwise: minutes of cuts, leases, waits; about 12 minutes
	@$(go_test); \
	echo "== the client against real servers, the slow set"; \
	go_test -count=1 -timeout 30m ./conformance/client -args -slow; \
	$(report)

test-matrix: ## The tests that need a server, on etcd 3.5 and 3.6
	@$(go_test); \
	echo "== etcdtest with every version"; \
	go_test -count=1 -tags matrix ./etcdtest; \
	for version in 3.5 3.6; do \
		echo "== the client on etcd $$version"; \
		ETCDTEST_VERSION=$$version go_test -count=1 $$(go list ./conformance/... | grep -v /conformance/codec); \
	done; \
	$(report)

robustness: ## Every fault on this client and client/v3, judged, then the mutants (about an hour)
	cd robustness && go run .

robustness-mutants: ## Deliberate faults of the client, which the scenarios must catch (about 6 minutes)
	cd robustness && go run . -mutants

robustness-quick: ## A few seconds of the faults that find most, this client only (3 minutes)
	cd robustness && go run . -quick

soak: ## Mixed load under random faults for SOAKTIME (10m), shown live
	cd robustness && go run . -soak -time $(SOAKTIME)

fuzz: ## Every fuzz target for FUZZTIME (10s) each
	@set -euo pipefail; \
	for package in $$(go list $(PACKAGES)); do \
		for target in $$(go test $(CODEC_TAGS) -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			go test $(CODEC_TAGS) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

lint: $(STATICCHECK) check-generate ## Formatting, generated code, go vet, staticcheck
	@echo "== gofmt"
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then \
		printf 'not formatted, run make fmt:\n%s\n' "$$unformatted"; \
		exit 1; \
	fi
	@echo "== go vet"
	@go vet $(PACKAGES)
	@go vet $(CODEC_TAGS) . $(CODEC)
	@echo "== $$($(STATICCHECK) -version)"
	@$(STATICCHECK) $(PACKAGES)
	@$(STATICCHECK) $(CODEC_TAGS) . $(CODEC)

##@ Change it

generate: ## Write the generated code anew
	go generate ./...

check-generate: ## Fail if the generated code is not what the generator writes
	@echo "== generated code"
	@go -C tools run ./wiregen -check

fmt: ## Format all Go files
	gofmt -w .

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The pinned linter, built once for each version of tools/go.mod.
$(STATICCHECK): tools/go.mod tools/go.sum
	@echo "== building staticcheck, once"
	@mkdir -p $(dir $@)
	@GOWORK=off go -C tools build -o ../$@ honnef.co/go/tools/cmd/staticcheck
	@touch $@

# A shell function for a recipe: go test whose failure lets the next step run,
# and whose output is counted at the end by report.
define go_test
set -euo pipefail; mkdir -p $(dir $(LOG)); : > $(LOG); \
go_test() { go test -timeout 5m "$$@" 2>&1 | tee -a $(LOG) || true; }
endef

# The last line of a test run; it fails unless every package passed.
define report
awk '/^ok / {ok++} /^FAIL\t/ {bad++} END {printf "packages: %d passed, %d failed\n", ok, bad; exit bad > 0 || ok == 0}' $(LOG)
endef

.PHONY: demo bench bench-quick bench-curves test test-short test-slow test-matrix robustness robustness-mutants robustness-quick soak fuzz lint generate check-generate fmt help
