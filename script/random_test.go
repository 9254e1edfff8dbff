package script_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ftemu"
	"ftemu/script"
	"ftemu/script/scripttest"
)

// TestAnyScriptRuns runs random scripts: none panics, each line gives its result,
// and running one again gives the same.
func TestAnyScriptRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(scripttest.Draw(t), "\n")
		require.Equal(t, runAll(t, text), runAll(t, text))
	})
}

// runAll returns what the lines of a script give, up to an oops.
func runAll(t *rapid.T, text string) []script.Result {
	s, err := script.Parse("random.ft", strings.NewReader(text), script.Options{})
	require.NoError(t, err, text)
	r, err := script.NewRunner(s, ftemu.Options{})
	require.NoError(t, err)
	defer r.Close()
	var out []script.Result
	for _, step := range s.Steps {
		res := r.Run(step)
		require.Equal(t, step.Text, res.Op)
		out = append(out, *res)
		if res.Oops != "" {
			break
		}
	}
	for i := range out { // what holds functions cannot be compared
		out[i].Decisions, out[i].Why, out[i].Calls = nil, nil, nil
	}
	return out
}
