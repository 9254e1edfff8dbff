package ftemu

import (
	"fmt"

	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/trampoline"
)

// frame is struct ftrace_regs: the registers that a trampoline saved at addr.
// What cannot be read or written because the guest's stack is gone is kept as
// the first error.
type frame struct {
	words
	cpu  int
	addr uint64
}

// reg and setReg access the saved register at an offset in struct pt_regs.
func (f *frame) reg(off uint64) uint64 { return f.get(f.addr + off) }
func (f *frame) setReg(off, v uint64)  { f.set(f.addr+off, v) }

// Full tells whether the trampoline saved all registers: it then stored the
// kernel's code segment, otherwise 0.
func (f *frame) Full() bool            { return f.reg(trampoline.RegsCS) != 0 }
func (f *frame) CPU() int              { return f.cpu }
func (f *frame) IP() uint64            { return f.reg(trampoline.RegsIP) }
func (f *frame) SetIP(ip uint64)       { f.setReg(trampoline.RegsIP, ip) }
func (f *frame) SetDirect(addr uint64) { f.setReg(trampoline.RegsOrigAX, addr) }

// traced runs a Go function that stands for func(ip, parent_ip, ops, fregs).
func (l *Lab) traced(c emu.CPU, fn func(ip, parent uint64, ops *ftracecore.Ops, regs ftracecore.Regs)) error {
	r := c.Regs()
	f := &frame{words: words{mem: c.Memory()}, cpu: c.ID(), addr: r.GPR[emu.RCX]}
	fn(r.GPR[emu.RDI], r.GPR[emu.RSI], l.ops[r.GPR[emu.RDX]], f)
	return f.err
}

func (l *Lab) listGate(c emu.CPU) error {
	return l.traced(c, func(ip, parent uint64, _ *ftracecore.Ops, regs ftracecore.Regs) {
		l.Core.ListFunc(ip, parent, regs)
	})
}

// withOps is traced for functions that need the ops their trampoline passed.
func (l *Lab) withOps(c emu.CPU, fn ftracecore.Callback) error {
	addr := c.Regs().GPR[emu.RDX]
	if l.ops[addr] == nil {
		return fmt.Errorf("a trampoline passed %#x, which is no ftrace_ops", addr)
	}
	return l.traced(c, fn)
}

// assistGate jumps to NULL as the kernel does where the ops has no function; a
// trampoline without the assist function gets there by itself.
func (l *Lab) assistGate(c emu.CPU) error {
	if ops := l.ops[c.Regs().GPR[emu.RDX]]; ops != nil && ops.Func == nil {
		return fmt.Errorf("ftrace_ops_assist_func calls the function of %q, which is NULL", ops.Name)
	}
	return l.withOps(c, l.Core.AssistFunc)
}

func (l *Lab) callbackGate(c emu.CPU) error   { return l.withOps(c, l.Core.Callback) }
func (l *Lab) callDirectGate(c emu.CPU) error { return l.traced(c, l.Core.CallDirectFuncs) }
