//go:build unicorn

package bench_test

import (
	"ftemu/bench"
	"ftemu/bench/direct"
	"ftemu/emu/unicorn"
)

func taggedSubjects() []bench.Subject {
	return []bench.Subject{direct.New(), bench.OnEngine(unicorn.New())}
}
