package script_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/script"
)

// A failed direct registration clears the function of an ops that is the
// core kernel's own; registered alone, the static trampolines then call NULL.
func TestStaticOpsWithoutFunction(t *testing.T) {
	const text = `tracer function_graph f0
tracer off
filter function_graph all
direct_register_retry function_graph pass
tracer function_graph f0
enabled_functions
call f0 1 2
`
	s, err := script.Parse("null", strings.NewReader(text), script.Options{})
	require.NoError(t, err)
	r, err := script.NewRunner(s, ftemu.Options{})
	require.NoError(t, err)
	defer r.Close()
	oops := ""
	for _, st := range s.Steps {
		if oops == "" {
			oops = r.Run(st).Oops
		}
	}
	require.Contains(t, oops, "0x0")
}
