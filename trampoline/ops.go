package trampoline

// OpsSpec describes a trampoline that serves one ftrace_ops.
type OpsSpec struct {
	Addr     uint64
	Func     uint64 // what it calls: the callback, or ftrace_ops_assist_func
	Ops      uint64 // address of the ops, handed to Func
	SaveRegs bool   // a copy of ftrace_regs_caller rather than ftrace_caller
	Return   Return
}

// OpsTrampoline is what create_trampoline makes: a copy of one of the callers up
// to its first return, that return, and the ops pointer, which the copy loads
// instead of function_trace_op. The SAVE_REGS copy does not serve direct calls:
// two bytes of nop take the place of the jump to them.
// Source: arch/x86/kernel/ftrace.c of Linux 6.1 with CONFIG_RETPOLINE.
func OpsTrampoline(s OpsSpec) (Code, error) {
	a := NewAsm("ftrace_trampoline", s.Addr)
	loadOps := func() { a.LoadLabel(RDX, LabelOps) }
	if s.SaveRegs {
		a.regsCaller(loadOps, s.Func, func() { a.Nop(2) })
	} else {
		a.caller(loadOps, s.Func)
	}
	a.retFilled(s.Return, 0)
	a.Label(LabelOps)
	a.Quad(s.Ops)
	return a.Code()
}
