package ftemu

import (
	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/ftracecore/fgraph"
	"ftemu/ftracecore/functracer"
	"ftemu/guest"
	"ftemu/trampoline"
)

// tracerFuncSize is how much room each function of the tracers is given in the
// table of symbols, in bytes.
const tracerFuncSize = 0x40

// addTracers makes the function and the function_graph tracer, with gates for the
// kernel's C functions and return_to_handler as code.
func (l *Lab) addTracers(opt Options) error {
	function := l.staticOps("function", l.addrs.globalOps, functracer.Flags, l.addrs.functionTrace,
		func(ip, parent uint64, _ *ftracecore.Ops, regs ftracecore.Regs) {
			l.Function.Call(regs.(*frame).cpu, ip, parent)
		})
	l.Function = functracer.New(l.Core, function, opt.Tracer)
	graph := l.staticOps("function_graph", l.addrs.graphOps, fgraph.Flags, l.addrs.graphFunc,
		func(ip, _ uint64, _ *ftracecore.Ops, regs ftracecore.Regs) {
			f := regs.(*frame)
			l.Graph.Enter(f.cpu, ip, returnSlot{f, f.reg(trampoline.RegsSP)})
		})
	l.Graph = fgraph.New(l.Core, graph, l.addrs.returnToHandler, max(opt.CPUs, 1), opt.Tracer)
	for _, g := range []struct {
		name string
		addr uint64
		fn   emu.GateFunc
	}{
		{"function_trace_call", l.addrs.functionTrace, l.callbackGate},
		{"ftrace_graph_func", l.addrs.graphFunc, l.callbackGate},
		{"ftrace_return_to_handler", l.addrs.returnHandler, l.returnGate},
	} {
		if err := l.needText(g.addr); err != nil {
			return err
		}
		l.addSymbol(guest.Symbol{Name: g.name, Addr: g.addr, Size: tracerFuncSize, Func: true})
		if err := l.addGate(g.addr, g.fn); err != nil {
			return err
		}
	}
	if _, ok := l.Symbols.Lookup("return_to_handler"); ok {
		return nil // a whole kernel's own
	}
	if err := l.needText(l.addrs.returnToHandler); err != nil {
		return err
	}
	code, err := trampoline.ReturnToHandler(l.addrs.returnToHandler, l.addrs.returnHandler, trampoline.Return{})
	l.Symbols.Add(guest.Symbol{Name: "return_to_handler", Addr: code.Addr, Size: uint64(len(code.Bytes)), Func: true})
	return l.install(code, err)
}

// staticOps makes an ops of the core kernel, whose callback lies at addr.
func (l *Lab) staticOps(name string, obj uint64, flags ftracecore.OpsFlags, addr uint64, fn ftracecore.Callback) *ftracecore.Ops {
	ops := &ftracecore.Ops{Name: name, Addr: obj, Flags: flags, Static: true, Func: &ftracecore.Func{Addr: addr, Call: fn}}
	l.ops[obj] = ops
	return ops
}

// needText maps the page of kernel code that holds addr, unless it is.
func (l *Lab) needText(addr uint64) error {
	if l.Mem.Page(addr) != nil {
		return nil
	}
	return l.Mem.Map(pageOf(addr), emu.PageSize, emu.PermRX, "kernel text")
}

// returnGate is ftrace_return_to_handler(frame pointer).
func (l *Lab) returnGate(c emu.CPU) error {
	addr, err := l.Graph.Return(c.ID())
	c.Regs().GPR[emu.RAX] = addr
	return err
}

// A returnSlot is the word of the stack that holds a function's return address.
type returnSlot struct {
	f    *frame
	addr uint64
}

// Get reads the return address.
func (s returnSlot) Get() uint64 {
	v, err := s.f.mem.ReadU64(s.addr)
	if err != nil && s.f.err == nil {
		s.f.err = err
	}
	return v
}

// Set replaces it.
func (s returnSlot) Set(v uint64) {
	if err := s.f.mem.WriteU64(s.addr, v); err != nil && s.f.err == nil {
		s.f.err = err
	}
}
