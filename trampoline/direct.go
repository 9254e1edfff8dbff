package trampoline

import "fmt"

// A DirectKind says what a direct trampoline does after it has logged its entry.
type DirectKind uint8

// The kinds of direct trampolines.
const (
	// Pass goes on to what its return slot holds, the body as a rule.
	Pass DirectKind = iota + 1
	// Share calls what its return slot holds, logs the result and returns to
	// the traced function's caller: a BPF image with ORIG_STACK does so.
	Share
	// Orig calls a fixed body whatever its return slot holds, logs the result
	// and returns to the traced function's caller: a BPF image without
	// ORIG_STACK does so.
	Orig
	// Skip returns to the traced function's caller without running a body. It
	// logs no exit.
	Skip
)

var directNames = [...]string{Pass: "pass", Share: "share", Orig: "orig", Skip: "skip"}

// String returns the kind's name.
func (k DirectKind) String() string {
	if k >= Pass && k <= Skip {
		return directNames[k]
	}
	return fmt.Sprintf("DirectKind(%d)", uint8(k))
}

// SkipValue is what a Skip trampoline returns in the traced function's stead.
const SkipValue = 777

// DirectSpec describes a direct trampoline.
type DirectSpec struct {
	Kind DirectKind
	Addr uint64
	// ID is handed to the logging functions, so that they know the trampoline.
	ID uint64
	// LogEntry is called as LogEntry(ID, content of the return slot, first
	// argument, second argument) before anything else happens.
	LogEntry uint64
	// LogExit is called as LogExit(ID, return value) after the body has
	// returned. Share and Orig only.
	LogExit uint64
	// Body is the address behind the site that Orig calls. Orig only.
	Body   uint64
	Return Return
}

// Slots of a direct trampoline's frame, from rbp.
const (
	directSlot = 8     // return slot: the address after the site, or what a callback put there
	directRAX  = -0x08 // rax at entry, later the return value
	directArgs = -0x10 // six argument registers, downwards
	directRBX  = -0x40 // the caller's rbx, Share only
)

// Direct returns a direct trampoline. On entry the stack holds the return slot
// and above it the return address of the traced function's caller, as after the
// call at a site or through ftrace_regs_caller's direct exit. All six argument
// registers and rax reach the body unchanged, callee-saved registers are
// preserved, and the stack is aligned to 16 bytes at calls if it was so at the
// call of the traced function (whose site must be at its entry).
func Direct(s DirectSpec) (Code, error) {
	a := NewAsm("direct "+s.Kind.String(), s.Addr)
	frame := int32(0x38)
	if s.Kind == Share {
		frame = 0x48 // rbx too, and one word to keep the alignment
	}
	a.Push(RBP)
	a.Mov(RBP, RSP)
	a.SubImm(RSP, frame)
	a.Store(At(RBP, directRAX), RAX)
	for i, r := range argRegs {
		a.Store(At(RBP, directArg(i)), r)
	}
	a.Note("log the entry: id, return slot, first two arguments")
	a.MovImm(RDI, s.ID)
	a.Load(RSI, At(RBP, directSlot))
	a.Load(RDX, At(RBP, directArg(0)))
	a.Load(RCX, At(RBP, directArg(1)))
	a.Call(s.LogEntry)
	switch s.Kind {
	case Pass:
		a.restoreDirect()
		a.Leave()
		a.Note("into the body, through the return slot")
		a.Ret(s.Return)
	case Share:
		a.Store(At(RBP, directRBX), RBX)
		a.restoreDirect()
		a.Note("call what the return slot holds")
		a.Load(RBX, At(RBP, directSlot))
		a.CallReg(RBX)
		a.logExit(s)
		a.Load(RBX, At(RBP, directRBX))
		a.leaveDropping(s.Return)
	case Orig:
		a.restoreDirect()
		a.Note("call the body, whatever the return slot holds")
		a.Call(s.Body)
		a.logExit(s)
		a.leaveDropping(s.Return)
	case Skip:
		a.MovImm(RAX, SkipValue)
		a.leaveDropping(s.Return)
	default:
		a.fail(0, ErrInvalid, "kind %s, expected pass, share, orig or skip", s.Kind)
	}
	return a.Code()
}

// directArg is the slot of argument i.
func directArg(i int) int32 { return directArgs - 8*int32(i) }

func (a *Asm) restoreDirect() {
	for i, r := range argRegs {
		a.Load(r, At(RBP, directArg(i)))
	}
	a.Load(RAX, At(RBP, directRAX))
}

// logExit logs the return value and keeps it.
func (a *Asm) logExit(s DirectSpec) {
	a.Store(At(RBP, directRAX), RAX)
	a.Note("log the exit: id, return value")
	a.MovImm(RDI, s.ID)
	a.Mov(RSI, RAX)
	a.Call(s.LogExit)
	a.Load(RAX, At(RBP, directRAX))
}

// leaveDropping returns to the traced function's caller.
func (a *Asm) leaveDropping(r Return) {
	a.Leave()
	a.Note("drop the return slot: return to the parent")
	a.AddImm(RSP, 8)
	a.Ret(r)
}
