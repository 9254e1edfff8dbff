package enginetest_test

import (
	"testing"

	"ftemu/emu/enginetest"
	"ftemu/emu/interp"
)

func TestInterp(t *testing.T) { enginetest.Run(t, interp.New()) }
