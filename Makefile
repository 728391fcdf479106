# Everything here needs Go, gcc (for the race detector), make and git, and
# nothing else. "make" alone lists the targets.

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The modules of go.work, as folders, and all their packages as patterns.
MODULES = $(shell sed -n 's|^[[:space:]]*\(\.[./a-z0-9]*\)$$|\1|p' go.work)
PACKAGES = $(addsuffix /...,$(MODULES))

# The longest tests.
CLIENT = ./conformance/client

# conformance/codec needs the half of the codec that only tests use.
CODEC = ./conformance/codec/...
CODEC_TAGS = -tags codectest

BIN = .cache/bin
STATICCHECK = $(BIN)/staticcheck
LINT = $(BIN)/lint
MISSPELL = $(BIN)/misspell
GOVULNCHECK = $(BIN)/govulncheck
BENCHSTAT = $(BIN)/benchstat

# INSIDE runs once more inside a namespace, without NOT_INSIDE: a view's Close does nothing, and a
# test whose server counts requests would count those of the neighbours. "make test" runs only
# QUICK_INSIDE.
INSIDE = ./conformance/client ./conformance/stm ./conformance/sequence ./conformance/cache ./conformance/concurrency
NOT_INSIDE = Close|ProxyStatuses|UserAgent
QUICK_INSIDE = ^(TestPut|TestDelete|TestGet|TestOpenRanges|TestCompareTargets|TestTxn.*|TestRange|TestRangeBreak|TestBatch.*|TestWatchFields|TestWatchWideRanges|TestWatchRevisionsAreAtomic|TestWatchStartsExactly|TestWatchProgress|TestPagingByHandEnds|TestEmptyRanges.*|TestRevokeDeletesKeys|TestTTL|TestKeepAliveStream|TestCounter.*|TestTransfers)$$

LOG = $(CURDIR)/.cache/test.log

FUZZTIME ?= 10s
SOAKTIME ?= 10m
BENCH ?= .
BASE ?= HEAD

##@ Try it

demo: ## A tour of keys, leases, watches and services, on a real etcd (5 s)
	go run ./examples/quickstart

bench: ## Measure against client/v3 (25 minutes)
	cd bench && go run .

bench-quick: ## The same in short, ending in one JSON object (50 s)
	cd bench && go run . -quick -json

bench-curves: ## Draw 1 to 1024 goroutines, coalesced and not, as bench/coalesce.svg (3 minutes)
	cd bench && go run . -curves coalesce.svg

bench-caches: ## Draw the rows of caches beside client/v3 as bench/caches.svg (1 minute)
	cd bench && go run . -rows cache-peek,cache-linearizable,cache-linearizable-busy,cache-update -plot caches.svg

bench-go: ## go test -bench of the hot paths; BENCH=regexp, COUNT=1 (2 minutes)
	go test $(CODEC_TAGS) -run '^$$' -bench '$(BENCH)' -benchmem -count $(or $(COUNT),1) ./conformance/client ./conformance/codec ./internal/coalesce ./internal/call

bench-compare: $(BENCHSTAT) ## The same, of this tree beside BASE=commit, 10 times each, compared by benchstat
	@BENCH='$(BENCH)' COUNT='$(or $(COUNT),10)' tools/bench-compare '$(BASE)'

##@ Check it

test: lint ## Everything: linters, all tests of all modules with -race, robustness-quick
	@$(go_test); \
	echo "== compiling with -race"; \
	go list -race -test -deps -export $(PACKAGES) > /dev/null || true; \
	echo "== tests of every module, with -race; those of the client, which mostly wait, beside the others"; \
	go_test -race -parallel 4 $(CLIENT) & \
	go_test -race $$(go list $(PACKAGES) | grep -v -e /conformance/codec -e '/$(CLIENT:./%=%)$$' -e '/bench$$' -e '/robustness$$'); \
	go_test -race -short $(CODEC_TAGS) $(CODEC); \
	go_test $(CODEC_TAGS) $(CODEC); \
	go_test ./internal/transport ./internal/yield; \
	wait; \
	echo "== the bench, whose processes take seconds to start with -race"; \
	go_test ./bench/...; \
	echo "== the soak, which judges deadlines, by itself"; \
	go_test -race ./robustness; \
	echo "== inside a namespace, the quick set"; \
	ETCDTEST_NAMESPACE=t/ go_test -race -count=1 -run '$(QUICK_INSIDE)' ./conformance/client ./conformance/stm ./conformance/sequence; \
	echo "== the root alone, without the workspace"; \
	{ GOWORK=off go vet ./... && printf 'ok  \tgo vet without the workspace\n' || printf 'FAIL\tgo vet without the workspace\n'; } 2>&1 | tee -a $(LOG); \
	GOWORK=off go_test -run 'Layout|Requirements|Documentation' .; \
	echo "== the linter"; \
	(cd tools/lint && GOWORK=off go_test ./...); \
	echo "== the client under faults, the quick run"; \
	{ (cd robustness && go run . -quick) && printf 'ok  \trobustness -quick\n' || printf 'FAIL\trobustness -quick\n'; } 2>&1 | tee -a $(LOG); \
	$(report)

test-short: ## The root's tests only, without -race (10 s)
	go test ./...

test-slow: ## The tests with -slow: cuts, leases and waits of minutes, a million writes and queue items, 200 kills of a mirror (40 minutes)
	@$(go_test); \
	echo "== the client against real servers, the slow set"; \
	go_test -count=1 -timeout 30m ./conformance/client -args -slow; \
	echo "== a million writes of one writer"; \
	go_test -count=1 -run NothingAccumulates -timeout 30m ./conformance/idempotent -args -slow; \
	echo "== a million items of a queue whose connections are cut"; \
	go_test -count=1 -run NothingLost -timeout 60m ./conformance/queue -args -slow; \
	echo "== ten minutes of lock cycles"; \
	go_test -count=1 -run DoesNotDecay -timeout 30m ./conformance/concurrency -args -slow; \
	echo "== mirrors: 200 kills, a million keys, figures on a quiet machine"; \
	go_test -count=1 -timeout 30m ./conformance/mirror -args -slow; \
	echo "== Lua programs whose leases live for minutes"; \
	go_test -count=1 -run Points ./lua/sillylua -args -slow; \
	echo "== the bench, with -race"; \
	go_test -count=1 -race ./bench; \
	$(report)

test-namespace: ## The tests of the client and of what is built on it, inside a namespace (10 minutes)
	@$(go_test); \
	ETCDTEST_NAMESPACE=t/ go_test -count=1 -skip '$(NOT_INSIDE)' $(INSIDE); \
	$(report)

test-proxies: ## The client behind nginx and HAProxy, which must be installed (1 minute)
	go test -count=1 -tags proxies -run 'Nginx|HAProxy' ./conformance/client

test-matrix: ## The tests that need a server, on etcd 3.5 and 3.6 (10 minutes)
	@$(go_test); \
	echo "== etcdtest with every version"; \
	go_test -count=1 -tags matrix ./etcdtest; \
	for version in 3.5 3.6; do \
		echo "== the client on etcd $$version"; \
		ETCDTEST_VERSION=$$version go_test -count=1 $$(go list ./conformance/... | grep -v /conformance/codec); \
	done; \
	$(report)

compat-etcd: ## etcd's own client tests on v3compat; they come from the module proxy (12 minutes)
	cd conformance && go run ./suites etcd

compat-kubernetes: ## The tests of Kubernetes' storage on v3compat, likewise (16 minutes)
	cd conformance && go run ./suites kubernetes

compat-next: ## Compile v3compat with the newest client/v3, prereleases included
	cd conformance && go run ./suites next

robustness: ## Every fault on this client and client/v3, judged, then the mutants (2 hours)
	cd robustness && go run .

robustness-mutants: ## Deliberate faults of the client, which scenarios and tests must catch (20 minutes)
	cd robustness && go run . -mutants

robustness-quick: ## A few seconds of each fault that finds most, this client only (90 s)
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

lint: $(STATICCHECK) $(LINT) $(MISSPELL) check-generate ## Formatting, generated code, go vet, staticcheck, tools/lint, misspell
	@echo "== gofmt"
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then \
		printf 'not formatted, run make fmt:\n%s\n' "$$unformatted"; \
		exit 1; \
	fi
	@echo "== go vet"
	@go vet $(PACKAGES)
	@go vet $(CODEC_TAGS) . $(CODEC)
	@cd tools/lint && GOWORK=off go vet ./...
	@echo "== $$($(STATICCHECK) -version)"
	@$(STATICCHECK) $(PACKAGES)
	@$(STATICCHECK) $(CODEC_TAGS) . $(CODEC)
	@cd tools/lint && GOWORK=off $(CURDIR)/$(STATICCHECK) ./...
	@echo "== tools/lint: contextcheck, errorlint, exhaustive, gosec, nilerr, nilness, unusedwrite"
	@$(LINT) -complete $(PACKAGES)
	@$(LINT) $(CODEC_TAGS) . $(CODEC)
	@echo "== misspell"
	@find . -name .cache -prune -o -name .git -prune -o \( -name '*.go' -o -name '*.md' -o -name Makefile \) -print0 \
		| xargs -0 $(MISSPELL) -error

vulncheck: $(GOVULNCHECK) ## Known vulnerabilities in what is required; VULNDB=url for a mirror of the database
	@$(GOVULNCHECK) $(VULNDB:%=-db=%) $(PACKAGES); \
	case $$? in \
	0) ;; \
	3) echo 'vulncheck: update what is named above' >&2; exit 1 ;; \
	*) echo 'vulncheck: NOTHING WAS CHECKED: govulncheck has to reach its database, see the error above' >&2; exit 2 ;; \
	esac

outdated: ## Direct requirements of every module that have a newer release
	@tools/outdated

##@ Change it

generate: ## Write the generated code again
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

# The pinned tools, each built once for a version of the go.mod that pins it.
$(STATICCHECK): tools/go.mod tools/go.sum
	@$(call build,tools,honnef.co/go/tools/cmd/staticcheck)

$(GOVULNCHECK): tools/go.mod tools/go.sum
	@$(call build,tools,golang.org/x/vuln/cmd/govulncheck)

$(BENCHSTAT): tools/go.mod tools/go.sum
	@$(call build,tools,golang.org/x/perf/cmd/benchstat)

$(LINT): $(wildcard tools/lint/*)
	@$(call build,tools/lint,.)

$(MISSPELL): tools/lint/go.mod tools/lint/go.sum
	@$(call build,tools/lint,github.com/golangci/misspell/cmd/misspell)

build = echo "== building $(@F), once"; mkdir -p $(@D); GOWORK=off go -C $(1) build -o $(CURDIR)/$@ $(2) && touch $@

# A shell function for a recipe: go test whose failure lets the next step run,
# and whose output is counted at the end by report. lint has vetted everything, and
# nobody debugs these programs: vetting and debug information take a quarter of a build.
define go_test
set -euo pipefail; mkdir -p $(dir $(LOG)); : > $(LOG); \
go_test() { go test -vet=off -ldflags=-w -timeout 15m "$$@" 2>&1 | tee -a $(LOG) || true; }
endef

# The last line of a test run; it fails unless every package passed.
define report
awk '/^ok / {ok++} /^FAIL\t/ {bad++} END {printf "packages: %d passed, %d failed\n", ok, bad; exit bad > 0 || ok == 0}' $(LOG)
endef

.PHONY: demo bench bench-quick bench-curves bench-caches bench-go bench-compare test test-short test-slow test-namespace test-proxies test-matrix compat-etcd compat-kubernetes compat-next robustness robustness-mutants robustness-quick soak fuzz lint vulncheck outdated generate check-generate fmt help
