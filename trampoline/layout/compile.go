package layout

import (
	"errors"
	"fmt"
	"slices"

	"ftemu/trampoline"
)

// callAlign is what must divide rsp at a call (System V ABI, 3.2.2).
const callAlign = 16

// ErrMisaligned is in the error about a call with a misaligned stack.
var ErrMisaligned = errors.New("misaligned call")

// callsAny tells whether the layout calls anything.
func (l *Layout) callsAny() bool {
	return slices.ContainsFunc(l.steps, func(s step) bool { return s.op.calls() })
}

// A misaligned is the error of CheckAlignment.
type misaligned struct{ text string }

func (e misaligned) Error() string        { return e.text }
func (e misaligned) Is(target error) bool { return target == ErrMisaligned }

// CheckAlignment looks for a call at which rsp is not aligned to 16 bytes. A
// trampoline is entered with rsp aligned, as its return slot is the second word
// above an aligned one. The error wraps ErrMisaligned.
func (l *Layout) CheckAlignment() error {
	over := l.depth() % callAlign
	if over == 0 {
		return nil
	}
	for _, s := range l.steps {
		if s.op.calls() {
			return &Error{l.file, s.line, misaligned{fmt.Sprintf("call with a misaligned stack: the frame takes %#x bytes in all, expected a multiple of %d", l.depth(), callAlign)}}
		}
	}
	return nil
}

// Make compiles the layout.
func (l *Layout) Make(e trampoline.Env) (trampoline.Placed, error) {
	if err := l.CheckAlignment(); err != nil {
		return trampoline.Placed{}, err
	}
	return l.MakeUnchecked(e)
}

// MakeUnchecked is Make for a layout that may call with a misaligned stack: to
// watch what comes of it.
func (l *Layout) MakeUnchecked(e trampoline.Env) (trampoline.Placed, error) {
	c := compiler{Asm: trampoline.NewAsm(l.name, e.Addr), l: l, env: e}
	if l.pointer {
		c.Push(trampoline.RBP)
		c.Mov(trampoline.RBP, trampoline.RSP)
	}
	if l.size > 0 {
		c.Note("frame of %#x bytes", l.size)
		c.moveStack(-l.size)
	}
	for _, s := range l.steps {
		if err := c.step(s); err != nil {
			return trampoline.Placed{}, &Error{l.file, s.line, err}
		}
	}
	code, err := c.Code()
	if err != nil {
		return trampoline.Placed{}, fmt.Errorf("%s: %w", l.file, err)
	}
	return trampoline.Placed{Code: code}, nil
}

// A compiler emits the code of one layout.
type compiler struct {
	*trampoline.Asm
	l   *Layout
	env trampoline.Env
}

// scratch carries values between slots: no argument, not preserved by
// functions, and kept by no trampoline of the kernel.
const scratch = trampoline.R11

// argRegs are the registers of arguments.
var argRegs = [maxArgs]trampoline.Reg{trampoline.RDI, trampoline.RSI, trampoline.RDX, trampoline.RCX, trampoline.R8, trampoline.R9}

// slot is the operand of slot i.
func (c *compiler) slot(i int) trampoline.Mem {
	return trampoline.At(trampoline.RSP, int32(c.l.slots[i].off))
}

// above is the operand of the n-th word from the return slot upwards.
func (c *compiler) above(n int64) trampoline.Mem {
	return trampoline.At(trampoline.RSP, int32(c.l.depth()+8*n))
}

func (c *compiler) step(s step) error {
	switch s.op {
	case opSave:
		c.save(s)
	case opRestore:
		c.restore(s)
	case opSet:
		c.Note("%s", s.text)
		c.set(s.place, s.value)
	case opCall:
		return c.call(s)
	case opCallOriginal:
		c.Note("%s", s.text)
		c.Load(scratch, c.above(0))
		c.CallReg(scratch)
	case opCallBody:
		body, err := c.body()
		if err != nil {
			return err
		}
		c.Note("%s", s.text)
		c.Call(body)
	case opToReturn:
		c.leaveFrame(s)
		c.Ret(c.env.Return)
	case opToParent:
		c.leaveFrame(s)
		c.Note("drop the return slot")
		c.moveStack(8)
		c.Ret(c.env.Return)
	case opToBody:
		body, err := c.body()
		if err != nil {
			return err
		}
		c.leaveFrame(s)
		c.Note("drop the return slot")
		c.moveStack(8)
		c.Jmp(body)
	case opToName:
		addr, err := c.env.Symbol(s.target)
		if err != nil {
			return err
		}
		c.leaveFrame(s)
		c.Jmp(addr)
	}
	return nil
}

// body is the address behind the site.
func (c *compiler) body() (uint64, error) {
	if c.env.Body == 0 {
		return 0, fmt.Errorf("body is meant for one function, expected to be told which")
	}
	return c.env.Body, nil
}

func (c *compiler) save(s step) {
	name := c.l.slots[s.slot].name
	if s.reg.flags {
		c.Note("flags to slot %s", name)
		c.PushFlags()
		c.PopMem(c.slot(s.slot))
		return
	}
	c.Note("to slot %s", name)
	c.Store(c.slot(s.slot), s.reg.reg)
}

func (c *compiler) restore(s step) {
	name := c.l.slots[s.slot].name
	if s.reg.flags {
		c.Note("flags from slot %s", name)
		c.PushMem(c.slot(s.slot))
		c.PopFlags()
		return
	}
	c.Note("from slot %s", name)
	c.Load(s.reg.reg, c.slot(s.slot))
}

// set stores a value.
func (c *compiler) set(to place, v value) {
	m := c.above(0)
	switch to.kind {
	case toResult:
		c.load(trampoline.RAX, v)
		return
	case toSlot:
		m = c.slot(to.slot)
	}
	switch {
	case v.kind == isNumber && fitsImm32(v.num):
		c.StoreImm(m, int32(v.num))
	case v.kind == isResult:
		c.Store(m, trampoline.RAX)
	default:
		c.load(scratch, v)
		c.Store(m, scratch)
	}
}

// load loads a value into a register.
func (c *compiler) load(r trampoline.Reg, v value) {
	switch v.kind {
	case isNumber:
		c.MovImm(r, v.num)
	case isSlot:
		c.Load(r, c.slot(v.slot))
	case isAddress:
		c.Lea(r, c.slot(v.slot))
	case isFrame:
		c.Mov(r, trampoline.RSP)
	case isReturnPtr:
		c.Lea(r, c.above(0))
	case isReturn:
		c.Load(r, c.above(0))
	case isSite:
		c.Load(r, c.above(0))
		c.SubImm(r, 5)
	case isParent:
		c.Load(r, c.above(1))
	case isResult:
		if r != trampoline.RAX {
			c.Mov(r, trampoline.RAX)
		}
	case isID:
		c.MovImm(r, c.env.ID)
	}
}

// call emits a call by name. Arguments come from memory, from rax or from
// nowhere, so that none is overwritten before it is read.
func (c *compiler) call(s step) error {
	addr, err := c.env.Symbol(s.target)
	if err != nil {
		return err
	}
	c.Note("%s", s.text)
	for i, a := range s.args {
		c.load(argRegs[i], a)
	}
	c.Call(addr)
	return nil
}

// leaveFrame brings rsp back to the return slot.
func (c *compiler) leaveFrame(s step) {
	c.Note("%s", s.text)
	switch {
	case c.l.pointer:
		c.Leave()
	case c.l.size > 0:
		c.moveStack(c.l.size)
	}
}

// moveStack adds to rsp; in a layout with flags among its registers so that
// they stay as they are.
func (c *compiler) moveStack(n int64) {
	switch {
	case c.l.hasFlags():
		c.Lea(trampoline.RSP, trampoline.At(trampoline.RSP, int32(n)))
	case n < 0:
		c.SubImm(trampoline.RSP, int32(-n))
	default:
		c.AddImm(trampoline.RSP, int32(n))
	}
}

func (l *Layout) hasFlags() bool {
	return slices.ContainsFunc(l.steps, func(s step) bool {
		return (s.op == opSave || s.op == opRestore) && s.reg.flags
	})
}
