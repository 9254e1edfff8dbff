package explore

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestScheduleRoundTrip(t *testing.T) {
	s := scenario(t, "share/at-once")
	threads := len(s.Threads())
	rapid.Check(t, func(t *rapid.T) {
		var want Schedule
		at := -1
		for range rapid.IntRange(0, 12).Draw(t, "deviations") {
			at += rapid.IntRange(1, 1000).Draw(t, "gap")
			want = append(want, Deviation{at, Choice{rapid.IntRange(0, threads-1).Draw(t, "thread"), rapid.IntRange(0, 20).Draw(t, "variant")}})
		}
		text := want.Format(s)
		require.False(t, strings.ContainsAny(text, " \t\n"))
		got, err := ParseSchedule(text, s)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func TestBadSchedules(t *testing.T) {
	s := scenario(t, "explore/direct-modify")
	ours := fingerprint(s)
	for _, tt := range []struct{ name, schedule, err string }{
		{"empty", "", "is malformed: expected one like 1:" + ours + ":4b:17a1"},
		{"version", "0:" + ours, "is malformed"},
		{"garbage", "what is this", "is malformed"},
		{"no scenario", "1:zzz", `schedule "1:zzz" is malformed`},
		{"a scenario too long", "1:" + ours + "0", "is malformed"},
		{"another scenario's", Schedule{{1, Choice{1, 0}}}.Format(scenario(t, "explore/call-to-nop-1")), "belongs to scenario"},
		{"no number", "1:" + ours + ":b", `found "b", expected a point's number and a thread's letter`},
		{"no thread", "1:" + ours + ":4", `found "4", expected a point's number and a thread's letter`},
		{"a number too large", "1:" + ours + ":99999999999999999999b", "expected a point's number"},
		{"a thread too many", "1:" + ours + ":4c", "expected a letter from a to b"},
		{"a capital", "1:" + ours + ":4B", "expected a letter from a to b"},
		{"a variant", "1:" + ours + ":4bx", "expected a variant's number behind the letter"},
		{"a negative variant", "1:" + ours + ":4b-1", "expected a variant's number behind the letter"},
		{"the order", "1:" + ours + ":4b:4a", "point 4 does not come after 4"},
		{"a line end", "1:" + ours + ":\n", "expected a point's number and a thread's letter"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseSchedule(tt.schedule, s)
			require.ErrorContains(t, err, tt.err)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	for _, tt := range []struct{ name, schedule, err string }{
		{"a variant that there is not", "1:" + ours + ":0b7", "the schedule asks for thread b, variant 7 at point 0, which is not possible there"},
		{"a point that is never reached", "1:" + ours + ":900b", "the schedule asks for a choice at point 900"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sched, err := ParseSchedule(tt.schedule, s)
			require.NoError(t, err)
			_, err = Replay(s, options(t, "v6.1", ""), sched)
			require.ErrorIs(t, err, ErrSchedule)
			require.ErrorContains(t, err, tt.err)
		})
	}
}

func TestParseProperties(t *testing.T) {
	ps, err := ParseProperties("torn,deadlock")
	require.NoError(t, err)
	require.Equal(t, []Property{Torn, Deadlock}, ps)
	for _, all := range []string{"", "all"} {
		ps, err = ParseProperties(all)
		require.NoError(t, err)
		require.Equal(t, Properties(), ps)
	}
	for _, p := range Properties() {
		require.NotEmpty(t, Describe(p))
	}
	_, err = ParseProperties("torn,thorn")
	require.ErrorContains(t, err, `unknown property "thorn", expected one of torn, lost-call,`)
}

func FuzzParseSchedule(f *testing.F) {
	s := scenario(f, "explore/direct-modify")
	f.Add("1:" + fingerprint(s) + ":0b:4a1")
	f.Add("1:00000000:0b")
	f.Fuzz(func(t *testing.T, text string) {
		sched, err := ParseSchedule(text, s)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		// Numbers may be written in more ways than one, such as 04.
		again, err := ParseSchedule(sched.Format(s), s)
		require.NoError(t, err)
		require.Equal(t, sched, again)
	})
}
