package trampoline

import (
	"fmt"
	"strings"

	"ftemu/x86"
)

// A BPFFlag chooses what a BPF image does (BPF_TRAMP_F_* in the kernel).
type BPFFlag uint16

// The flags of a BPF image.
const (
	RestoreRegs  BPFFlag = 1 << iota // load the arguments again before returning into the body
	CallOrig                         // call the traced function's body and run programs after it
	SkipFrame                        // drop the return slot: return to the traced function's caller
	IPArg                            // keep the function's address for bpf_get_func_ip
	RetFentryRet                     // return what the (one) fentry program returned
	OrigStack                        // call what the return slot holds rather than the body
	TailCallCtx                      // hand the tail call counter in rax on
)

var bpfFlagNames = [...]string{
	"RESTORE_REGS", "CALL_ORIG", "SKIP_FRAME", "IP_ARG", "RET_FENTRY_RET", "ORIG_STACK", "TAIL_CALL_CTX",
}

// String returns the names of the flags with | between them.
func (f BPFFlag) String() string {
	var names []string
	for i, n := range bpfFlagNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	if rest := f >> len(bpfFlagNames); rest != 0 {
		names = append(names, fmt.Sprintf("%#x", uint16(rest<<len(bpfFlagNames))))
	}
	return strings.Join(names, "|")
}

// A BPFProg is one program that an image runs.
type BPFProg struct {
	Prog   uint64 // address of struct bpf_prog
	Func   uint64 // its code
	Insns  uint64 // its instructions, where Func is the interpreter; 0 for compiled programs
	Cookie uint64 // of the link
	Enter  uint64 // the variant of __bpf_prog_enter
	Exit   uint64 // the variant of __bpf_prog_exit
}

// BPFSpec describes a BPF image.
type BPFSpec struct {
	Addr  uint64
	Flags BPFFlag
	// Args are the sizes of the traced function's arguments in bytes. One
	// larger than a register takes several.
	Args []int
	Func uint64 // the traced function
	// Endbr says that Func begins with a landing pad, so that its site is
	// four bytes on.
	Endbr bool
	IBT   bool // the image is to begin with a landing pad itself

	// The programs of each type, in the order in which they run.
	Fentry, FmodRet, Fexit []BPFProg

	Image                 uint64 // address of struct bpf_tramp_image; CallOrig only
	TrampEnter, TrampExit uint64 // __bpf_tramp_enter and __bpf_tramp_exit; CallOrig only
	Return                Return
}

// Labels of a BPF image that calls the body, by the names of the fields of
// struct bpf_tramp_image that hold them.
const (
	LabelIPAfterCall = "ip_after_call" // five bytes of nop, made a jump to ip_epilogue when the image is retired
	LabelIPEpilogue  = "ip_epilogue"
)

// BPFMaxRegs is the largest number of argument registers of a traced function.
const BPFMaxRegs = len(argRegs)

// bpfSafety is the room that must remain in the page behind an image
// (BPF_INSN_SAFETY).
const bpfSafety = 64

// bpfFrame holds the distances of an image's stack slots below rbp.
type bpfFrame struct {
	regs   int // number of argument registers
	args   int32
	nregs  int32
	ip     int32
	runCtx int32
	size   int32
	ret    bool
}

// layout computes the frame.
func (s *BPFSpec) layout() (bpfFrame, error) {
	f := bpfFrame{ret: s.Flags&(CallOrig|RetFentryRet) != 0}
	for i, size := range s.Args {
		if size < 1 || size > 16 {
			return f, fmt.Errorf("bpf image at %#x: argument %d of %d bytes, expected 1 to 16: %w", s.Addr, i+1, size, ErrUnsupported)
		}
		f.regs += (size + 7) / 8
	}
	if f.regs > BPFMaxRegs {
		return f, fmt.Errorf("bpf image at %#x: %d argument registers, at most %d: %w", s.Addr, f.regs, BPFMaxRegs, ErrUnsupported)
	}
	if f.ret {
		f.size += 8
	}
	f.size += 8 * int32(f.regs)
	f.args = f.size
	f.size += 8
	f.nregs = f.size
	if s.Flags&IPArg != 0 {
		f.size += 8
		f.ip = f.size
	}
	f.size += 16 // cookie and saved run context
	f.runCtx = f.size
	return f, nil
}

// bpfRet is where the return value is kept, from rbp.
const bpfRet = -8

// BPF returns the image that arch_prepare_bpf_trampoline makes.
// Source: arch/x86/net/bpf_jit_comp.c of Linux 6.1.
func BPF(s BPFSpec) (Code, error) {
	f, err := s.layout()
	if err != nil {
		return Code{}, err
	}
	if s.Flags&RestoreRegs != 0 && s.Flags&SkipFrame != 0 {
		return Code{}, fmt.Errorf("bpf image at %#x: flags %s: RESTORE_REGS returns into the body, SKIP_FRAME to the parent: %w", s.Addr, s.Flags, ErrInvalid)
	}
	a := NewAsm("bpf_trampoline", s.Addr)
	a.Limit = DefaultLimit - bpfSafety
	b := bpfEmitter{Asm: a, spec: &s, frame: f}
	b.prologue()
	for i, p := range s.Fentry {
		b.invoke("fentry", i, p, s.Flags&RetFentryRet != 0)
	}
	b.fmodRet()
	if s.Flags&CallOrig != 0 {
		b.callOrig()
	}
	if len(s.FmodRet) > 0 {
		a.Align(16)
		a.Label(labelFmodDone)
	}
	for i, p := range s.Fexit {
		b.invoke("fexit", i, p, false)
	}
	b.epilogue()
	code, err := a.Code()
	code.Frame = f.slots(s.Flags)
	return code, err
}

// labelFmodDone is where an fmod_ret program that returned non-zero goes on.
const labelFmodDone = "fmod_done"

type bpfEmitter struct {
	*Asm
	spec  *BPFSpec
	frame bpfFrame
}

func (b *bpfEmitter) has(f BPFFlag) bool { return b.spec.Flags&f != 0 }

func (b *bpfEmitter) prologue() {
	if b.spec.IBT {
		b.Endbr64()
	}
	b.Push(RBP)
	b.Mov(RBP, RSP)
	b.SubImm(RSP, b.frame.size)
	if b.has(TailCallCtx) {
		b.Push(RAX)
	}
	b.Push(RBX)
	b.Note("number of argument registers")
	b.MovImm(RAX, uint64(b.frame.regs))
	b.Store(At(RBP, -b.frame.nregs), RAX)
	if b.has(IPArg) {
		b.Note("address of the function")
		b.MovImm(RAX, b.spec.Func)
		b.Store(At(RBP, -b.frame.ip), RAX)
	}
	for i := range b.frame.regs {
		b.Store(b.arg(i), argRegs[i])
	}
	if b.has(CallOrig) {
		b.Note("hold the image")
		b.MovImm(RDI, b.spec.Image)
		b.Call(b.spec.TrampEnter)
	}
}

// arg is the stack slot of argument register i.
func (b *bpfEmitter) arg(i int) Mem { return At(RBP, 8*int32(i)-b.frame.args) }

func (b *bpfEmitter) restoreArgs() {
	for i := range b.frame.regs {
		b.Load(argRegs[i], b.arg(i))
	}
}

// loadTailCallCount loads the counter that the prologue pushed below the frame.
func (b *bpfEmitter) loadTailCallCount() {
	b.LoadDisp32(RAX, At(RBP, -(b.frame.size+8)))
}

// invoke runs one program, unless its enter function returns 0.
func (b *bpfEmitter) invoke(kind string, i int, p BPFProg, saveRet bool) {
	skip := fmt.Sprintf("%s%d_exit", kind, i)
	b.Note("%s program %d: cookie", kind, i)
	b.MovImm(RDI, p.Cookie)
	b.Store(At(RBP, -b.frame.runCtx), RDI)
	b.MovImm(RDI, p.Prog)
	b.Lea(RSI, At(RBP, -b.frame.runCtx))
	b.Call(p.Enter)
	b.Note("start time, 0: do not run it")
	b.Mov(RBX, RAX)
	b.Test(RAX, RAX)
	b.JccShort(CondZ, skip)
	b.Lea(RDI, At(RBP, -b.frame.args))
	if p.Insns != 0 {
		b.MovImm(RSI, p.Insns)
	}
	b.Call(p.Func)
	if saveRet {
		b.Store(At(RBP, bpfRet), RAX)
	}
	b.Label(skip)
	b.MovImm(RDI, p.Prog)
	b.Mov(RSI, RBX)
	b.Lea(RDX, At(RBP, -b.frame.runCtx))
	b.Call(p.Exit)
}

// fmodRet runs the fmod_ret programs; the first that returns non-zero decides
// the return value, and the body does not run.
func (b *bpfEmitter) fmodRet() {
	if len(b.spec.FmodRet) == 0 {
		return
	}
	b.Note("return value 0 until a program says otherwise")
	b.Xor32(RAX)
	b.Store(At(RBP, bpfRet), RAX)
	for i, p := range b.spec.FmodRet {
		b.invoke("fmod_ret", i, p, true)
		b.CmpMem(At(RBP, bpfRet), 0)
		b.JccNear(CondNZ, labelFmodDone)
	}
}

// callOrig calls the body, or what the return slot holds.
func (b *bpfEmitter) callOrig() {
	b.restoreArgs()
	if b.has(TailCallCtx) {
		b.loadTailCallCount()
	}
	if b.has(OrigStack) {
		b.Note("what the return slot holds")
		b.Load(RBX, At(RBP, 8))
		b.CallReg(RBX)
	} else {
		b.Note("the body")
		b.Call(b.spec.body())
	}
	b.Store(At(RBP, bpfRet), RAX)
	b.Label(LabelIPAfterCall)
	b.Nop(5)
}

// body is the address that an image calls: behind the site where the image was
// entered from it, else the function itself.
func (s *BPFSpec) body() uint64 {
	body := s.Func
	if s.Flags&SkipFrame != 0 {
		if s.Endbr {
			body += 4
		}
		body += 5
	}
	return body
}

func (b *bpfEmitter) epilogue() {
	if b.has(RestoreRegs) {
		b.restoreArgs()
	}
	switch {
	case b.has(CallOrig):
		b.Label(LabelIPEpilogue)
		b.Note("let go of the image")
		b.MovImm(RDI, b.spec.Image)
		b.Call(b.spec.TrampExit)
	case b.has(TailCallCtx):
		b.loadTailCallCount()
	}
	if b.frame.ret {
		b.Load(RAX, At(RBP, bpfRet))
	}
	b.Pop(RBX)
	b.Leave()
	if b.has(SkipFrame) {
		b.Note("drop the return slot: return to the parent")
		b.AddImm(RSP, 8)
	}
	b.Ret(b.spec.Return)
}

// Retirement returns the change that retires an image which calls the body
// (bpf_tramp_image_put): a task that returns from the body then skips the fexit
// programs and lets go of the image. ok is false for other images.
func (c Code) Retirement() (ip uint64, old, new x86.Bytes5, ok bool) {
	ip, ok = c.Label(LabelIPAfterCall)
	if !ok {
		return 0, old, new, false
	}
	to, _ := c.Label(LabelIPEpilogue)
	new, ok = x86.EncodeJmp(ip, to)
	return ip, x86.Nop5, new, ok
}
