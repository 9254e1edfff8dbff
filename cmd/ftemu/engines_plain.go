//go:build !unicorn

package main

import "ftemu/emu"

func taggedEngines() []emu.Engine { return nil }
