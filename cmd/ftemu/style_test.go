package main

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/script"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 0, []string{""}},
		{"any length", 0, []string{"any length"}},
		{"one two three four five", 16, []string{"one two three", "four five"}},
		{"exactly sixteen!", 16, []string{"exactly sixteen!"}},
		{"a-word-that-is-longer-than-the-width and more", 16, []string{"a-word-that-is-longer-than-the-width", "and more"}},
		{"columns  keep    their gaps", 1, []string{"columns  keep", "their gaps"}},
		{"ä ö ü ä ö ü ä ö ü ä", 16, []string{"ä ö ü ä ö ü ä ö", "ü ä"}},
	} {
		require.Equal(t, tt.want, wrap(tt.text, tt.width), tt.text)
	}
}

// report runs a scenario and returns what is printed.
func printed(t *testing.T, text string, colour bool, width int) string {
	t.Helper()
	s, err := script.Parse("test.ft", strings.NewReader(text), script.Options{})
	require.NoError(t, err)
	r, err := script.NewRunner(s, ftemu.Options{Explain: true})
	require.NoError(t, err)
	defer r.Close()
	var out bytes.Buffer
	a := &app{stdout: bufio.NewWriter(&out), colour: colour, width: width}
	play(r, s, newTextPrinter(a, s.Steps, &runFlags{Engine: "interp", Explain: true}, 0))
	require.NoError(t, a.stdout.Flush())
	return out.String()
}

const conflict = "new a klp\nfilter a f0\nregister a\nnew b klp\nfilter b f0\nregister b\nwant rc 0\ncall f0 1 2"

func TestColoursChangeNothingElse(t *testing.T) {
	plain, painted := printed(t, conflict, false, 0), printed(t, conflict, true, 0)
	require.NotContains(t, plain, "\x1b")
	require.Contains(t, painted, "\x1b[31m-EBUSY\x1b[0m")
	for _, code := range []string{"0", "1", "2", "31", "32", "36"} {
		painted = strings.ReplaceAll(painted, "\x1b["+code+"m", "")
	}
	require.Equal(t, plain, painted)
}
