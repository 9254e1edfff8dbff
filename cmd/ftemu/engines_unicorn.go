//go:build unicorn

package main

import (
	"ftemu/bench"
	"ftemu/bench/direct"
	"ftemu/emu"
	"ftemu/emu/unicorn"
)

func taggedEngines() []emu.Engine { return []emu.Engine{unicorn.New()} }

// taggedSubjects are the other sides of benchmarks: Unicorn driven directly, and
// by the contract.
func taggedSubjects() []bench.Subject {
	return []bench.Subject{direct.New(), bench.OnEngine(unicorn.New())}
}
