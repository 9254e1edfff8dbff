package interp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/trace"
)

// FuzzRun executes any bytes: in one go, in steps, and watched by a tracer, on
// memory that holds pointers into data. All three must agree, and stop in time.
func FuzzRun(f *testing.F) {
	f.Add(mixedLoop)
	f.Add(countTo)
	f.Add(straightCode())
	f.Add([]byte{0xf3, 0x48, 0xa5, 0xf3, 0xaa, 0xcc, 0x0f, 0xa2, 0x0f, 0x31, 0xff, 0xe0})
	f.Add([]byte{0xc6, 0x05, 0x01, 0, 0, 0, 5, 0xb8, 1, 0, 0, 0, 0xf4})
	const limit = 300
	f.Fuzz(func(t *testing.T, code []byte) {
		code = code[:min(len(code), emu.PageSize)]
		type result struct {
			regs  emu.Regs
			stop  emu.Stop
			bytes []byte
		}
		run := func(step uint64, tracer trace.Tracer) result {
			m := newMachine(t, code, emu.Config{Tracer: tracer})
			require.NoError(t, m.Memory().Protect(text, emu.PageSize, emu.PermRW|emu.PermX))
			c := m.CPU(0)
			for i := range c.Regs().GPR {
				if i != emu.RSP {
					c.Regs().GPR[i] = []uint64{data + 64, text + 32, 3, 1 << 63}[i%4]
				}
			}
			var res result
			for n := uint64(0); ; {
				res.stop = c.Run(emu.Limits{Insns: min(step, limit-n)})
				require.LessOrEqual(t, res.stop.Insns, min(step, limit-n))
				n += res.stop.Insns
				if res.stop.Reason != emu.StopInsns || n == limit {
					res.stop.Insns = n
					break
				}
			}
			require.Equal(t, res.stop.RIP, c.Regs().RIP)
			res.regs, res.bytes = *c.Regs(), make([]byte, 6*emu.PageSize)
			for i, a := range []uint64{text, data, stack} {
				require.NoError(t, m.Memory().Read(a, res.bytes[2*i*emu.PageSize:2*(i+1)*emu.PageSize]))
			}
			return res
		}
		whole := run(limit, nil)
		require.Equal(t, whole, run(1, nil), "in steps")
		rec := &recorder{mask: trace.All}
		require.Equal(t, whole, run(limit, rec), "with a tracer")
		n := uint64(0)
		for _, ev := range rec.events {
			if ev.Kind == trace.Insn {
				n++
			}
		}
		if !whole.stop.Fault() || whole.stop.Reason == emu.StopInt3 {
			require.Equal(t, whole.stop.Insns, n, "an event for each instruction")
		}
	})
}
