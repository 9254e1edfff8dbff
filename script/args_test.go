package script

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
)

func TestFields(t *testing.T) {
	for line, want := range map[string][]string{
		"":                           nil,
		"  # all comment":            nil,
		" call f0\t1  # two":         {"call", "f0", "1"},
		"call f0#no blank":           {"call", "f0"},
		`call f0 str:"a b # c" 2`:    {"call", "f0", `str:"a b # c"`, "2"},
		`call f0 str:"\"\\" 2 #"`:    {"call", "f0", `str:"\"\\"`, "2"},
		`want buf "two  words" # no`: {"want", "buf", `"two  words"`},
		`new a"b plain`:              {"new", `a"b`, "plain"},
	} {
		found, err := Fields(line)
		require.NoError(t, err, line)
		require.Equal(t, want, found, line)
	}
	for _, line := range []string{`call f0 str:"open`, `want buf "open\"`} {
		_, err := Fields(line)
		require.ErrorIs(t, err, errOpenQuote, line)
	}
}

func TestArguments(t *testing.T) {
	for text, want := range map[string]string{
		`call f0 buf:0`:                 "expected a size of 1 to 65536 bytes",
		`call f0 buf:65537`:             "expected a size of 1 to 65536 bytes",
		`call f0 buf:x`:                 "expected a size of 1 to 65536 bytes",
		`call f0 str:text`:              "found text, expected a text in double quotes",
		`call f0 str:"\q"`:              "expected a text in double quotes with the escapes of Go",
		`call f0 str:"a"b`:              "expected a text in double quotes with the escapes of Go",
		"call f0\nwant buf":             "want buf takes one text in double quotes",
		"call f0\nwant buf text":        "found text, expected a text in double quotes",
		"call f0\nwant buf \"a\" \"b\"": "want buf takes one text in double quotes",
	} {
		_, err := Parse("test.ft", strings.NewReader(text), Options{})
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax, text)
		require.ErrorContains(t, err, want, text)
	}
}

// A buffer is one for the call, zeroed, and its content is reported.
func TestBuffers(t *testing.T) {
	s, err := Parse("test.ft", strings.NewReader("call f0 buf:16 str:\"text\"\nwant buf \"\"\ncall f0 1 2\nwant buf \"\"\n"), Options{})
	require.NoError(t, err)
	r, err := NewRunner(s, ftemu.Options{})
	require.NoError(t, err)
	defer r.Close()
	var results []*Result
	for _, step := range s.Steps {
		results = append(results, r.Run(step))
	}
	require.Equal(t, []string{""}, results[1].Bufs)
	ev := results[1].EV
	require.NotEmpty(t, ev)
	at := func(addr *int64) uint64 { return uint64(*addr) }
	text := make([]byte, 5)
	require.NoError(t, r.Lab().Mem.Read(at(ev[0].B), text))
	require.Equal(t, "text\x00", string(text))
	require.Empty(t, results[2].Failed)
	require.Equal(t, `found no buffer, wanted ""`, results[4].Failed)
}
