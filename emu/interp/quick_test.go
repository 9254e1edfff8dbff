package interp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// Flags that are not computed are those that nobody can see: where a run ends by
// a fault, a limit or a jump they are there.
func TestFlagsAreThere(t *testing.T) {
	add, sub := []byte{0x48, 0x01, 0xf0}, []byte{0x48, 0x29, 0xfe} // add %rsi,%rax; sub %rdi,%rsi
	inc := []byte{0x48, 0xff, 0xc0}                                // inc %rax
	lea := []byte{0x48, 0x8d, 0x04, 0x37}                          // lea (%rdi,%rsi),%rax
	for name, code := range map[string][]byte{
		"fault between":   cat(add, []byte{0x48, 0x8b, 0x13}, sub, []byte{0xf4}),      // mov (%rbx),%rdx
		"fault that sets": cat(add, []byte{0x48, 0x03, 0x13}, sub, []byte{0xf4}),      // add (%rbx),%rdx
		"read between":    cat(add, []byte{0x0f, 0x90, 0xc2}, sub, []byte{0xf4}),      // seto %dl
		"jump between":    cat(add, []byte{0x70, 0x03}, sub, []byte{0xf4}),            // jo
		"carry kept":      cat(add, inc, []byte{0xf4}),                                //
		"carry read":      cat(add, inc, []byte{0x48, 0x11, 0xf7}, sub, []byte{0xf4}), // adc %rsi,%rdi
		"nobody looks":    cat(add, lea, inc, sub, lea, []byte{0xf4}),                 //
		"shift by zero":   cat(add, []byte{0x48, 0xd3, 0xe2}, sub, []byte{0xf4}),      // shl %cl,%rdx
		"pushed between":  cat(add, []byte{0x9c, 0x5a}, sub, []byte{0xf4}),            // pushf; pop %rdx
	} {
		t.Run(name, func(t *testing.T) {
			run := func(limits ...uint64) (emu.Regs, emu.StopReason) {
				m := newMachine(t, code, emu.Config{})
				r := m.CPU(0).Regs()
				r.GPR[emu.RAX], r.GPR[emu.RSI], r.GPR[emu.RDI] = 1<<63-1, 1<<63+3, 5
				var stop emu.Stop
				for _, n := range limits {
					if stop = m.CPU(0).Run(emu.Limits{Insns: n}); stop.Reason != emu.StopInsns {
						break
					}
				}
				return *r, stop.Reason
			}
			steps := make([]uint64, 20)
			for i := range steps {
				steps[i] = 1
			}
			for n := uint64(1); n < 7; n++ {
				whole, why1 := run(n)
				single, why2 := run(steps[:n]...)
				require.Equal(t, single, whole, "%d instructions", n)
				require.Equal(t, why2, why1)
			}
		})
	}
}

// A site that goes to and fro runs what it holds at each moment, and what
// follows it too, in one page and across two.
func TestToAndFro(t *testing.T) {
	nop, call := []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}, []byte{0xe8, 0x0b, 0x00, 0x00, 0x00}
	body := []byte{0xff, 0xc0, 0xff, 0xc0, 0xc3} // inc %eax; inc %eax; ret
	stub := []byte{0x83, 0xc0, 0x10, 0xc3}       // add $16,%eax; ret
	for _, at := range []uint64{text, text + emu.PageSize - 2} {
		m := newMachine(t, nil, emu.Config{})
		mem, c := m.Memory(), m.CPU(0)
		require.NoError(t, mem.Write(at, cat(nop, body)))
		require.NoError(t, mem.Write(at+16, stub))
		for i, state := range [][]byte{nop, call, nop, call, call, nop, {0x83, 0xc0, 0x07, 0x66, 0x90}, call, nop} {
			require.NoError(t, mem.Write(at, state))
			if i == 5 {
				require.NoError(t, mem.Write(at+6, []byte{0xc8})) // dec
				require.NoError(t, mem.Write(at+6, []byte{0xc0})) // inc again
			}
			want := map[byte]uint64{0x0f: 2, 0xe8: 18, 0x83: 9}[state[0]]
			for range 2 {
				*c.Regs() = emu.Regs{RIP: at, Flags: emu.FlagsReset}
				c.Regs().GPR[emu.RSP] = sp
				require.Equal(t, emu.StopUntil, c.Run(toEnd).Reason)
				require.Equal(t, want, c.Regs().GPR[emu.RAX], "change %d", i)
			}
		}
	}
}

// Memory that an engine uses again is zero.
func TestPoolIsZero(t *testing.T) {
	e := New()
	for range 3 {
		mem := e.NewMemory(0)
		require.NoError(t, mem.Map(data, 4*emu.PageSize, emu.PermRW, "data"))
		b := make([]byte, 4*emu.PageSize)
		require.NoError(t, mem.Read(data, b))
		require.Equal(t, make([]byte, len(b)), b)
		for i := range b {
			b[i] = 0xa5
		}
		require.NoError(t, mem.Write(data, b))
		mem.Close()
	}
}
