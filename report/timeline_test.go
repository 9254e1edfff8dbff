package report

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Bars and labels of a lane never overlap, and stay inside of the picture.
func TestLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		end := rapid.Uint64Range(1, 1_000_000).Draw(t, "end")
		var all []slice
		for i := range rapid.IntRange(1, 60).Draw(t, "slices") {
			from := rapid.Uint64Range(0, end).Draw(t, "from")
			all = append(all, slice{
				name: rapid.StringMatching(`[a-z_]{1,60}`).Draw(t, "name"), role: roles[i%len(roles)].role,
				from: from, to: rapid.Uint64Range(from, end).Draw(t, "to"),
			})
		}
		line := &Timeline{}
		y := 0
		for _, r := range roles {
			y = line.lane(r.role, r.name, all, float64(rightEdge-leftEdge)/float64(end), y)
		}
		if len(line.Bars) != len(all) {
			t.Fatalf("%d bars of %d slices", len(line.Bars), len(all))
		}
		for i, a := range line.Bars {
			if a.X < leftEdge-minBar || a.high > lineWidth || a.low < laneNames {
				t.Fatalf("bar %d reaches out of the picture: %+v", i, a)
			}
			for _, b := range line.Bars[:i] {
				if a.Y == b.Y && a.low < b.high && b.low < a.high {
					t.Fatalf("%q (%.1f to %.1f) and %q (%.1f to %.1f) overlap", a.Label, a.low, a.high, b.Label, b.low, b.high)
				}
			}
		}
	})
}

func TestTicks(t *testing.T) {
	for end, want := range map[uint64]string{
		0: "[0]", 1: "[0 1]", 10: "[0 1 2 3 4 5 6 7 8 9 10]", 11: "[0 2 4 6 8 10]", 62: "[0 10 20 30 40 50 60]", 372: "[0 50 100 150 200 250 300 350]",
	} {
		require.Equal(t, want, fmt.Sprint(ticks(end)), end)
	}
	for end := uint64(1); end < 1<<40; end = end*3 + 1 {
		n := ticks(end)
		require.LessOrEqual(t, len(n), 11)
		require.GreaterOrEqual(t, len(n), 2)
		require.True(t, slices.IsSorted(n))
	}
}

func TestWords(t *testing.T) {
	require.Equal(t, "1 line", counted(1, "line"))
	require.Equal(t, "1,234,567 lines", counted(1234567, "line"))
	require.Equal(t, "0", grouped(0))
	require.Equal(t, "999", grouped(999))
	require.Equal(t, "1,000", grouped(1000))
	require.Equal(t, "äö…", cutTo("äöüß", 3))
	require.Equal(t, "äöüß", cutTo("äöüß", 4))
	require.Equal(t, "bpf_trampoline-f0", className("BPF_trampoline:f0"))
}

func TestWhole(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"0":                       "0",
		"-EBUSY":                  `<span class="whole">-EBUSY</span>`,
		"-EAGAIN, then 0":         `<span class="whole">-EAGAIN</span>, then 0`,
		`<b> = -EBUSY: "klp"`:     `&lt;b&gt; = <span class="whole">-EBUSY</span>: &#34;klp&#34;`,
		"run --max-states 0 -o x": `run <span class="whole">--max-states</span> 0 <span class="whole">-o</span> x`,
		"(1) R I D ->list":        `(1) R I D <span class="whole">-&gt;</span>list`,
		"live-patch - a->b x--y":  "live-patch - a-&gt;b x--y",
	} {
		require.Equal(t, want, string(whole(text)), text)
	}
}

func TestWritten(t *testing.T) {
	for _, tt := range []struct {
		line, text, code, note string
		ok                     bool
	}{
		{"call f0 1 2", "call f0 1 2", "call f0 1 2", "", true},
		{"cpu 1: call f0 1 2   # why", "call f0 1 2", "cpu 1: call f0 1 2", "why", true},
		{`call f str:"a # b"`, `call f str:"a # b"`, `call f str:"a # b"`, "", true},
		{"call  f0", "call f0", "", "", false},
	} {
		code, note, ok := written(tt.line, tt.text)
		require.Equal(t, tt.ok, ok, tt.line)
		if ok {
			require.Equal(t, tt.code, code)
			require.Equal(t, tt.note, note)
		}
	}
}
