# The Eye. `make` lists what there is to make.

GO    ?= go
TOOL   = $(GO) tool -modfile=tools/go.mod
EYE    = bin/eye

# Packages whose goroutines share memory: they are tested with the race detector.
RACE   = ./client/... ./internal/access/... ./internal/catalog/... ./internal/ingest/... ./internal/journal/... \
         ./internal/live/... ./internal/process/... ./internal/store/...

.PHONY: help demo test build race lint fuzz bench drill vuln format clean

help: ## list the verbs
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## build, and run a server with three applications and their traffic
	./$(EYE) demo

test: lint ## all tests: vet, staticcheck, tests, the concurrent packages again with the race detector
	$(GO) test ./...
	$(GO) test -short -race $(RACE)

build: ## build bin/eye
	$(GO) build -o $(EYE) ./cmd/eye

race: ## every test with the race detector (slow)
	$(GO) test -race ./...

lint: ## gofmt, vet, staticcheck
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

FUZZTIME ?= 30s
fuzz: ## each fuzz test for FUZZTIME (30s)
	@grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do \
	  for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
	    echo "$$(dirname $$file) $$name"; $(GO) test -run='^$$' -fuzz="^$$name\$$" -fuzztime=$(FUZZTIME) ./$$(dirname $$file) || exit 1; \
	  done; done

bench: build ## the benchmarks of every stage, and the load tables of docs/benchmarks.md
	$(GO) test -run='^$$' -bench=. -benchmem ./internal/...
	./$(EYE) bench ingest --events 1
	./$(EYE) bench ingest --events 100 --connections 64
	./$(EYE) bench idle

ROUNDS ?= 100
drill: ## the long crash and power-loss drill, ROUNDS (100) rounds; as root for the power loss
	$(GO) test -count=1 -timeout=120m -v ./internal/drill -drill.rounds=$(ROUNDS)

vuln: ## known vulnerabilities of the dependencies (asks the Go vulnerability database)
	$(TOOL) govulncheck ./...

format: ## gofmt everything
	gofmt -w .

clean: ## remove what was built and the demo's data
	rm -rf bin eye-demo
