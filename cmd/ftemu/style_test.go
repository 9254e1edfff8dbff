package main

import (
	"bufio"
	"bytes"
	"regexp"
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

func TestHang(t *testing.T) {
	for _, tt := range []struct {
		name, first, text string
		width             int
		want              []string
	}{
		{"no limit", "label  ", "    - one two three four", 0, []string{"label      - one two three four"}},
		{"below the text", "label  ", "one two three four five", 24, []string{"label  one two three", "       four five"}},
		{"below an item's words", "label  ", "- one two three four five", 26, []string{"label  - one two three", "         four five"}},
		{"deeper", "label  ", "    - one two three four five", 30, []string{"label      - one two three", "             four five"}},
		{"as deep as there is room", "label  ", "          - one two three four five", 28, []string{"label     - one two three", "            four five"}},
		{"no room for depth", "label  ", "          - one two three four five", 25, []string{"label  - one two three", "         four five"}},
		{"on lines of their own", "label  ", "          - one two three four five", 20, []string{"label", "  - one two three", "    four five"}},
		{"to the right of an indented label", "     label  ", "one two three four five", 20, []string{" label", "  one two three four", "  five"}},
		{"spaces are an indent", "", "    one two three four five", 22, []string{"    one two three four", "    five"}},
		{"a minus is no dash", "", "-EBUSY: one two three four", 16, []string{"-EBUSY: one two", "three four"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			hang(&out, tt.width, tt.first, len(tt.first), tt.text, style{}.plain)
			require.Equal(t, tt.want, strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"))
		})
	}
}

// TestAnswersAlign: the answers to lines that are not too long stand below each
// other, the others two columns behind their line.
func TestAnswersAlign(t *testing.T) {
	const scenario = "new a plain\nfilter a f0,f1,f2,f3,f4,f5,f6,f7,f0,f1,f2,f3,f4\nfilter a f0,f1,f2,f3,f4,f5,f6,f7,f0,f1,f2,f3\ntracer function_graph f0,f1,f2,f3\ncall f0 1 2\n"
	columns := func(text string) (out []int) {
		for l := range strings.Lines(text) {
			if at := answerAt.FindStringSubmatchIndex(l); at != nil {
				out = append(out, at[2])
			}
		}
		return out
	}
	require.Equal(t, []int{52, 49, 49, 49, 49}, columns(printed(t, scenario, false, 0)))
	require.Equal(t, []int{52, 49, 49, 49, 49}, columns(printed(t, scenario, false, 57)))
	require.Equal(t, []int{52, 49, 45, 45, 45}, columns(printed(t, scenario, false, 54)))
}

var answerAt = regexp.MustCompile(`^(?:\d|   end).*  (0|= \d+)\n`)

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
