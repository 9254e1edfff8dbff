# make test    install what the tests need (where root and apt-get are there) and run them all
# make build   the program with the Go interpreter alone, ./ftemu
# make mutants break ftracecore and the trampolines one rule at a time; the tests must notice each
# make fuzz    fuzz the parsers for FUZZTIME each

FUZZTIME ?= 2m

.PHONY: test build fuzz mutants

test:
	@bash tools/test.sh

build:
	CGO_ENABLED=0 go build -buildvcs=false -o ftemu ./cmd/ftemu

fuzz:
	@bash tools/fuzz.sh $(FUZZTIME)

mutants:
	@go run ./internal/mutants
