# make test    install what the tests need (where root and apt-get are there) and run them all
# make test-kernel  install a kernel where there is none and run the tests that want one
# make build   the program with the Go interpreter alone, ./ftemu
# make mutants break ftracecore and the trampolines one rule at a time; the tests must notice each
# make fuzz    fuzz the parsers for FUZZTIME each

FUZZTIME ?= 2m

.PHONY: test test-kernel build fuzz mutants

test:
	@bash tools/test.sh

test-kernel:
	@bash tools/test-kernel.sh

build:
	CGO_ENABLED=0 go build -buildvcs=false -o ftemu ./cmd/ftemu

fuzz:
	@bash tools/fuzz.sh $(FUZZTIME)

mutants:
	@go run ./internal/mutants
