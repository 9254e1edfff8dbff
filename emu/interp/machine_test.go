package interp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/trace"
)

// The memory of a test machine.
const (
	text  = 0xffffffff81000000 // two pages of code
	data  = 0xffff888000010000 // two pages
	stack = 0xffffc90000000000 // two pages; RSP begins in the middle
	done  = 0x1000             // where the outermost function returns to; not mapped
	sp    = stack + emu.PageSize
)

// newMemory returns memory with code at text.
func newMemory(tb testing.TB, code []byte) *emu.Memory {
	tb.Helper()
	mem := New().NewMemory(0)
	require.NoError(tb, mem.Map(text, 2*emu.PageSize, emu.PermRX, "text"))
	require.NoError(tb, mem.Map(data, 2*emu.PageSize, emu.PermRW, "data"))
	require.NoError(tb, mem.Map(stack, 2*emu.PageSize, emu.PermRW, "stack"))
	require.NoError(tb, mem.Write(text, code))
	require.NoError(tb, mem.WriteU64(sp, done))
	return mem
}

// newMachine returns a machine over newMemory, its CPUs about to run code.
func newMachine(tb testing.TB, code []byte, cfg emu.Config) emu.Machine {
	tb.Helper()
	cfg.Memory = newMemory(tb, code)
	m, err := New().NewMachine(cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, m.Close()) })
	for i := range m.NumCPU() {
		start(m.CPU(i))
	}
	return m
}

// start sets c up for a call of text.
func start(c emu.CPU) {
	c.Regs().RIP = text
	c.Regs().GPR[emu.RSP] = sp
}

// toEnd lets a run go on until the function returns.
var toEnd = emu.Limits{Until: done, UseUntil: true, Insns: 100_000}

// cat joins pieces of code.
func cat(pieces ...[]byte) []byte {
	var all []byte
	for _, p := range pieces {
		all = append(all, p...)
	}
	return all
}

// A recorder keeps copies of the events it wants.
type recorder struct {
	mask   trace.Mask
	events []trace.Event
	regs   []emu.Regs // of cpu at each event, if that is set
	cpu    emu.CPU
}

func (r *recorder) Mask() trace.Mask { return r.mask }

func (r *recorder) Trace(ev *trace.Event) {
	e := *ev
	e.New = append([]byte(nil), ev.New...)
	r.events = append(r.events, e)
	if r.cpu != nil {
		r.regs = append(r.regs, *r.cpu.Regs())
	}
}
