package ftemu

import (
	"slices"

	"ftemu/ftracecore"
	"ftemu/trampoline"
)

// A Trampoline is code that sites lead to, as it is in memory.
type Trampoline struct {
	// Code has the labels and comments of the generator where the lab has made it.
	Code trampoline.Code
	// Frame names the words of its stack frame; nil where nobody has named them.
	Frame []trampoline.Slot
}

// TrampolineAt returns the trampoline that begins at the address: one of the two
// static ones, one of an ops, or a direct function.
func (l *Lab) TrampolineAt(addr uint64) (Trampoline, bool) {
	t, ok := l.trampolineAt(addr)
	if !ok {
		return t, false
	}
	// Calls in it may have been patched since it was made. Its page is mapped as
	// long as it is in use.
	t.Code.Bytes = slices.Clone(t.Code.Bytes)
	return t, l.Mem.Read(addr, t.Code.Bytes) == nil
}

func (l *Lab) trampolineAt(addr uint64) (Trampoline, bool) {
	if addr == l.addrs.FtraceCaller || addr == l.addrs.FtraceRegsCaller {
		return l.staticTrampoline(addr)
	}
	for _, d := range l.directs {
		if d.addr == addr {
			return Trampoline{d.code, d.frame}, true
		}
	}
	for im, code := range l.bpf.code {
		if im.Addr == addr && len(code.Bytes) > 0 {
			return Trampoline{code, code.Frame}, true
		}
	}
	for ops, call := range l.tramps.callIP {
		if call != 0 && pageOf(call) == addr {
			return l.opsTrampoline(ops, addr)
		}
	}
	return Trampoline{}, false
}

// staticTrampoline is one of the two that belong to the kernel.
func (l *Lab) staticTrampoline(addr uint64) (Trampoline, bool) {
	name, generate := "ftrace_caller", trampoline.FtraceCaller
	if addr == l.addrs.FtraceRegsCaller {
		name, generate = "ftrace_regs_caller", trampoline.FtraceRegsCaller
	}
	if l.guest.Kernel != nil {
		return l.kernelTrampoline(name, addr)
	}
	code, err := generate(trampoline.CallerSpec{Addr: addr, Func: l.StaticCall(addr), OpPtr: l.addrs.traceOp})
	return builtinTrampoline(name, code, err)
}

// kernelTrampoline is the code of a kernel that is the guest.
func (l *Lab) kernelTrampoline(name string, addr uint64) (Trampoline, bool) {
	size := uint64(staticRoom)
	if sym, ok := l.Symbols.At(addr); ok && sym.Size > 0 {
		size = sym.Size
	}
	return builtinTrampoline(name, trampoline.Code{Addr: addr, Bytes: make([]byte, size)}, nil)
}

// opsTrampoline is that of an ops.
func (l *Lab) opsTrampoline(ops *ftracecore.Ops, addr uint64) (Trampoline, bool) {
	for _, regs := range []bool{false, true} {
		code, err := trampoline.OpsTrampoline(trampoline.OpsSpec{
			Addr: addr, Func: l.tramps.CallTarget(ops), Ops: ops.Addr, SaveRegs: regs, Return: trampoline.Return{SLS: true},
		})
		name, label := "ops", trampoline.LabelCall
		if regs {
			name, label = "ops-regs", trampoline.LabelRegsCall
		}
		if call, ok := code.Label(label); ok && call == l.tramps.callIP[ops] {
			return builtinTrampoline(name, code, err)
		}
	}
	return Trampoline{}, false
}

// builtinTrampoline names code and the frame of a built-in layout.
func builtinTrampoline(name string, code trampoline.Code, err error) (Trampoline, bool) {
	if err != nil {
		return Trampoline{}, false
	}
	layout, err := trampoline.NewBuiltin(name, trampoline.BuiltinOptions{})
	if err != nil {
		return Trampoline{}, false
	}
	code.Name = name
	return Trampoline{code, layout.Frame()}, true
}
