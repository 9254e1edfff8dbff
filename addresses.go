package ftemu

import (
	"fmt"

	"ftemu/ftracecore"
	"ftemu/ftracecore/bpf"
	"ftemu/guest"
)

// kernelAddrs are where the core kernel's code and data lie that take part in
// tracing.
type kernelAddrs struct {
	ftracecore.Addresses
	fentry  uint64 // __fentry__
	traceOp uint64 // the variable function_trace_op

	functionTrace, graphFunc       uint64 // function_trace_call, ftrace_graph_func
	returnHandler, returnToHandler uint64 // ftrace_return_to_handler, return_to_handler
	globalOps, graphOps            uint64

	bpfTrampEnter, bpfTrampExit uint64
	bpfGuards                   [bpf.NumVariants]bpfGuard
}

// A bpfGuard is what a BPF trampoline calls around programs of one variant.
type bpfGuard struct{ enter, exit uint64 }

// recordedAddrs are those of the kernel of the recordings: Debian's
// 6.1.0-56-amd64 without address randomisation. BPF functions and those of tracers
// that the recorded images do not show lie where there is room.
func recordedAddrs() kernelAddrs {
	return kernelAddrs{
		Addresses: ftracecore.Addresses{
			FtraceStub:       0xffffffff81076630,
			FtraceCaller:     0xffffffff81076660,
			FtraceRegsCaller: 0xffffffff81076730,
			AssistFunc:       0xffffffff811ae600,
			ListFunc:         0xffffffff811af770,
			CallDirectFuncs:  0xffffffff811b0db0,
			ListEnd:          0xffffffff82c3d4a0,
			DirectOps:        0xffffffff82b3ba80,
			StubOps:          0xffffffff82b3bc80,
			TmpOps:           0xffffffff82b3be80,
		},
		fentry:  guest.FentryAddr,
		traceOp: 0xffffffff82c3d478,

		functionTrace:   0xffffffff811e0100,
		graphFunc:       0xffffffff811e0200,
		returnHandler:   0xffffffff811e0300,
		returnToHandler: 0xffffffff810768d0,
		globalOps:       0xffffffff82b3c080,
		graphOps:        0xffffffff82b3c280,

		bpfTrampEnter: 0xffffffff8123f750,
		bpfTrampExit:  0xffffffff8123f780,
		bpfGuards: [bpf.NumVariants]bpfGuard{
			bpf.Plain:          {0xffffffff8123ee60, 0xffffffff8123f0e0},
			bpf.Recur:          {0xffffffff8123eef0, 0xffffffff8123f110},
			bpf.SleepableRecur: {0xffffffff8123ef80, 0xffffffff8123f1a0},
			bpf.Sleepable:      {0xffffffff8123f000, 0xffffffff8123f230},
		},
	}
}

// addrsOf takes the addresses from the symbols of a whole kernel. Without the
// functions that sites call there is no tracing; what else a kernel does not have
// is put on the lab's own page.
func addrsOf(img *guest.Image) (kernelAddrs, error) {
	a := recordedAddrs()
	for _, s := range []struct {
		name string
		addr *uint64
	}{
		{"ftrace_stub", &a.FtraceStub},
		{"ftrace_caller", &a.FtraceCaller},
		{"ftrace_regs_caller", &a.FtraceRegsCaller},
		{"ftrace_ops_assist_func", &a.AssistFunc},
		{"arch_ftrace_ops_list_func", &a.ListFunc},
		{"ftrace_list_end", &a.ListEnd},
		{"function_trace_op", &a.traceOp},
		{"__fentry__", &a.fentry},
	} {
		addr, ok := img.Symbols.Lookup(s.name)
		if !ok {
			return a, fmt.Errorf("%s: no symbol %s, expected a kernel with CONFIG_DYNAMIC_FTRACE_WITH_REGS", img.Name, s.name)
		}
		*s.addr = addr
	}
	room := uint64(elsewhereBase)
	elsewhere := func() uint64 {
		room += elsewhereRoom
		return room - elsewhereRoom
	}
	optional := func(name string, addr *uint64) {
		var ok bool
		if *addr, ok = img.Symbols.Lookup(name); !ok {
			*addr = elsewhere()
		}
	}
	optional("call_direct_funcs", &a.CallDirectFuncs)
	optional("direct_ops", &a.DirectOps)
	optional("function_trace_call", &a.functionTrace)
	optional("ftrace_graph_func", &a.graphFunc)
	optional("ftrace_return_to_handler", &a.returnHandler)
	optional("return_to_handler", &a.returnToHandler)
	optional("global_ops", &a.globalOps)
	optional("graph_ops", &a.graphOps)
	optional("__bpf_tramp_enter", &a.bpfTrampEnter)
	optional("__bpf_tramp_exit", &a.bpfTrampExit)
	for v := range a.bpfGuards {
		enter, exit := bpf.Variant(v).Functions()
		optional(enter, &a.bpfGuards[v].enter)
		optional(exit, &a.bpfGuards[v].exit)
	}
	// Local to functions: a table of symbols does not tell whose they are.
	a.StubOps, a.TmpOps = elsewhere(), elsewhere()
	return a, nil
}
