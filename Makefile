# The two commands of the README are `make demo` and `make test`. Everything else serves those who change Forebay.
# Go and make are enough: every tool comes through the Go module proxy, at the versions pinned in .ci/tools/go.mod.

GO      ?= go
BIN     := $(CURDIR)/.bin
TOOLS   := $(CURDIR)/.ci/tools
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/forebay/forebay/system/node.Version=$(VERSION)
# The race detector needs a C compiler, which is more than a fresh machine may have.
RACE    := $(shell command -v cc >/dev/null 2>&1 && echo -race)
# The S3 server that the S3 suite runs against.
VERSITYGW := $(BIN)/versitygw-v1.8.0

.PHONY: all build demo test test-race test-crash bench lint race fuzz tidy proto proto-check clean results

all: build

## build: the binaries, in .bin
build:
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

## demo: a real cluster over a directory of real files, with a leader killed on the way
demo: build
	$(BIN)/forebay-lab demo --forebay $(BIN)/forebay

## test: everything that CI runs: lint, generated code, all packages with the race detector, suites on real servers, a short crash loop
test: lint proto-check build $(VERSITYGW) $(BIN)/gotestsum
	@test -n "$(RACE)" || echo "no C compiler found: the tests run without the race detector, which needs one"
	cd $(TOOLS) && $(GO) test -count=1 ./... # they look at the code beside their module, which go test's cache does not see
	FOREBAY_VERSITYGW=$(VERSITYGW) FOREBAY_REQUIRE_S3=1 $(BIN)/gotestsum --format pkgname --format-hide-empty-pkg -- $(RACE) -timeout 20m -count=1 ./...

## test-crash: 200 kills of random masters and workers under load (CRASHES=n for another number)
CRASHES ?= 200
test-crash: build
	$(BIN)/forebay-lab crash --forebay $(BIN)/forebay --kills $(CRASHES)

## race: all packages under the race detector
race:
	$(GO) test -race -timeout 20m ./...

## fuzz: every decoder, FUZZTIME each
FUZZTIME ?= 20s
fuzz:
	@set -e; $(GO) list ./... | while read -r pkg; do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

## bench: the table of results/metadata and results/data, with raw data
bench: build
	$(BIN)/forebay-lab bench --forebay $(BIN)/forebay --out results

## lint: vet, staticcheck, formatting, layers and the host seam
lint: $(BIN)/staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go' ':!*.pb.go'))" || { gofmt -l $$(git ls-files '*.go' ':!*.pb.go'); echo "not gofmt'ed"; exit 1; }
	$(GO) vet ./...
	$(BIN)/staticcheck ./...
	$(GO) test ./system

## tidy: the shape of the code beside its models; fails when ours is worse than what we hold
tidy:
	cd $(TOOLS) && $(GO) run ./tidy $(CURDIR)

## proto: generate the protocol's code
proto: $(BIN)/protogen $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc
	$(BIN)/protogen system/proto $(BIN)

## proto-check: fail when the committed generated code is not what proto makes
proto-check: $(BIN)/protogen $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc
	@d=$$(mktemp -d) && cp system/proto/*.proto $$d && $(BIN)/protogen $$d $(BIN) && \
	for f in $$d/*.pb.go; do cmp -s $$f system/proto/$$(basename $$f) || { echo "$$(basename $$f) is not fresh: run make proto"; exit 1; }; done; rm -rf $$d

$(BIN)/protogen: $(TOOLS)/go.mod $(TOOLS)/protogen/main.go
	cd $(TOOLS) && $(GO) build -o $@ ./protogen
$(BIN)/protoc-gen-go: $(TOOLS)/go.mod
	cd $(TOOLS) && $(GO) build -o $@ google.golang.org/protobuf/cmd/protoc-gen-go
$(BIN)/protoc-gen-go-grpc: $(TOOLS)/go.mod
	cd $(TOOLS) && $(GO) build -o $@ google.golang.org/grpc/cmd/protoc-gen-go-grpc
$(BIN)/staticcheck: $(TOOLS)/go.mod
	cd $(TOOLS) && $(GO) build -o $@ honnef.co/go/tools/cmd/staticcheck
$(BIN)/gotestsum: $(TOOLS)/go.mod
	cd $(TOOLS) && $(GO) build -o $@ gotest.tools/gotestsum
$(VERSITYGW):
	GOBIN=$(BIN) $(GO) install github.com/versity/versitygw/cmd/versitygw@v1.8.0
	mv $(BIN)/versitygw $@

clean:
	rm -rf $(BIN)

## mutants: plant the bugs of sim/mutants in the production code, one by one: the sweep must kill each (MUTANTS="-only name,rename*")
.PHONY: mutants
# sim sweeps small clusters with faults, and runs one of 3,000 workers and 30,000 clients for a moment. Seeds that fail are saved
# in sim-failures, for sim replay and sim shrink. SEEDS says how many.
SEEDS ?= 120
.PHONY: sim
sim: build
	$(BIN)/forebay-lab sim sweep --seeds $(SEEDS) --faults all --few
	$(BIN)/forebay-lab sim run --scenario training-epoch --workers 3000 --clients 30000 --duration 15s --rate 0.1 --seed 7

mutants:
	cd $(TOOLS) && $(GO) build -o $(BIN)/mutants ./mutants
	$(BIN)/mutants -json $(BIN)/mutants.json $(MUTANTS)

## sim-cover: statement coverage of system/ by a sweep and every scenario; fails below 70% of master, worker or client
.PHONY: sim-cover
sim-cover:
	cd $(TOOLS) && $(GO) build -o $(BIN)/simcover ./simcover
	$(BIN)/simcover $(SIMCOVER)

## results-sim: every scenario of the simulator, with reports, raw data and plots in results/sim-*; a few minutes (the storm of 100 million blocks takes 8 GB and several: forebay-lab sim results --scenario registration-storm --blocks 100000000)
.PHONY: results-sim
results-sim: build
	$(BIN)/forebay-lab sim results --out results
	$(BIN)/forebay-lab sim results --out results --scenario registration-storm --blocks 1000000
