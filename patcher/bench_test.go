package patcher

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/x86"
)

// BenchmarkApply switches as many sites as a kernel has on and off again.
func BenchmarkApply(b *testing.B) {
	const sites = 38252
	for _, s := range []Strategy{Breakpoint, Naive, StopMachine} {
		b.Run(s.String(), func(b *testing.B) {
			mem := emu.NewMemory(emu.MemoryOptions{})
			require.NoError(b, mem.Map(textBase, 16<<20, emu.PermRX, "text"))
			on := make([]Change, sites)
			off := make([]Change, sites)
			for i := range on {
				ip := textBase + 0x100 + 400*uint64(i)
				on[i] = Change{ip, x86.Nop5, callTo(b, ip, textBase)}
				off[i] = Change{ip, on[i].New, x86.Nop5}
			}
			put(b, mem, on...)
			p := NewPoker(mem)
			p.Strategy = s
			for b.Loop() {
				require.NoError(b, p.Apply(on))
				require.NoError(b, p.Apply(off))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(2*sites), "ns/site")
		})
	}
}
