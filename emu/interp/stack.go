package interp

import (
	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// The stack: push, pop, enter, leave, and the flags on the stack.
var stackForms = []form{
	{x86asm.PUSH, inside, buildPush},
	{x86asm.POP, inside, buildPop},
	{x86asm.LEAVE, inside, buildLeave},
	{x86asm.ENTER, inside, buildEnter},
	{x86asm.PUSHFQ, inside, buildPushf(8)},
	{x86asm.PUSHF, inside, buildPushf(2)},
	{x86asm.POPFQ, inside, buildPopf(8)},
	{x86asm.POPF, inside, buildPopf(2)},
}

// push stores v below the stack pointer and moves that.
func (c *cpu) push(v uint64) status {
	sp := c.regs.GPR[emu.RSP] - 8
	st := c.store64(sp, v)
	if st != fault {
		c.regs.GPR[emu.RSP] = sp
	}
	return st
}

// stackSize is the operand size of push and pop: 8 bytes, or 2 with a 66 prefix.
func stackSize(in *x86.Inst) uint8 {
	if in.DataSize == 16 {
		return 2
	}
	return 8
}

func buildPush(o *op, in *x86.Inst) bool {
	var ok bool
	o.setSize(stackSize(in))
	if o.a, ok = o.operandOf(in, 0, o.size); !ok || o.a.size != o.size {
		return false
	}
	switch {
	case o.a.kind == inReg && o.size == 8:
		o.src = o.a.reg
		o.fn = func(c *cpu, o *op) status { return c.push(c.regs.GPR[o.src&15]) }
	case o.a.kind == inImm && o.size == 8:
		o.fn = func(c *cpu, o *op) status { return c.push(o.imm) }
	default:
		o.fn = pushAny
	}
	return true
}

func pushAny(c *cpu, o *op) status {
	v, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	sp := c.regs.GPR[emu.RSP] - uint64(o.size)
	st := c.store(sp, v, o.size)
	if st != fault {
		c.regs.GPR[emu.RSP] = sp
	}
	return st
}

func buildPop(o *op, in *x86.Inst) bool {
	var ok bool
	o.setSize(stackSize(in))
	if o.a, ok = o.operandOf(in, 0, o.size); !ok || o.a.size != o.size {
		return false
	}
	o.fn = popAny
	if o.a.kind == inReg && o.size == 8 {
		o.dst = o.a.reg
		o.fn = popReg
	}
	return true
}

func popReg(c *cpu, o *op) status {
	sp := c.regs.GPR[emu.RSP]
	v, ok := c.load(sp, ^uint64(0))
	if !ok {
		return fault
	}
	c.regs.GPR[emu.RSP] = sp + 8
	c.regs.GPR[o.dst&15] = v // pop rsp: the value popped stays
	return next
}

// popAny: an address that depends on RSP is computed after the increment.
func popAny(c *cpu, o *op) status {
	sp := c.regs.GPR[emu.RSP]
	v, ok := c.load(sp, o.mask)
	if !ok {
		return fault
	}
	c.regs.GPR[emu.RSP] = sp + uint64(o.size)
	st := c.put(o, o.a, v)
	if st == fault {
		c.regs.GPR[emu.RSP] = sp
	}
	return st
}

func buildLeave(o *op, in *x86.Inst) bool {
	o.setSize(stackSize(in))
	o.fn = func(c *cpu, o *op) status {
		bp := c.regs.GPR[emu.RBP]
		v, ok := c.load(bp, o.mask)
		if !ok {
			return fault
		}
		c.regs.GPR[emu.RSP] = bp + uint64(o.size)
		c.setReg(emu.RBP, v, o.size)
		return next
	}
	return true
}

// buildEnter: the frame size is the first operand, the nesting level modulo 32
// the second.
func buildEnter(o *op, in *x86.Inst) bool {
	size, ok1 := in.Args[0].(x86asm.Imm)
	level, ok2 := in.Args[1].(x86asm.Imm)
	if !ok1 || !ok2 || in.DataSize == 16 {
		return false
	}
	o.imm, o.src = uint64(uint16(size)), uint8(level)&31
	o.fn = execEnter
	return true
}

// execEnter reads and pushes one word after the other, as the manual's
// operation does: words read may be words pushed, and those pushed before one
// that cannot be stay. It also fails where the new stack pointer points to
// nothing that could be stored to.
func execEnter(c *cpu, o *op) status {
	bp, frame := c.regs.GPR[emu.RBP], c.regs.GPR[emu.RSP]-8
	level := uint64(o.src)
	st := c.store64(frame, bp)
	for i := uint64(1); i <= level && st != fault; i++ {
		v, ok := frame, true
		if i < level {
			if v, ok = c.load(bp-8*i, ^uint64(0)); !ok {
				return fault
			}
		}
		st = max(st, c.store64(frame-8*i, v))
	}
	sp := frame - 8*level - o.imm
	if st == fault || !c.writable(sp, 8) {
		return fault
	}
	c.regs.GPR[emu.RBP] = frame
	c.regs.GPR[emu.RSP] = sp
	return st
}

// flagsPushed are the bits of RFLAGS that pushf shows: all but RF and VM.
const flagsPushed = ^uint64(1<<16 | 1<<17)

func buildPushf(size uint8) func(*op, *x86.Inst) bool {
	return func(o *op, _ *x86.Inst) bool {
		o.setSize(size)
		o.fn = func(c *cpu, o *op) status {
			c.packFlags()
			sp := c.regs.GPR[emu.RSP] - uint64(o.size)
			st := c.store(sp, c.regs.Flags&flagsPushed, o.size)
			if st != fault {
				c.regs.GPR[emu.RSP] = sp
			}
			return st
		}
		return true
	}
}

// flagsPopped are the bits of RFLAGS that popf sets at privilege level 0: the
// status flags, DF, IF, IOPL, NT, AC and ID. TF is left alone, since the engine
// raises no single-step traps.
const flagsPopped = emu.FlagsStatus | emu.FlagDF | emu.FlagIF | 3<<12 | 1<<14 | flagAC | 1<<21

func buildPopf(size uint8) func(*op, *x86.Inst) bool {
	return func(o *op, _ *x86.Inst) bool {
		o.setSize(size)
		o.fn = func(c *cpu, o *op) status {
			sp := c.regs.GPR[emu.RSP]
			v, ok := c.load(sp, o.mask)
			if !ok {
				return fault
			}
			c.regs.GPR[emu.RSP] = sp + uint64(o.size)
			mask := flagsPopped & sizeMask(o.size)
			c.regs.Flags = c.regs.Flags&^mask | v&mask
			c.flags.unpack(v)
			return next
		}
		return true
	}
}
