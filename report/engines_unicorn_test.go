//go:build unicorn

package report_test

import (
	"ftemu/emu"
	"ftemu/emu/unicorn"
)

func init() { engines["unicorn"] = func() emu.Engine { return unicorn.New() } }
