package interp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/trace"
)

// line writes an event as the tests compare it, addresses relative to text.
func line(ev trace.Event) string {
	s := fmt.Sprintf("%s %x", ev.Kind, ev.IP-text)
	switch ev.Kind {
	case trace.Insn:
		return fmt.Sprintf("%s: % x", s, ev.New)
	case trace.Branch:
		return fmt.Sprintf("%s to %x", s, ev.Addr-text)
	case trace.Mem:
		dir := "read"
		if ev.Write {
			dir = "write"
		}
		return fmt.Sprintf("%s %s %d at %s = %x", s, dir, ev.Size, where(ev.Addr), ev.Value)
	case trace.Gate:
		return fmt.Sprintf("%s %s from %x", s, ev.Name, ev.Addr-text)
	case trace.Trap:
		return fmt.Sprintf("%s vector %d", s, ev.Vector)
	}
	return s
}

// where names an address on the stack or in data.
func where(a uint64) string {
	if a-stack < 2*emu.PageSize {
		return fmt.Sprintf("sp%+d", int64(a-sp))
	}
	return fmt.Sprintf("data+%x", a-data)
}

// traceOf runs code with the given mask and returns what happened.
func traceOf(t *testing.T, code []byte, mask trace.Mask, set func(*emu.Regs), cfg emu.Config) ([]string, *recorder, emu.Stop) {
	rec := &recorder{mask: mask}
	cfg.Tracer = rec
	m := newMachine(t, code, cfg)
	rec.cpu = m.CPU(0)
	if set != nil {
		set(m.CPU(0).Regs())
	}
	stop := m.CPU(0).Run(toEnd)
	var lines []string
	for _, ev := range rec.events {
		require.Zero(t, ev.CPU)
		if ev.Kind == trace.Insn {
			require.Equal(t, len(ev.New), ev.Size)
		}
		lines = append(lines, line(ev))
	}
	return lines, rec, stop
}

func setData(r *emu.Regs) { r.GPR[emu.RDI] = data }

func TestEvents(t *testing.T) {
	code := []byte{
		0x0f, 0x1f, 0x44, 0x00, 0x00, // 0: nop
		0xe8, 0x04, 0x00, 0x00, 0x00, // 5: call e
		0xff, 0x07, // a: incl (%rdi)
		0x74, 0x00, // c: je e, not taken
		0xe3, 0x01, // e: jrcxz 11, taken
		0xf4,       // 10: hlt
		0xc2, 8, 0, // 11: ret $8
	}
	lines, rec, stop := traceOf(t, code, trace.All, setData, emu.Config{})
	require.Equal(t, emu.StopFetch, stop.Reason, stop.Error()) // the second ret finds a zero
	require.Equal(t, []string{
		"insn 0: 0f 1f 44 00 00",
		"insn 5: e8 04 00 00 00",
		"mem 5 write 8 at sp-8 = ffffffff8100000a",
		"branch 5 to e",
		"insn e: e3 01",
		"branch e to 11",
		"insn 11: c2 08 00",
		"mem 11 read 8 at sp-8 = ffffffff8100000a",
		"branch 11 to a",
		"insn a: ff 07",
		"mem a read 4 at data+0 = 0",
		"mem a write 4 at data+0 = 1",
		"insn c: 74 00",
		"insn e: e3 01",
		"branch e to 11",
		"insn 11: c2 08 00",
	}, lines[:16])
	for i, ev := range rec.events {
		require.Equal(t, ev.IP, rec.regs[i].RIP, lines[i])
	}
	require.EqualValues(t, emu.FlagsFixed, rec.regs[12].Flags, "flags are up to date in events")
}

// TestEventMasks: a tracer gets what it asked for and nothing else.
func TestEventMasks(t *testing.T) {
	code := []byte{0x50, 0xcc, 0x58, 0xeb, 0x00, 0xe8, 0xf6, 0x07, 0x00, 0x00, 0xc3} // push; int3; pop; jmp; call gate; ret
	gs := gates(t, emu.Gate{Addr: text + 0x800, Name: "g", Func: func(emu.CPU) error { return nil }})
	cfg := emu.Config{Gates: gs, Trap: func(emu.CPU) bool { return true }}
	var all []string
	for k := trace.Kind(0); trace.All.Has(k); k++ {
		lines, _, stop := traceOf(t, code, trace.MaskOf(k), nil, cfg)
		require.Equal(t, emu.StopUntil, stop.Reason, stop.Error())
		for _, l := range lines {
			require.True(t, strings.HasPrefix(l, k.String()+" "), l)
		}
		all = append(all, lines...)
	}
	require.Equal(t, []string{
		"insn 0: 50", "insn 1: cc", "insn 2: 58", "insn 3: eb 00", "insn 5: e8 f6 07 00 00", "insn a: c3",
		"branch 5 to 800", // that to 5 goes to the next instruction
		fmt.Sprintf("branch a to %x", uint64(1<<64-text+done)),
		"mem 0 write 8 at sp-8 = 0", "mem 2 read 8 at sp-8 = 0", "mem 5 write 8 at sp-8 = ffffffff8100000a", "mem a read 8 at sp+0 = 1000",
		"gate 800 g from a",
		"trap 1 vector 3",
	}, all)
}

func TestEventOrderWithGateAndTraps(t *testing.T) {
	// int3; div %cl
	lines, _, stop := traceOf(t, []byte{0xcc, 0xf6, 0xf1}, trace.All, nil, emu.Config{Trap: func(emu.CPU) bool { return true }})
	require.Equal(t, emu.StopDivide, stop.Reason)
	require.Equal(t, []string{"insn 0: cc", "trap 0 vector 3", "insn 1: f6 f1", "trap 1 vector 0"}, lines)

	lines, _, stop = traceOf(t, []byte{0x0f, 0x0b}, trace.All, nil, emu.Config{})
	require.Equal(t, emu.StopUD, stop.Reason)
	require.Equal(t, []string{"insn 0: 0f 0b", "trap 0 vector 6"}, lines)

	gs := gates(t, emu.Gate{Addr: gateAddr, Name: "g", Func: func(emu.CPU) error { return errors.New("no") }})
	lines, _, stop = traceOf(t, gated, trace.All, nil, emu.Config{Gates: gs})
	require.Equal(t, emu.StopGate, stop.Reason)
	require.Equal(t, []string{
		"insn 0: e8 fb 07 00 00", "mem 0 write 8 at sp-8 = ffffffff81000005", "branch 0 to 800", "gate 800 g from 5",
	}, lines)
}

func TestEventsOfRepeats(t *testing.T) {
	// rep movsw; ret. Each iteration is an instruction.
	lines, _, stop := traceOf(t, []byte{0x66, 0xf3, 0xa5, 0xc3}, trace.MaskOf(trace.Insn, trace.Mem), func(r *emu.Regs) {
		r.GPR[emu.RSI], r.GPR[emu.RDI], r.GPR[emu.RCX] = data, data+4, 2
	}, emu.Config{})
	require.Equal(t, emu.StopUntil, stop.Reason)
	require.EqualValues(t, 3, stop.Insns)
	require.Equal(t, []string{
		"insn 0: 66 f3 a5", "mem 0 read 2 at data+0 = 0", "mem 0 write 2 at data+4 = 0",
		"insn 0: 66 f3 a5", "mem 0 read 2 at data+2 = 0", "mem 0 write 2 at data+6 = 0",
		"insn 3: c3", "mem 3 read 8 at sp+0 = 1000",
	}, lines)
}

// TestTracerChangesNothing: the same registers with any tracer, also one that
// comes between runs.
func TestTracerChangesNothing(t *testing.T) {
	run := func(tracer trace.Tracer) emu.Regs {
		m := newMachine(t, mixedLoop, emu.Config{})
		r := m.CPU(0).Regs()
		r.GPR[emu.RDI], r.GPR[emu.RSI] = data, 30
		require.Equal(t, emu.StopInsns, m.CPU(0).Run(emu.Limits{Insns: 101}).Reason)
		m.SetTracer(tracer)
		require.Equal(t, emu.StopInsns, m.CPU(0).Run(emu.Limits{Insns: 101}).Reason)
		m.SetTracer(nil)
		require.Equal(t, emu.StopUntil, m.CPU(0).Run(toEnd).Reason)
		return *r
	}
	want := run(nil)
	for k := trace.Kind(0); trace.All.Has(k); k++ {
		rec := &recorder{mask: trace.MaskOf(k)}
		require.Equal(t, want, run(rec), k.String())
		if k == trace.Insn {
			require.Len(t, rec.events, 101)
		}
	}
}
