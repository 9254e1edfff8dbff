//go:build !unicorn

package main

import (
	"ftemu/bench"
	"ftemu/emu"
)

func taggedEngines() []emu.Engine { return nil }

func taggedSubjects() []bench.Subject { return nil }
