package patcher

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/x86"
)

// sitesAt returns changes from nop to ret at the addresses.
func sitesAt(ips ...uint64) []Change {
	var out []Change
	for _, ip := range ips {
		out = append(out, Change{IP: ip, Old: x86.Nop5, New: x86.Bytes5{x86.OpRet, 0xcc, 0xcc, 0xcc, 0xcc}})
	}
	return out
}

// ascending returns n addresses, 16 apart.
func ascending(n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = textBase + 16*uint64(i)
	}
	return out
}

func TestBreakpointBatches(t *testing.T) {
	for _, tt := range []struct {
		name string
		ips  []uint64
		want []int // sites in each batch
	}{
		{"none", nil, nil},
		{"one", ascending(1), []int{1}},
		{"full", ascending(256), []int{256}},
		{"one more", ascending(257), []int{256, 1}},
		{"300", ascending(300), []int{256, 44}},
		{"600", ascending(600), []int{256, 256, 88}},
		{"a lower one flushes", []uint64{0x100, 0x200, 0x180, 0x300}, []int{2, 2}},
		{"descending", []uint64{0x300, 0x200, 0x100}, []int{1, 1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes := sitesAt(tt.ips...)
			steps := Breakpoint.Steps(changes)
			require.Len(t, steps, 3*len(tt.want))
			next := 0
			for i, n := range tt.want {
				for j, phase := range []Phase{PhaseInt3, PhaseTail, PhaseFirst} {
					s := steps[3*i+j]
					require.Equal(t, phase, s.Phase)
					require.Equal(t, i, s.Batch)
					require.Equal(t, changes[next:next+n], s.Sites)
					require.True(t, s.Sync)
					require.True(t, s.Trap)
					require.False(t, s.Stopped)
				}
				next += n
			}
		})
	}
}

func TestStepWrites(t *testing.T) {
	c := Change{IP: 0x1000, Old: x86.Nop5, New: x86.Bytes5{0xe8, 1, 2, 3, 4}}
	for _, tt := range []struct {
		strategy Strategy
		want     []Write
	}{
		{Breakpoint, []Write{{0x1000, []byte{0xcc}}, {0x1001, []byte{1, 2, 3, 4}}, {0x1000, []byte{0xe8}}}},
		{Naive, []Write{{0x1000, []byte{0xe8}}, {0x1001, []byte{1, 2, 3, 4}}}},
		{StopMachine, []Write{{0x1000, []byte{0xe8, 1, 2, 3, 4}}}},
	} {
		t.Run(tt.strategy.String(), func(t *testing.T) {
			var got []Write
			for _, s := range tt.strategy.Steps([]Change{c}) {
				require.Equal(t, tt.strategy == StopMachine, s.Stopped)
				require.Equal(t, tt.strategy != Naive, s.Sync)
				for i := range s.Sites {
					got = append(got, s.Write(i))
				}
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func TestBreakpointLeavesInt3(t *testing.T) {
	changes := sitesAt(0x1000, 0x2000)
	changes[0].New = x86.Bytes5{0xcc, 0xcc, 0xcc, 0xcc, 0xcc}
	steps := Breakpoint.Steps(changes)
	require.Len(t, steps, 3)
	require.Equal(t, changes[1:], steps[2].Sites, "the first byte of the other is there already")
	require.Len(t, Breakpoint.Steps(changes[:1]), 2, "no third step without a first byte to write")
}

func TestParseStrategy(t *testing.T) {
	for _, s := range []Strategy{Breakpoint, Naive, StopMachine} {
		got, err := ParseStrategy(s.String())
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
	_, err := ParseStrategy("hope")
	require.EqualError(t, err, `unknown patch strategy "hope", expected breakpoint, naive, stop-machine`)
	require.Equal(t, "Strategy(9)", Strategy(9).String())
	require.Equal(t, "Phase(0)", Phase(0).String())
}
