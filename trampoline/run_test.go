package trampoline

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/emu/interp"
	"ftemu/x86"
)

// The guest of the tests that execute code: a function fn with its site at its
// entry, whose body is a gate behind the site, another function instead, and
// room for trampolines. The caller's return address is a place to stop at.
const (
	fnAddr      = 0xffffffff81001000
	bodyAddr    = fnAddr + x86.SiteLen
	insteadAddr = 0xffffffff81002000
	parentAddr  = 0xffffffff81003000
	trampAddr   = 0xffffffffc0200000
	regsAddr    = 0xffffffff81004000
	opPtrAddr   = 0xffffffff81005000
	gateBase    = 0xffffffff81008000
	stackEnd    = 0xffffc90000008000
)

// A guest is one machine on which a function is called.
type guest struct {
	t     *testing.T
	mem   *emu.Memory
	gates *emu.Gates
	cpu   emu.CPU
	nGate uint64
	log   []string
	// body stands in for the traced function's body, instead for the other
	// function; their values are what they return.
	bodyValue, insteadValue uint64
}

func newGuest(t *testing.T) *guest {
	engine := interp.New()
	g := &guest{t: t, mem: engine.NewMemory(0), gates: &emu.Gates{}, bodyValue: 0x111, insteadValue: 0x222}
	require.NoError(t, g.mem.Map(0xffffffff81000000, 0x10000, emu.PermRX, "text"))
	require.NoError(t, g.mem.Map(trampAddr, 0x2000, emu.PermRX, "module"))
	require.NoError(t, g.mem.Map(stackEnd-0x4000, 0x4000, emu.PermRW, "stack"))
	g.write(fnAddr, x86.Nop5[:])
	g.gateAt(bodyAddr, "body", func(c emu.CPU) { g.enter(c, "body"); c.Regs().GPR[emu.RAX] = g.bodyValue })
	g.gateAt(insteadAddr, "instead", func(c emu.CPU) { g.enter(c, "instead"); c.Regs().GPR[emu.RAX] = g.insteadValue })
	m, err := engine.NewMachine(emu.Config{Memory: g.mem, Gates: g.gates})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	g.cpu = m.CPU(0)
	return g
}

func (g *guest) logf(format string, args ...any) { g.log = append(g.log, fmt.Sprintf(format, args...)) }

func (g *guest) write(addr uint64, b []byte) { require.NoError(g.t, g.mem.Write(addr, b)) }

// put places finished code.
func (g *guest) put(code Code, err error) Code {
	require.NoError(g.t, err)
	g.write(code.Addr, code.Bytes)
	return code
}

// gate makes a C function: it may clobber what the ABI allows, and does.
func (g *guest) gate(name string, f func(c emu.CPU)) uint64 {
	g.nGate++
	addr := gateBase + 16*g.nGate
	g.gateAt(addr, name, f)
	return addr
}

func (g *guest) gateAt(addr uint64, name string, f func(c emu.CPU)) {
	require.NoError(g.t, g.gates.Add(emu.Gate{Addr: addr, Name: name, Clobber: true, Func: func(c emu.CPU) error {
		f(c)
		return nil
	}}))
}

// pattern is the value of a register before the call of the function: every one
// is different.
func pattern(reg int) uint64 { return 0xa0a0_0000 + uint64(reg) }

// enter checks that a body gets rax and the six arguments as the caller set
// them, or as changed, and logs that it ran.
func (g *guest) enter(c emu.CPU, name string) {
	for _, r := range append([]int{emu.RAX}, emu.ArgRegs[:]...) {
		if got := c.Regs().GPR[r]; got != pattern(r) {
			g.logf("%s=%#x", emu.RegNames[r], got)
		}
	}
	ret, err := g.mem.ReadU64(c.Regs().GPR[emu.RSP])
	require.NoError(g.t, err)
	if ret == parentAddr {
		name += " to parent"
	}
	g.log = append(g.log, name)
}

// calleeSaved are the registers that a function must leave as they were.
var calleeSaved = []int{emu.RBX, emu.RSP, emu.RBP, emu.R12, emu.R13, emu.R14, emu.R15}

// call calls the function, with its site as it is, and returns what it returns.
func (g *guest) call() uint64 {
	g.log = nil
	r := g.cpu.Regs()
	for i := range r.GPR {
		r.GPR[i] = pattern(i)
	}
	sp := uint64(stackEnd - 0x100)
	require.NoError(g.t, g.mem.WriteU64(sp-8, parentAddr))
	r.GPR[emu.RSP], r.RIP, r.Flags = sp-8, fnAddr, emu.FlagsReset
	stop := g.cpu.Run(emu.Limits{Until: parentAddr, UseUntil: true, Insns: 10000, Time: time.Minute})
	require.Equal(g.t, emu.StopUntil, stop.Reason, stop.Error())
	want := *r
	for _, i := range calleeSaved {
		want.GPR[i] = pattern(i)
	}
	want.GPR[emu.RSP] = sp
	require.Equal(g.t, want.GPR, r.GPR, "callee-saved registers, rsp popped by one return address")
	return r.GPR[emu.RAX]
}

// attach makes the site call target.
func (g *guest) attach(target uint64) {
	b, ok := x86.EncodeCall(fnAddr, target)
	require.True(g.t, ok)
	g.write(fnAddr, b[:])
}

// regs is struct pt_regs in guest memory.
type regs struct {
	g    *guest
	addr uint64
}

func (p regs) get(off uint64) uint64 {
	v, err := p.g.mem.ReadU64(p.addr + off)
	require.NoError(p.g.t, err)
	return v
}

func (p regs) set(off, v uint64) { require.NoError(p.g.t, p.g.mem.WriteU64(p.addr+off, v)) }

// callback makes an ftrace callback, a gate that checks its first three
// arguments and hands the saved registers to f.
func (g *guest) callback(ops uint64, f func(p regs)) uint64 {
	return g.gate("callback", func(c emu.CPU) {
		gpr := &c.Regs().GPR
		require.Equal(g.t, []uint64{fnAddr, parentAddr, ops}, []uint64{gpr[emu.RDI], gpr[emu.RSI], gpr[emu.RDX]})
		g.logf("callback")
		f(regs{g, gpr[emu.RCX]})
	})
}

const opsAddr = 0xffff8880052e5800

func TestRunCallers(t *testing.T) {
	argSlots := map[int]uint64{emu.RAX: ptRAX, emu.RDI: ptRDI, emu.RSI: ptRSI, emu.RDX: ptRDX, emu.RCX: ptRCX, emu.R8: ptR8, emu.R9: ptR9, emu.RBP: ptRBP}
	moreSlots := map[int]uint64{emu.RBX: ptRBX, emu.R10: ptR10, emu.R11: ptR11, emu.R12: ptR12, emu.R13: ptR13, emu.R14: ptR14, emu.R15: ptR15}
	for _, tt := range []struct {
		name string
		full bool // all registers are saved
		make func(g *guest, target uint64) (Code, error)
	}{
		{"ftrace_caller", false, func(g *guest, f uint64) (Code, error) {
			return FtraceCaller(CallerSpec{Addr: regsAddr, Func: f, OpPtr: opPtrAddr})
		}},
		{"ftrace_regs_caller", true, func(g *guest, f uint64) (Code, error) {
			return FtraceRegsCaller(CallerSpec{Addr: regsAddr, Func: f, OpPtr: opPtrAddr})
		}},
		{"ops trampoline", false, func(g *guest, f uint64) (Code, error) {
			return OpsTrampoline(OpsSpec{Addr: trampAddr, Func: f, Ops: opsAddr})
		}},
		{"ops trampoline with all registers", true, func(g *guest, f uint64) (Code, error) {
			return OpsTrampoline(OpsSpec{Addr: trampAddr, Func: f, Ops: opsAddr, SaveRegs: true})
		}},
	} {
		// with attaches the trampoline with a callback.
		with := func(t *testing.T, f func(p regs)) *guest {
			g := newGuest(t)
			require.NoError(t, g.mem.WriteU64(opPtrAddr, opsAddr))
			g.attach(g.put(tt.make(g, g.callback(opsAddr, f))).Addr)
			return g
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Run("what a callback sees", func(t *testing.T) {
				g := with(t, func(p regs) {
					for r, off := range argSlots {
						require.Equal(t, pattern(r), p.get(off), emu.RegNames[r])
					}
					require.Equal(t, uint64(bodyAddr), p.get(RegsIP))
					require.Equal(t, uint64(stackEnd-0x108), p.get(RegsSP))
					require.Zero(t, p.get(RegsOrigAX))
					if !tt.full {
						require.Zero(t, p.get(RegsCS), "says that registers are missing")
						return
					}
					for r, off := range moreSlots {
						require.Equal(t, pattern(r), p.get(off), emu.RegNames[r])
					}
					require.Equal(t, []uint64{kernelCS, kernelDS, emu.FlagsReset}, []uint64{p.get(RegsCS), p.get(ptSS), p.get(ptFlags)})
				})
				require.Equal(t, g.bodyValue, g.call())
				require.Equal(t, []string{"callback", "body to parent"}, g.log)
			})
			t.Run("changed arguments reach the body", func(t *testing.T) {
				g := with(t, func(p regs) { p.set(ptRDI, 1); p.set(ptR9, 2); p.set(ptRAX, 3) })
				g.call()
				require.Equal(t, []string{"callback", "rax=0x3", "rdi=0x1", "r9=0x2", "body to parent"}, g.log)
			})
			t.Run("changed ip", func(t *testing.T) {
				g := with(t, func(p regs) { p.set(RegsIP, insteadAddr) })
				require.Equal(t, g.insteadValue, g.call())
				require.Equal(t, []string{"callback", "instead to parent"}, g.log)
			})
			t.Run("other changes", func(t *testing.T) {
				g := with(t, func(p regs) {
					p.set(RegsSP, 0)
					p.set(ptFlags, emu.FlagsReset|emu.FlagCF)
					for _, off := range moreSlots {
						p.set(off, off)
					}
				})
				var seen emu.Regs
				g.gates.Remove(bodyAddr)
				g.gateAt(bodyAddr, "body", func(c emu.CPU) {
					seen = *c.Regs()
					// For the caller's sake.
					for r := range moreSlots {
						c.Regs().GPR[r] = pattern(r)
					}
				})
				g.call()
				for r, off := range moreSlots {
					switch {
					case r == emu.R11:
						require.NotEqual(t, off, seen.GPR[r], "r11 is saved but not restored")
					case tt.full:
						require.Equal(t, off, seen.GPR[r], emu.RegNames[r])
					case r != emu.R10: // nobody restores it, the callback clobbered it
						require.Equal(t, pattern(r), seen.GPR[r], emu.RegNames[r])
					}
				}
				if tt.full {
					require.Equal(t, uint64(emu.FlagCF), seen.Flags&emu.FlagsStatus)
				}
			})
		})
	}
}

// TestRunOrigRAX checks which trampolines heed a direct address.
func TestRunOrigRAX(t *testing.T) {
	for _, tt := range []struct {
		name   string
		heeded bool
		make   func(f uint64) (Code, error)
	}{
		{"ftrace_caller", false, func(f uint64) (Code, error) {
			return FtraceCaller(CallerSpec{Addr: regsAddr, Func: f, OpPtr: opPtrAddr})
		}},
		{"ftrace_regs_caller", true, func(f uint64) (Code, error) {
			return FtraceRegsCaller(CallerSpec{Addr: regsAddr, Func: f, OpPtr: opPtrAddr})
		}},
		{"ops trampoline with all registers", false, func(f uint64) (Code, error) {
			return OpsTrampoline(OpsSpec{Addr: trampAddr + 0x1000, Func: f, SaveRegs: true})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest(t)
			direct := uint64(0xffffffff81006000)
			g.write(direct, []byte{x86.OpRet})
			f := g.callback(0, func(p regs) {
				p.set(RegsOrigAX, direct)
				p.set(ptFlags, emu.FlagsReset|emu.FlagZF)
			})
			g.attach(g.put(tt.make(f)).Addr)
			r := g.cpu.Regs()
			require.NoError(t, g.mem.WriteU64(stackEnd-0x108, parentAddr))
			for i := range r.GPR {
				r.GPR[i] = pattern(i)
			}
			r.GPR[emu.RSP], r.RIP, r.Flags = stackEnd-0x108, fnAddr, emu.FlagsReset
			stop := g.cpu.Run(emu.Limits{Until: direct, UseUntil: true, Insns: 1000})
			if stop.Reason == emu.StopUntil {
				slot := regs{g, r.GPR[emu.RSP]}
				require.Equal(t, []uint64{bodyAddr, parentAddr}, []uint64{slot.get(0), slot.get(8)})
				require.Equal(t, uint64(emu.FlagZF), r.Flags&emu.FlagsStatus)
				for _, i := range append([]int{emu.RAX, emu.RBX, emu.R10}, emu.ArgRegs[:]...) {
					require.Equal(t, pattern(i), r.GPR[i], emu.RegNames[i])
				}
			}
			require.Equal(t, tt.heeded, stop.Reason == emu.StopUntil, stop.Error())
		})
	}
}
