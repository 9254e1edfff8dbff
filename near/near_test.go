package near

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExpected(t *testing.T) {
	known := []string{"new", "register", "regs", "regsif", "klp", "prog"}
	for word, want := range map[string]string{
		"nwe":     "did you mean new?",
		"n":       "expected one of them",
		"":        "expected one of them",
		"regster": "did you mean register?",
		"regi":    "did you mean register or regs?",
		"kpl":     "did you mean klp?",
		"frob":    "expected one of them",
		"re":      "expected one of them",
	} {
		require.Equal(t, want, Expected(word, known, "one of them"), word)
	}
	require.Equal(t, "expected a, b", Expected("xyz", []string{"a", "b"}, ""))
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"new", "nwe", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}, {"abcd", "badc", 2}} {
		require.Equal(t, tt.want, distance(tt.a, tt.b), "%s %s", tt.a, tt.b)
	}
}

func TestShort(t *testing.T) {
	require.Equal(t, "word", Short("word"))
	require.Equal(t, strings.Repeat("x", 40)+"...", Short(strings.Repeat("x", 41)))
	require.Equal(t, strings.Repeat("x", 39)+"...", Short(strings.Repeat("x", 39)+"äö"), "no half of a letter")
}
