package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/script"
)

// TestJSONIsTheRecordings checks that --json gives the very text of the
// recordings, keys in their order included. Warnings are left out: a recording
// names them by file and line of the kernel.
func TestJSONIsTheRecordings(t *testing.T) {
	f, err := os.Open("../../testdata/recordings/rules.jsonl.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	lines := 0
	for dec := json.NewDecoder(z); ; {
		var c struct {
			Name, Status string
			Input        []string
			Out          []json.RawMessage
		}
		if err := dec.Decode(&c); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		if c.Status != "ok" {
			continue
		}
		s, err := script.Parse(c.Name, strings.NewReader(strings.Join(c.Input, "\n")), script.Options{})
		require.NoError(t, err)
		var out bytes.Buffer
		a := &app{stdout: bufio.NewWriter(&out)}
		p := newJSONPrinter(a, false, 0)
		r, err := script.NewRunner(s, ftemu.Options{})
		require.NoError(t, err)
		require.Empty(t, play(r, s, p))
		r.Close()
		require.NoError(t, a.stdout.Flush())
		for i, found := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			if !bytes.Contains(c.Out[i], []byte(`"warn":`)) {
				require.Equal(t, string(c.Out[i]), found, "%s, line %d", c.Name, i+1)
				lines++
			}
		}
	}
	require.Greater(t, lines, 1000)
}
