package trampoline

import "ftemu/x86"

// Return says how code returns, which depends on the mitigations in force. The
// zero value is a bare ret.
type Return struct {
	// SLS puts an int3 behind each ret, against straight-line speculation.
	SLS bool
	// Thunk, if not 0, is the return thunk: code jumps there instead of
	// executing ret (retbleed and its successors).
	Thunk uint64
	// ITS says that Thunk is its_return_thunk, against indirect target selection:
	// that only affects the lower half of a cache line, so that the callers and
	// their copies keep a ret that lies in the upper half (cpu_wants_rethunk_at).
	// BPF images do not make the difference (emit_return).
	ITS bool
}

// at is how code returns from an instruction at addr.
func (r Return) at(addr uint64) Return {
	if r.ITS && addr&0x20 != 0 {
		r.Thunk = 0
	}
	return r
}

// retSlot is the room for a return in code that the kernel patches when it
// boots: a jump to the return thunk fits.
const retSlot = 5

// Ret emits a return.
func (a *Asm) Ret(r Return) {
	if r.Thunk != 0 {
		a.Jmp(r.Thunk)
		return
	}
	a.bytes(x86.OpRet)
	if r.SLS {
		a.Int3()
	}
}

// retFilled emits a return and fills its slot of five bytes.
func (a *Asm) retFilled(r Return, fill byte) {
	end := a.Off() + retSlot
	a.Ret(r.at(a.Addr()))
	if n := int(end - a.Off()); n > 0 {
		a.Filler(fill, n)
	}
}
