//go:build !unicorn

package bench_test

import "ftemu/bench"

func taggedSubjects() []bench.Subject { return nil }
