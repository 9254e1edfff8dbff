package trampoline

// Offsets of the registers in struct pt_regs, from rsp in a trampoline. Those
// that callbacks look at or change are exported.
const (
	ptR15      = 0x00
	ptR14      = 0x08
	ptR13      = 0x10
	ptR12      = 0x18
	ptRBP      = 0x20
	ptRBX      = 0x28
	ptR11      = 0x30
	ptR10      = 0x38
	ptR9       = 0x40
	ptR8       = 0x48
	ptRAX      = 0x50
	ptRCX      = 0x58
	ptRDX      = 0x60
	ptRSI      = 0x68
	ptRDI      = 0x70
	RegsOrigAX = 0x78
	RegsIP     = 0x80
	RegsCS     = 0x88
	ptFlags    = 0x90
	RegsSP     = 0x98
	ptSS       = 0xa0

	// RegsSize is the size of struct pt_regs in bytes.
	RegsSize = 0xa8
)

// The kernel's code and data segment selectors; a callback knows by the code
// segment in its registers whether all of them were saved.
const (
	kernelCS = 0x10
	kernelDS = 0x18
)

// Labels of the callers, by the kernel's names.
const (
	LabelOpPtr     = "ftrace_caller_op_ptr"
	LabelCall      = "ftrace_call"
	LabelEnd       = "ftrace_caller_end"
	LabelRegsOpPtr = "ftrace_regs_caller_op_ptr"
	LabelRegsCall  = "ftrace_regs_call"
	LabelRegsJmp   = "ftrace_regs_caller_jmp"
	LabelRegsEnd   = "ftrace_regs_caller_end"
	LabelOps       = "ops" // the ops pointer of an ops trampoline
)

// labelDirect is where ftrace_regs_caller goes on for a direct call.
const labelDirect = "direct"

// CallerSpec describes one of the two trampolines of the kernel's own text.
type CallerSpec struct {
	Addr   uint64
	Func   uint64 // what it calls: ftrace_stub, or the function that serves the ops
	OpPtr  uint64 // address of the variable function_trace_op
	Return Return
}

// FtraceCaller is ftrace_caller: it saves what the calling convention lets a
// callee change, calls Func(ip, parent ip, ops, regs) and returns to what regs
// then holds as instruction pointer.
// Source: arch/x86/kernel/ftrace_64.S of Linux 6.1, without CONFIG_FRAME_POINTER.
func FtraceCaller(s CallerSpec) (Code, error) {
	a := NewAsm("ftrace_caller", s.Addr)
	a.caller(func() { a.LoadRIP(RDX, s.OpPtr) }, s.Func)
	a.textRet(s.Return)
	return a.Code()
}

// FtraceRegsCaller is ftrace_regs_caller: like FtraceCaller with all registers
// saved, and an exit that jumps to the direct trampoline that a callback may
// leave in orig_rax.
// Source: arch/x86/kernel/ftrace_64.S of Linux 6.1, without CONFIG_FRAME_POINTER.
func FtraceRegsCaller(s CallerSpec) (Code, error) {
	a := NewAsm("ftrace_regs_caller", s.Addr)
	a.regsCaller(func() { a.LoadRIP(RDX, s.OpPtr) }, s.Func, func() { a.JccShort(CondNZ, labelDirect) })
	a.textRet(s.Return)
	a.directExit()
	a.textRet(s.Return)
	return a.Code()
}

// textRet emits a return in the kernel's own text: compiled as a jump to the
// return thunk, and turned into ret and int3s at boot where no thunk is needed.
func (a *Asm) textRet(r Return) {
	r.SLS = false
	a.retFilled(r, 0xcc)
}

// saveArgs allocates the register area and fills in what both callers save.
// above is the number of bytes between the area and the return slot.
func (a *Asm) saveArgs(above int32) {
	a.Note("room for struct pt_regs")
	a.SubImm(RSP, RegsSize)
	a.Store(At(RSP, ptRAX), RAX)
	a.Store(At(RSP, ptRCX), RCX)
	a.Store(At(RSP, ptRDX), RDX)
	a.Store(At(RSP, ptRSI), RSI)
	a.Store(At(RSP, ptRDI), RDI)
	a.Store(At(RSP, ptR8), R8)
	a.Store(At(RSP, ptR9), R9)
	a.Note("orig_rax: no direct call yet")
	a.StoreImm(At(RSP, RegsOrigAX), 0)
	a.Mov(RDX, RBP)
	a.Store(At(RSP, ptRBP), RDX)
	a.Note("second argument: the parent's return address")
	a.Load(RSI, At(RSP, RegsSize+above+8))
	a.Note("the return slot: the address after the site")
	a.Load(RDI, At(RSP, RegsSize+above))
	a.Store(At(RSP, RegsIP), RDI)
	a.Note("first argument: the site")
	a.SubImm(RDI, 5)
}

// restoreArgs loads what saveArgs saved, as a callback may have changed it.
func (a *Asm) restoreArgs() {
	a.Load(RBP, At(RSP, ptRBP))
	a.Load(R9, At(RSP, ptR9))
	a.Load(R8, At(RSP, ptR8))
	a.Load(RDI, At(RSP, ptRDI))
	a.Load(RSI, At(RSP, ptRSI))
	a.Load(RDX, At(RSP, ptRDX))
	a.Load(RCX, At(RSP, ptRCX))
	a.Load(RAX, At(RSP, ptRAX))
}

// caller emits ftrace_caller up to its return.
func (a *Asm) caller(loadOps func(), target uint64) {
	a.saveArgs(0)
	a.Note("rsp as the traced function's caller left it")
	a.Lea(RCX, At(RSP, RegsSize+8))
	a.Store(At(RSP, RegsSP), RCX)
	a.Label(LabelOpPtr)
	a.Note("third argument: the ops")
	loadOps()
	a.Note("fourth argument: the registers")
	a.Lea(RCX, At(RSP, 0))
	a.Note("cs 0: not all registers are here")
	a.StoreImm(At(RSP, RegsCS), 0)
	a.Label(LabelCall)
	a.Call(target)
	a.Note("return to where the callback says")
	a.Load(RAX, At(RSP, RegsIP))
	a.Store(At(RSP, RegsSize), RAX)
	a.restoreArgs()
	a.AddImm(RSP, RegsSize)
	a.Label(LabelEnd)
}

// regsCaller emits ftrace_regs_caller up to its first return. onDirect is the
// instruction that follows the test for a direct call.
func (a *Asm) regsCaller(loadOps func(), target uint64, onDirect func()) {
	const flagsSlot = RegsSize // the flags pushed on entry, above the register area
	a.PushFlags()
	a.saveArgs(8)
	a.Label(LabelRegsOpPtr)
	a.Note("third argument: the ops")
	loadOps()
	a.Store(At(RSP, ptR15), R15)
	a.Store(At(RSP, ptR14), R14)
	a.Store(At(RSP, ptR13), R13)
	a.Store(At(RSP, ptR12), R12)
	a.Store(At(RSP, ptR11), R11)
	a.Store(At(RSP, ptR10), R10)
	a.Store(At(RSP, ptRBX), RBX)
	a.Load(RCX, At(RSP, flagsSlot))
	a.Store(At(RSP, ptFlags), RCX)
	a.MovImmSigned(RCX, kernelDS)
	a.Store(At(RSP, ptSS), RCX)
	a.Note("cs: all registers are here")
	a.MovImmSigned(RCX, kernelCS)
	a.Store(At(RSP, RegsCS), RCX)
	a.Note("rsp as the traced function's caller left it")
	a.Lea(RCX, At(RSP, RegsSize+16))
	a.Store(At(RSP, RegsSP), RCX)
	a.Note("fourth argument: the registers")
	a.Lea(RCX, At(RSP, 0))
	a.Label(LabelRegsCall)
	a.Call(target)
	a.Note("flags as the callback left them")
	a.Load(RAX, At(RSP, ptFlags))
	a.Store(At(RSP, flagsSlot), RAX)
	a.Note("return to where the callback says")
	a.Load(RAX, At(RSP, RegsIP))
	a.Store(At(RSP, RegsSize+8), RAX)
	a.Load(R15, At(RSP, ptR15))
	a.Load(R14, At(RSP, ptR14))
	a.Load(R13, At(RSP, ptR13))
	a.Load(R12, At(RSP, ptR12))
	a.Load(R10, At(RSP, ptR10))
	a.Load(RBX, At(RSP, ptRBX))
	a.Note("a direct trampoline to go to?")
	a.Load(RAX, At(RSP, RegsOrigAX))
	a.Store(At(RSP, ptSS), RAX)
	a.Test(RAX, RAX)
	a.Label(LabelRegsJmp)
	onDirect()
	a.restoreArgs()
	a.AddImm(RSP, RegsSize)
	a.PopFlags()
	a.Label(LabelRegsEnd)
}

// directExit emits the way out of ftrace_regs_caller to a direct trampoline: its
// address takes the place of the saved flags, directly below the return slot,
// and the flags that of ss, so that popfq and ret find them in order.
func (a *Asm) directExit() {
	a.Label(labelDirect)
	a.Load(RDI, At(RSP, RegsSize))
	a.Store(At(RSP, ptSS), RDI)
	a.Store(At(RSP, RegsSize), RAX)
	a.restoreArgs()
	a.AddImm(RSP, ptSS)
	a.PopFlags()
	a.Note("goes to the direct trampoline")
}

// FtraceStub is ftrace_stub, the function that does nothing.
func FtraceStub(addr uint64, r Return) (Code, error) { return justRet("ftrace_stub", addr, r) }

// Fentry is __fentry__, which sites call until they are made nops.
func Fentry(addr uint64, r Return) (Code, error) { return justRet("__fentry__", addr, r) }

func justRet(name string, addr uint64, r Return) (Code, error) {
	a := NewAsm(name, addr)
	a.textRet(r)
	return a.Code()
}
