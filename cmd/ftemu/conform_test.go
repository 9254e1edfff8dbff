package main

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/conform"
)

// The line of progress is rewritten in place, and gone when other output comes.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := &progress{a: &app{stdout: bufio.NewWriter(io.Discard)}, w: &out, all: 2}
	p.step()
	p.clear()
	p.step()
	p.clear()
	p.clear()
	require.Equal(t, "\r1 of 2\r\x1b[K\r2 of 2\r\x1b[K", out.String())

	out.Reset()
	p = newProgress(&app{stdout: bufio.NewWriter(&out), stderr: &out}, 1)
	p.step()
	p.clear()
	require.Empty(t, out.String(), "no terminal, no progress")
}

// A file none of whose recordings was asked for is a skipped test.
func TestKTAPSkipsEmptyFiles(t *testing.T) {
	recs := conform.Read("f", strings.NewReader(`{"name":"n","status":"ok","input":["begin n sites=","end"],"out":[{"op":"begin n sites=","rc":0,"dead":0,"ef":null,"ops":[],"sites":[]},{"op":"end","rc":0,"dead":0,"ef":null,"ops":[],"sites":[],"left":[],"unclean":0}]}`))
	require.NoError(t, recs[0].Err)
	var out bytes.Buffer
	p := newConformKTAP(&out, []conformFile{{name: "a"}, {"f", recs}, {name: "b"}})
	conform.Run(recs, conform.Options{}, 1, p.result)
	p.end(1, 0)
	require.Equal(t, `KTAP version 1
1..3
ok 1 a # SKIP no recording asked for
  KTAP version 1
  # Subtest: f
  1..1
  ok 1 n
ok 2 f
ok 3 b # SKIP no recording asked for
1 passed, 0 failed
`, out.String())
}
