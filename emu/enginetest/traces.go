package enginetest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/trace"
)

// traceOf runs code with a tracer of every kind of event.
func traceOf(t *testing.T, e emu.Engine, cfg emu.Config, code string, prep func(r *emu.Regs), lim emu.Limits) []string {
	t.Helper()
	rec := &Recorder{Want: trace.All}
	cfg.Tracer = rec
	l := newLab(t, e, cfg, code)
	if prep != nil {
		prep(l.cpu().Regs())
	}
	l.cpu().Run(lim)
	return rec.Events
}

var traceTests = []behaviour{
	{"trace of a call", func(t *testing.T, e emu.Engine) {
		// push %rax; call 1f; pop %rbx; hlt; 1: incl (%rdi); ret
		got := traceOf(t, e, emu.Config{}, "50 e8 02 00 00 00 5b f4 ff 07 c3",
			func(r *emu.Regs) { r.GPR[emu.RAX] = 7 }, emu.Limits{})
		require.Equal(t, []string{
			"0 insn 0x10000000 1 50",
			"0 mem 0x10000000 write 0x30001ff0 8 0x7",
			"0 insn 0x10000001 5 e8 02 00 00 00",
			"0 mem 0x10000001 write 0x30001fe8 8 0x10000006",
			"0 branch 0x10000001 -> 0x10000008 ",
			"0 insn 0x10000008 2 ff 07",
			"0 mem 0x10000008 read 0x20000000 4 0x18110a03",
			"0 mem 0x10000008 write 0x20000000 4 0x18110a04",
			"0 insn 0x1000000a 1 c3",
			"0 mem 0x1000000a read 0x30001fe8 8 0x10000006",
			"0 branch 0x1000000a -> 0x10000006 ",
			"0 insn 0x10000006 1 5b",
			"0 mem 0x10000006 read 0x30001ff0 8 0x7",
			"0 insn 0x10000007 1 f4",
		}, got)
	}},
	{"trace of jumps", func(t *testing.T, e emu.Engine) {
		// jz 1f (not taken); nop; 1: jnz 2f (taken); nop; 2: jmp to the next; hlt
		got := traceOf(t, e, emu.Config{}, "74 01 90 75 01 90 eb 00 f4", nil, emu.Limits{})
		require.Equal(t, []string{
			"0 insn 0x10000000 2 74 01",
			"0 insn 0x10000002 1 90",
			"0 insn 0x10000003 2 75 01",
			"0 branch 0x10000003 -> 0x10000006 ",
			"0 insn 0x10000006 2 eb 00",
			"0 insn 0x10000008 1 f4",
		}, got)
	}},
	{"trace of a jump to itself", func(t *testing.T, e emu.Engine) {
		got := traceOf(t, e, emu.Config{}, "eb fe", nil, emu.Limits{Insns: 2})
		require.Equal(t, []string{
			"0 insn 0x10000000 2 eb fe",
			"0 branch 0x10000000 -> 0x10000000 ",
			"0 insn 0x10000000 2 eb fe",
			"0 branch 0x10000000 -> 0x10000000 ",
		}, got)
	}},
	{"trace of rep", func(t *testing.T, e emu.Engine) {
		got := traceOf(t, e, emu.Config{}, "f3 a4 f3 aa f4", // rep movsb; rep stosb; hlt
			func(r *emu.Regs) { r.GPR[emu.RCX] = 2 }, emu.Limits{})
		require.Equal(t, []string{
			"0 insn 0x10000000 2 f3 a4",
			"0 mem 0x10000000 read 0x20000400 1 0x37",
			"0 mem 0x10000000 write 0x20000000 1 0x37",
			"0 insn 0x10000000 2 f3 a4",
			"0 mem 0x10000000 read 0x20000401 1 0x3e",
			"0 mem 0x10000000 write 0x20000001 1 0x3e",
			"0 insn 0x10000002 2 f3 aa",
			"0 insn 0x10000004 1 f4",
		}, got)
	}},
	{"trace of a gate", func(t *testing.T, e emu.Engine) {
		got := traceOf(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "printk", Func: func(emu.CPU) error { return nil }}),
			callRAX, func(r *emu.Regs) { r.GPR[emu.RAX] = gateAddr }, emu.Limits{})
		require.Equal(t, []string{
			"0 insn 0x10000000 2 ff d0",
			"0 mem 0x10000000 write 0x30001ff0 8 0x10000002",
			"0 branch 0x10000000 -> 0x70000000 ",
			"0 gate 0x70000000 -> 0x10000002 printk",
			"0 insn 0x10000002 1 90",
			"0 insn 0x10000003 1 f4",
		}, got)
	}},
	{"trace of a gate that fails", func(t *testing.T, e emu.Engine) {
		got := traceOf(t, e, withGates(emu.Gate{Addr: Code, Name: "bad", Func: func(emu.CPU) error { return errors.New("no") }}),
			"90", nil, emu.Limits{})
		require.Equal(t, []string{"0 gate 0x10000000 -> 0x50000000 bad"}, got)
	}},
	{"trace of traps", func(t *testing.T, e emu.Engine) {
		claim := emu.Config{Trap: func(c emu.CPU) bool { c.Regs().RIP = Code + 2; return true }}
		got := traceOf(t, e, claim, "cc 90 0f 0b", nil, emu.Limits{})
		require.Equal(t, []string{
			"0 insn 0x10000000 1 cc",
			"0 trap 0x10000000 3",
			"0 insn 0x10000002 2 0f 0b",
			"0 trap 0x10000002 6",
		}, got)
		got = traceOf(t, e, emu.Config{}, "31 c9 f7 f1", nil, emu.Limits{}) // xor %ecx,%ecx; div %ecx
		require.Equal(t, []string{
			"0 insn 0x10000000 2 31 c9",
			"0 insn 0x10000002 2 f7 f1",
			"0 trap 0x10000002 0",
		}, got)
	}},
	{"trace up to a fault", func(t *testing.T, e emu.Engine) {
		// push (%rdi) without a stack: the read happens, the write does not.
		got := traceOf(t, e, emu.Config{}, "90 ff 37", func(r *emu.Regs) { r.GPR[emu.RSP] = Stack }, emu.Limits{})
		require.Equal(t, []string{
			"0 insn 0x10000000 1 90",
			"0 insn 0x10000001 2 ff 37",
			"0 mem 0x10000001 read 0x20000000 8 0x342d261f18110a03",
		}, got)
		got = traceOf(t, e, emu.Config{}, "ff e0", func(r *emu.Regs) { r.GPR[emu.RAX] = unmapped }, emu.Limits{})
		require.Equal(t, []string{
			"0 insn 0x10000000 2 ff e0",
			"0 branch 0x10000000 -> 0x60000000 ",
		}, got)
	}},
	{"trace in steps is the trace in one go", func(t *testing.T, e emu.Engine) {
		const code = "50 e8 02 00 00 00 5b f4 ff 07 c3"
		whole := traceOf(t, e, emu.Config{}, code, nil, emu.Limits{})
		rec := &Recorder{Want: trace.All}
		l := newLab(t, e, emu.Config{Tracer: rec}, code)
		for l.cpu().Run(emu.Limits{Insns: 1}).Reason == emu.StopInsns {
		}
		require.Equal(t, whole, rec.Events)
	}},
	{"tracers want what they want", func(t *testing.T, e emu.Engine) {
		rec := &Recorder{Want: trace.MaskOf(trace.Branch)}
		l := newLab(t, e, emu.Config{Tracer: rec, CPUs: 2}, "ff 07 eb 00 eb 02 90 90 f4")
		require.Equal(t, emu.StopHalt, l.m.CPU(1).Run(emu.Limits{}).Reason)
		require.Equal(t, []string{"1 branch 0x10000004 -> 0x10000008 "}, rec.Events)
		rec = &Recorder{Want: trace.MaskOf(trace.Mem)}
		l.m.SetTracer(rec)
		require.Equal(t, emu.StopHalt, l.cpu().Run(emu.Limits{}).Reason)
		require.Len(t, rec.Events, 2)
		l.m.SetTracer(nil)
		*l.cpu().Regs() = startRegs()
		require.Equal(t, emu.StopHalt, l.cpu().Run(emu.Limits{}).Reason)
		require.Len(t, rec.Events, 2)
	}},
	{"tracers see registers", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "b8 01 00 00 00 f8 b8 02 00 00 00 f9 f4") // mov $1,%eax; clc; mov $2,%eax; stc; hlt
		w := &watcher{cpu: l.cpu()}
		l.m.SetTracer(w)
		l.cpu().Run(emu.Limits{})
		require.Equal(t, []uint64{Code, Code + 5, Code + 6, Code + 11, Code + 12}, w.rip)
		require.Equal(t, []uint64{1, 1, 2, 2}, w.rax[1:])
		require.Equal(t, uint64(emu.FlagCF), w.flags[4]&emu.FlagCF)
		require.Zero(t, w.flags[2]&emu.FlagCF)
	}},
}

// A watcher reads the registers at every instruction.
type watcher struct {
	cpu             emu.CPU
	rip, rax, flags []uint64
}

func (w *watcher) Mask() trace.Mask { return trace.MaskOf(trace.Insn) }

func (w *watcher) Trace(*trace.Event) {
	r := w.cpu.Regs()
	w.rip = append(w.rip, r.RIP)
	w.rax = append(w.rax, r.GPR[emu.RAX])
	w.flags = append(w.flags, r.Flags)
}
