#!/bin/bash
# What "make test" does: install what the tests need where that is possible, say
# what is missing where it is not, and run every check that can run.
set -uo pipefail
cd "$(dirname "$0")/.."
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false"
failed=()

step() { printf '\n== %s\n' "$*"; }

# check NAME COMMAND...: run a check, remember whether it failed.
check() {
	local name=$1 start=$SECONDS
	shift
	step "$name"
	if "$@"; then
		echo "-- $name: ok, $((SECONDS - start)) s"
	else
		echo "-- $name: FAILED"
		failed+=("$name")
	fi
}

have_unicorn() { command -v pkg-config >/dev/null && pkg-config --exists unicorn; }

install_packages() {
	local want=()
	command -v gcc >/dev/null || want+=(gcc libc6-dev)
	command -v objdump >/dev/null || want+=(binutils)
	command -v trace-cmd >/dev/null || want+=(trace-cmd)
	command -v pkg-config >/dev/null || want+=(pkg-config)
	have_unicorn || want+=(libunicorn-dev)
	command -v spin >/dev/null || want+=(spin)
	command -v gdb >/dev/null || want+=(gdb)
	command -v chromium >/dev/null || want+=(chromium)
	command -v dot >/dev/null || want+=(graphviz)
	command -v zsh >/dev/null || want+=(zsh)
	command -v fish >/dev/null || want+=(fish)
	command -v groff >/dev/null || want+=(groff)
	command -v mandoc >/dev/null || want+=(mandoc)
	[ ${#want[@]} = 0 ] && return 0
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "missing: ${want[*]}; they cannot be installed here without root and apt-get"
		return 0
	fi
	step "installing ${want[*]}"
	apt-get update -q </dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${want[@]}" </dev/null ||
		echo "could not be installed; testing what can be tested"
}

formatted() {
	local bad
	bad=$(gofmt -l .) && [ -z "$bad" ] && return 0
	echo "not formatted by gofmt: $bad"
	return 1
}

# with_cgo 0|1 COMMAND...: run with or without cgo.
with_cgo() {
	local -x CGO_ENABLED=$1
	shift
	"$@"
}

# tests FLAGS... PACKAGES...: go test, with counts.
tests() { go test -json "$@" | go run ./tools/testcount; }

# raced are the packages where goroutines or cgo meet Go memory.
raced=(./emu/... ./explore/... ./script/... .)

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || { echo "go is missing: https://go.dev/doc/install"; exit 2; }
install_packages

check "gofmt" formatted
check "build without cgo" env CGO_ENABLED=0 go build ./...
check "vet" env CGO_ENABLED=0 go vet ./...
check "tests on the Go interpreter" with_cgo 0 tests ./...
if command -v gcc >/dev/null; then
	check "race detector" with_cgo 1 tests -race -short "${raced[@]}"
else
	echo "gcc is missing: no race detector"
fi
if have_unicorn && command -v gcc >/dev/null; then
	check "vet with Unicorn" env CGO_ENABLED=1 go vet -tags unicorn ./...
	check "tests on both engines" with_cgo 1 tests -tags unicorn ./...
else
	echo "libunicorn or gcc is missing: the Unicorn engine is not tested"
fi

echo
if [ ${#failed[@]} != 0 ]; then
	printf 'FAILED: %s\n' "${failed[@]}"
	exit 1
fi
echo "all checks passed in $SECONDS s"
