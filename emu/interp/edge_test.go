package interp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// TestLastBytesOfAPage: loads of any size up to the very end of a page and
// across it, from pages looked up before.
func TestLastBytesOfAPage(t *testing.T) {
	loads := map[uint64][]byte{
		1: {0x0f, 0xb6, 0x07, 0xf4}, // movzbl (%rdi),%eax; hlt
		2: {0x0f, 0xb7, 0x07, 0xf4},
		4: {0x8b, 0x07, 0xf4},
		8: {0x48, 0x8b, 0x07, 0xf4},
	}
	for size, code := range loads {
		m := newMachine(t, code, emu.Config{})
		for i := range uint64(32) {
			require.NoError(t, m.Memory().Write(data+emu.PageSize-16+i, []byte{byte(0x10 + i)}))
		}
		for i := range uint64(24) {
			c := m.CPU(0)
			start(c)
			c.Regs().GPR[emu.RDI] = data + emu.PageSize - 16 + i
			require.Equal(t, emu.StopHalt, c.Run(emu.Limits{}).Reason)
			want := uint64(0)
			for j := range size {
				want |= (0x10 + i + j) << (8 * j)
			}
			require.Equal(t, want, c.Regs().GPR[emu.RAX], "%d bytes at %d", size, i)
		}
	}
}

// TestBlockCacheIsBounded: code that never comes back to an address does not
// fill memory.
func TestBlockCacheIsBounded(t *testing.T) {
	var bc blockCache
	bc.init()
	for i := range uint64(3 * maxOps / maxBlockOps) {
		bc.put(&block{start: i * 3 / 4, ops: make([]op, maxBlockOps)})
		require.LessOrEqual(t, bc.ops, maxOps)
	}
	n := 0
	for _, b := range bc.slots {
		for ; b != nil; b = b.before {
			n += len(b.ops)
		}
	}
	require.Equal(t, bc.ops, n)
}

// TestRepeatInBulk: long moves and fills, over pages, forwards, backwards and
// overlapping, give what single iterations give.
func TestRepeatInBulk(t *testing.T) {
	for name, code := range map[string][]byte{
		"rep movsb":  {0xf3, 0xa4, 0xf4},
		"rep movsw":  {0x66, 0xf3, 0xa5, 0xf4},
		"rep movsq":  {0xf3, 0x48, 0xa5, 0xf4},
		"rep stosl":  {0xf3, 0xab, 0xf4},
		"rep stosq":  {0xf3, 0x48, 0xab, 0xf4},
		"std; movsb": {0xfd, 0xf3, 0xa4, 0xf4},
	} {
		for _, from := range []uint64{data, data + 7, data + 4000, data + 3000} {
			for _, to := range []uint64{data, data + 1, data + 8, data + 2000, data + 4095} {
				results := [2][]byte{}
				regs := [2]emu.Regs{}
				for i, lim := range []emu.Limits{{}, {Insns: 1}} {
					m := newMachine(t, code, emu.Config{})
					bytes := make([]byte, 2*emu.PageSize)
					for j := range bytes {
						bytes[j] = byte(j * j >> 3)
					}
					require.NoError(t, m.Memory().Write(data, bytes))
					r := m.CPU(0).Regs()
					r.GPR[emu.RSI], r.GPR[emu.RDI], r.GPR[emu.RCX], r.GPR[emu.RAX] = from, to, 300, 0x1122334455667788
					insns := uint64(0)
					for {
						stop := m.CPU(0).Run(lim)
						insns += stop.Insns
						if stop.Reason != emu.StopInsns {
							break
						}
					}
					require.NoError(t, m.Memory().Read(data, bytes))
					r.GPR[emu.R8] = insns
					results[i], regs[i] = bytes, *r
				}
				require.Equal(t, regs[1], regs[0], "%s from %#x to %#x", name, from, to)
				require.Equal(t, results[1], results[0], "%s from %#x to %#x", name, from, to)
			}
		}
	}
}
