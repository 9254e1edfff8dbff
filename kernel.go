package ftemu

import (
	"fmt"

	"ftemu/emu"
	"ftemu/guest"
	"ftemu/trampoline"
)

// Where things of the lab's own lie.
const (
	labBase     = 0xffffffffc0000000 // code of the lab, and gates that no guest brings along
	callerIP    = labBase            // ftemu_call(fn, ...): what calls guest functions
	returnIP    = labBase + 0x40     // where it returns to
	callbackIP  = labBase + 0x50     // ftemu_callback
	directLogIP = labBase + 0x60     // ftemu_direct_log
	directEndIP = labBase + 0x70     // ftemu_directexit_log

	ownCallbackIP = labBase + 0x80  // ftemu_own_callback
	elsewhereBase = labBase + 0x400 // what a whole kernel does not have
	elsewhereRoom = 0x40
	ownBase       = 0xffffffffbf000000 // trampolines of one's own
	ownLimit      = labBase

	trampBase  = 0xffffffffc0210000 // ops trampolines, a page each
	trampLimit = 0xffffffffc0400000

	directBase = 0xffffffffc0008000 // direct trampolines of guests other than the built-in one

	opsBase = 0xffff888005000000 // struct ftrace_ops objects of modules; nothing reads them
	opsSize = 0x200

	stackBase  = 0xffffc90000000000 // one stack for each CPU, with unmapped memory below it
	stackSize  = 0x4000             // as a kernel thread's (THREAD_SIZE)
	stackPitch = 0x10000
)

// pageOf returns the page that holds addr.
func pageOf(addr uint64) uint64 { return addr &^ (emu.PageSize - 1) }

// mapKernel maps the core kernel and the lab's own code.
func (l *Lab) mapKernel() error {
	m := l.mapRecordedKernel
	if l.guest.Kernel != nil {
		m = l.mapWholeKernel
	}
	if err := m(); err != nil {
		return err
	}
	return l.installCaller()
}

// mapRecordedKernel maps the code and the variable of the core kernel that take
// part, at the addresses of the recordings.
func (l *Lab) mapRecordedKernel() error {
	text := func(name string, pages ...uint64) error {
		for _, p := range pages {
			if err := l.Mem.Map(p, emu.PageSize, emu.PermRX, name); err != nil {
				return err
			}
		}
		return nil
	}
	if err := text("kernel text", pageOf(l.addrs.FtraceCaller), pageOf(l.addrs.AssistFunc), pageOf(l.addrs.ListFunc), pageOf(l.addrs.CallDirectFuncs)); err != nil {
		return err
	}
	if err := text("ftemu", labBase); err != nil {
		return err
	}
	if err := l.Mem.Map(pageOf(l.addrs.traceOp), emu.PageSize, emu.PermRW, "kernel data"); err != nil {
		return err
	}
	if err := l.Mem.WriteU64(l.addrs.traceOp, l.addrs.ListEnd); err != nil {
		return err
	}
	spec := trampoline.CallerSpec{Addr: l.addrs.FtraceCaller, Func: l.addrs.FtraceStub, OpPtr: l.addrs.traceOp}
	if err := l.install(trampoline.FtraceStub(l.addrs.FtraceStub, spec.Return)); err != nil {
		return err
	}
	if err := l.install(trampoline.Fentry(l.addrs.fentry, spec.Return)); err != nil {
		return err
	}
	plain, err := trampoline.FtraceCaller(spec)
	if err := l.install(plain, err); err != nil {
		return err
	}
	spec.Addr = l.addrs.FtraceRegsCaller
	regs, err := trampoline.FtraceRegsCaller(spec)
	if err := l.install(regs, err); err != nil {
		return err
	}
	l.tramps.setStatic(plain, regs)
	for _, s := range []struct {
		name string
		addr uint64
		size uint64
	}{
		{"ftrace_stub", l.addrs.FtraceStub, 0x10},
		{"__fentry__", l.addrs.fentry, 0x10},
		// The kernel's inner labels are symbols too, so that these two end at
		// the first of them.
		{"ftrace_caller", l.addrs.FtraceCaller, 0x67},
		{"ftrace_regs_caller", l.addrs.FtraceRegsCaller, 0x58},
		{"ftrace_ops_assist_func", l.addrs.AssistFunc, 0xd0},
		{"arch_ftrace_ops_list_func", l.addrs.ListFunc, 0x1d0},
		{"call_direct_funcs", l.addrs.CallDirectFuncs, 0x30},
	} {
		l.Symbols.Add(guest.Symbol{Name: s.name, Addr: s.addr, Size: s.size, Func: true})
	}
	for _, code := range []trampoline.Code{plain, regs} {
		names := code.LabelNames()
		for i, name := range names {
			end := uint64(len(code.Bytes))
			if i+1 < len(names) {
				end = code.Labels[names[i+1]]
			}
			at := code.Labels[name]
			l.Symbols.Add(guest.Symbol{Name: name, Addr: code.Addr + at, Size: end - at, Func: true})
		}
	}
	return nil
}

// installCaller emits ftemu_call(fn): it calls the function in rax with the
// argument registers as they are and returns its value.
func (l *Lab) installCaller() error {
	a := trampoline.NewAsm("ftemu_call", callerIP)
	a.Push(trampoline.RBP)
	a.Mov(trampoline.RBP, trampoline.RSP)
	a.CallReg(trampoline.RAX)
	a.Pop(trampoline.RBP)
	a.Ret(trampoline.Return{})
	if err := l.install(a.Code()); err != nil {
		return err
	}
	l.caller, l.returnIP = callerIP, returnIP
	for _, s := range []struct {
		name string
		addr uint64
	}{{"ftemu_call", callerIP}, {"ftemu_return", returnIP}, {"ftemu_callback", callbackIP},
		{"ftemu_direct_log", directLogIP}, {"ftemu_directexit_log", directEndIP},
		{"ftemu_own_callback", ownCallbackIP}} {
		l.Symbols.Add(guest.Symbol{Name: s.name, Addr: s.addr, Size: 0x10, Func: true})
	}
	return nil
}

// install writes finished code to where it belongs.
func (l *Lab) install(c trampoline.Code, err error) error {
	if err != nil {
		return err
	}
	return l.Poker.WriteEarly(c.Addr, c.Bytes)
}

func (l *Lab) mapStacks() error {
	for i := range l.Machine.NumCPU() {
		if err := l.Mem.Map(stackBase+uint64(i)*stackPitch, stackSize, emu.PermRW, fmt.Sprintf("stack of CPU %d", i)); err != nil {
			return err
		}
	}
	return nil
}

// addGates puts Go functions where the kernel has C functions that trampolines
// call. Where the guest is the built-in one, its own names and addresses serve.
func (l *Lab) addGates() error {
	l.callback, l.directMem = callbackIP, directBase
	l.directLog, l.directEnd = directLogIP, directEndIP
	if l.guest.Module == guest.OracleModule {
		l.callback, l.directLog, l.directEnd = guest.OracleCallback, guest.OracleDirectLog, guest.OracleDirectExitLog
		l.directMem = guest.OracleTrampolines
		if err := l.addGate(guest.OracleBodyLog, l.logBody); err != nil {
			return err
		}
	}
	for addr, fn := range map[uint64]emu.GateFunc{
		l.callback: l.callbackGate, l.directLog: l.logDirect, l.directEnd: l.logDirectExit, ownCallbackIP: l.ownCallback,
		l.addrs.ListFunc: l.listGate, l.addrs.AssistFunc: l.assistGate, l.addrs.CallDirectFuncs: l.callDirectGate,
	} {
		if err := l.addGate(addr, fn); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) addGate(addr uint64, fn emu.GateFunc) error {
	name, _, _ := l.Symbols.Name(addr)
	return l.gates.Add(emu.Gate{Addr: addr, Name: name, Func: fn})
}
