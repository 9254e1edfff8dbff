//go:build unicorn

package enginetest_test

import (
	"testing"

	"ftemu/emu/enginetest"
	"ftemu/emu/unicorn"
)

func TestUnicorn(t *testing.T) { enginetest.Run(t, unicorn.New()) }
