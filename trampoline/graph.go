package trampoline

// ReturnToHandler is return_to_handler, to which functions return whose return
// address the function_graph tracer has taken: it saves what they return, calls
// handler(frame pointer), which gives the address that was taken, and goes there.
// The call over an int3 makes a return of what would be an indirect jump, so that
// the processor's stack of return addresses stays balanced.
// Source: arch/x86/kernel/ftrace_64.S of Linux 6.1.
func ReturnToHandler(addr, handler uint64, r Return) (Code, error) {
	a := NewAsm("return_to_handler", addr)
	a.SubImm(RSP, 16)
	a.Store(At(RSP, 0), RAX)
	a.Store(At(RSP, 8), RDX)
	a.Mov(RDI, RBP)
	a.Call(handler)
	a.Mov(RDI, RAX)
	a.Load(RDX, At(RSP, 8))
	a.Load(RAX, At(RSP, 0))
	a.AddImm(RSP, 16)
	const call, trap = 5, 1 // sizes
	a.Call(a.Addr() + call + trap)
	a.Int3()
	a.Store(At(RSP, 0), RDI)
	a.textRet(r)
	return a.Code()
}
