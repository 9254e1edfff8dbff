//go:build unicorn

package main

import (
	"ftemu/emu"
	"ftemu/emu/unicorn"
)

func taggedEngines() []emu.Engine { return []emu.Engine{unicorn.New()} }
