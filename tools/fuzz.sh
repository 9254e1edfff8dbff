#!/bin/bash
# Runs every fuzz target for the time given (2m), one after the other. What it
# finds is kept under the package's testdata/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
	grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed 's/^func //' | sort -u | while read -r target; do
		echo "== $dir $target"
		go test -buildvcs=false -fuzzminimizetime 5s -run '^$' -fuzz "^$target\$" -fuzztime "${1:-2m}" "$dir" </dev/null
	done
done
