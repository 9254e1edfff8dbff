package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/guest"
)

// TestInstalledKernel runs the scenarios that have an installed kernel as their
// guest, on every engine of this build; what they print is the same but for the
// engine's name.
func TestInstalledKernel(t *testing.T) {
	path, err := guest.InstalledKernel()
	if err != nil {
		t.Skip(err)
	}
	scenarios, err := filepath.Glob("../../examples/kernel/*.ft")
	require.NoError(t, err)
	require.NotEmpty(t, scenarios)
	for _, file := range scenarios {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var first string
			for _, e := range engines() {
				out, status := runKernel(t, "run", "--engine", e.Name(), file)
				require.Equal(t, 0, status, "engine %s:\n%s", e.Name(), out)
				out = strings.Replace(out, "engine "+e.Name(), "engine", 1)
				if first == "" {
					first = out
				}
				require.Equal(t, first, out)
				require.Contains(t, out, "guest "+path)
			}
		})
	}
}

// runKernel runs the program and returns what it printed.
func runKernel(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	file := func(name string) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	stdout, stderr := file("out"), file("err")
	status = run(args, strings.NewReader(""), stdout, stderr)
	var all bytes.Buffer
	for _, f := range []*os.File{stdout, stderr} {
		_, err := f.Seek(0, io.SeekStart)
		require.NoError(t, err)
		_, err = all.ReadFrom(f)
		require.NoError(t, err)
	}
	return all.String(), status
}
