package script_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ftemu"
	"ftemu/emu"
	"ftemu/script"
	"ftemu/script/scripttest"
)

// A visit is what a step gave when it ran, and the state after it.
type visit struct {
	res    script.Result
	digest []byte
}

func newVisit(r *script.Runner, s script.Step) visit {
	v := visit{res: *r.Run(s)}
	v.res.Decisions, v.res.Why, v.res.Calls = nil, nil, nil // what holds functions cannot be compared
	var digest bytes.Buffer
	r.Digest(&digest)
	v.digest = digest.Bytes()
	return v
}

// TestSnapshotsNest runs random scripts with a snapshot before each line, goes back
// to any of them at any time, and forgets old ones: what the lines then give, and
// the state behind each, is what a run straight through gives.
func TestSnapshotsNest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := script.Parse("random.ft", strings.NewReader(strings.Join(scripttest.Draw(t), "\n")), script.Options{})
		require.NoError(t, err)
		straight, err := script.NewRunner(s, ftemu.Options{})
		require.NoError(t, err)
		defer straight.Close()
		r, err := script.NewRunner(s, ftemu.Options{})
		require.NoError(t, err)
		defer r.Close()

		var expected []visit
		var restores, ended []func() error // restores: one for the state before each step
		first, at := 0, 0                  // the oldest that has not ended, and the step to run
		for range 2 * len(s.Steps) {
			over := at == len(s.Steps) || at > 0 && expected[at-1].res.Oops != ""
			if back := rapid.IntRange(0, 9).Draw(t, "back"); at > first && (over || back == 0) {
				to := rapid.IntRange(first, at-1).Draw(t, "to")
				require.NoError(t, restores[to]())
				ended = append(ended, restores[to+1:]...)
				restores, at = restores[:to+1], to
				continue
			}
			if over {
				break
			}
			if at == len(restores) {
				restores = append(restores, r.Snapshot())
			}
			if rapid.IntRange(0, 19).Draw(t, "trim") == 0 {
				n := rapid.IntRange(1, len(restores)).Draw(t, "left")
				r.Lab().Mem.Trim(n, 1<<30)
				first = max(first, len(restores)-n)
			}
			v := newVisit(r, s.Steps[at])
			if at == len(expected) {
				expected = append(expected, newVisit(straight, s.Steps[at]))
			}
			require.Equal(t, expected[at], v, s.Steps[at].Text)
			at++
		}
		for _, restore := range append(ended, restores[:first]...) {
			require.ErrorIs(t, restore(), emu.ErrStaleSnapshot)
		}
	})
}
