package interp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

func TestSmoke(t *testing.T) {
	mem := New().NewMemory(0)
	require.NoError(t, mem.Map(0x1000, 0x1000, emu.PermRX, "text"))
	require.NoError(t, mem.Map(0x8000, 0x1000, emu.PermRW, "stack"))
	// 1000: mov $10,%ecx; xor %eax,%eax; 1007: add %ecx,%eax; dec %ecx; jne 1007; ret
	require.NoError(t, mem.Write(0x1000, []byte{0xb9, 10, 0, 0, 0, 0x31, 0xc0, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xc3}))
	m, err := New().NewMachine(emu.Config{Memory: mem})
	require.NoError(t, err)
	c := m.CPU(0)
	c.Regs().RIP = 0x1000
	c.Regs().GPR[emu.RSP] = 0x8ff8
	s := c.Run(emu.Limits{Until: 0, UseUntil: true})
	require.Equal(t, emu.StopUntil, s.Reason, s.Error())
	require.EqualValues(t, 55, c.Regs().GPR[emu.RAX])
	require.EqualValues(t, 33, s.Insns)
}

func BenchmarkLoop(b *testing.B) {
	mem := New().NewMemory(0)
	_ = mem.Map(0x1000, 0x1000, emu.PermRX, "text")
	_ = mem.Map(0x8000, 0x1000, emu.PermRW, "stack")
	_ = mem.Write(0x1000, []byte{0xb9, 0xe8, 3, 0, 0, 0x31, 0xc0, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xc3})
	m, _ := New().NewMachine(emu.Config{Memory: mem})
	c := m.CPU(0)
	n := uint64(0)
	for b.Loop() {
		c.Regs().RIP = 0x1000
		c.Regs().GPR[emu.RSP] = 0x8ff8
		n += c.Run(emu.Limits{Until: 0, UseUntil: true}).Insns
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/insn")
}

func BenchmarkStep(b *testing.B) {
	mem := New().NewMemory(0)
	_ = mem.Map(0x1000, 0x1000, emu.PermRX, "text")
	_ = mem.Map(0x8000, 0x1000, emu.PermRW, "stack")
	_ = mem.Write(0x1000, []byte{0xb9, 0xff, 0xff, 0xff, 0xff, 0x31, 0xc0, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xc3})
	m, _ := New().NewMachine(emu.Config{Memory: mem})
	c := m.CPU(0)
	c.Regs().RIP = 0x1000
	for b.Loop() {
		c.Run(emu.Limits{Insns: 1})
	}
}
