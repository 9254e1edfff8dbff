package interp

import (
	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// The string instructions. With a repeat prefix each iteration counts as one
// instruction; one that cannot execute leaves those before it done.
var stringForms = []form{
	{x86asm.MOVSB, alone, buildMoveString(execMovs, 1)},
	{x86asm.MOVSW, alone, buildMoveString(execMovs, 2)},
	{x86asm.MOVSD, alone, buildMoveString(execMovs, 4)},
	{x86asm.MOVSQ, alone, buildMoveString(execMovs, 8)},
	{x86asm.STOSB, alone, buildMoveString(execStos, 1)},
	{x86asm.STOSW, alone, buildMoveString(execStos, 2)},
	{x86asm.STOSD, alone, buildMoveString(execStos, 4)},
	{x86asm.STOSQ, alone, buildMoveString(execStos, 8)},
	{x86asm.LODSB, alone, buildMoveString(execLods, 1)},
	{x86asm.LODSW, alone, buildMoveString(execLods, 2)},
	{x86asm.LODSD, alone, buildMoveString(execLods, 4)},
	{x86asm.LODSQ, alone, buildMoveString(execLods, 8)},
	{x86asm.SCASB, alone, buildCompareString(execScas, 1)},
	{x86asm.SCASW, alone, buildCompareString(execScas, 2)},
	{x86asm.SCASD, alone, buildCompareString(execScas, 4)},
	{x86asm.SCASQ, alone, buildCompareString(execScas, 8)},
	{x86asm.CMPSB, alone, buildCompareString(execCmps, 1)},
	{x86asm.CMPSW, alone, buildCompareString(execCmps, 2)},
	{x86asm.CMPSD, alone, buildCompareString(execCmps, 4)},
	{x86asm.CMPSQ, alone, buildCompareString(execCmps, 8)},
}

// buildMoveString: either repeat prefix repeats until the counter is zero.
func buildMoveString(once func(*cpu, *op) status, size uint8) func(*op, *x86.Inst) bool {
	always := func(*flags) bool { return true }
	return buildString(once, size, always, always)
}

// buildCompareString: repe goes on while elements are equal, repne while they
// are not.
func buildCompareString(once func(*cpu, *op) status, size uint8) func(*op, *x86.Inst) bool {
	return buildString(once, size, (*flags).zf, func(f *flags) bool { return !f.zf() })
}

// buildString: size is the element's; op.src is the size of addresses and of
// the counter. whileF3 and whileF2 tell whether to go on after an iteration
// with that prefix.
func buildString(once func(*cpu, *op) status, size uint8, whileF3, whileF2 func(*flags) bool) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		o.setSize(size)
		o.src = addressSize(in)
		o.mem = address{seg: in.Seg, narrow: in.Has67}
		switch in.Rep {
		case 0:
			o.fn = once
		case 0xf3:
			o.fn = repeat(once, whileF3)
		default:
			o.fn = repeat(once, whileF2)
		}
		return true
	}
}

// interruptInterval is how many iterations execute between two looks at
// Interrupt.
const interruptInterval = 1024

// repeat executes once while the counter is not zero, as many times as the run
// has instructions left. more tells whether to go on after an iteration.
func repeat(once func(*cpu, *op) status, more func(*flags) bool) func(*cpu, *op) status {
	return func(c *cpu, o *op) status {
		mask := sizeMask(o.src)
		n := c.regs.GPR[emu.RCX] & mask
		if n == 0 {
			return next
		}
		for i := uint64(0); ; {
			st := once(c, o)
			if st == fault {
				c.extra = i
				return fault
			}
			n--
			c.setReg(emu.RCX, n, o.src)
			i++
			c.extra = i - 1
			c.regs.RIP = o.ip
			if n == 0 || !more(&c.flags) {
				c.regs.RIP = o.next
				return moved
			}
			if st == dirty || c.once || i >= c.left || i%interruptInterval == 0 {
				return moved
			}
			c.traceInsn(o)
			c.regs.RIP = o.ip
		}
	}
}

// source and destination are the addresses in RSI and RDI. A segment override
// applies to the source only.

func (c *cpu) source(o *op) uint64 {
	return c.eaSpecial(&o.mem, c.regs.GPR[emu.RSI])
}

func (c *cpu) destination(o *op) uint64 {
	return c.regs.GPR[emu.RDI] & sizeMask(o.src)
}

// advance moves RSI or RDI by one element in the direction of DF.
func (c *cpu) advance(o *op, reg uint8) {
	d := uint64(o.size)
	if c.regs.Flags&emu.FlagDF != 0 {
		d = -d
	}
	c.setReg(reg, c.regs.GPR[reg&15]+d, o.src)
}

func execMovs(c *cpu, o *op) status {
	v, ok := c.load(c.source(o), o.mask)
	if !ok {
		return fault
	}
	st := c.store(c.destination(o), v, o.size)
	if st != fault {
		c.advance(o, emu.RSI)
		c.advance(o, emu.RDI)
	}
	return st
}

func execStos(c *cpu, o *op) status {
	st := c.store(c.destination(o), c.regs.GPR[emu.RAX], o.size)
	if st != fault {
		c.advance(o, emu.RDI)
	}
	return st
}

func execLods(c *cpu, o *op) status {
	v, ok := c.load(c.source(o), o.mask)
	if !ok {
		return fault
	}
	c.setReg(emu.RAX, v, o.size)
	c.advance(o, emu.RSI)
	return next
}

// execScas compares the accumulator with memory.
func execScas(c *cpu, o *op) status {
	v, ok := c.load(c.destination(o), o.mask)
	if !ok {
		return fault
	}
	sub(c, c.regs.GPR[emu.RAX], v, o.sh)
	c.advance(o, emu.RDI)
	return next
}

// execCmps compares memory at RSI with memory at RDI.
func execCmps(c *cpu, o *op) status {
	a, ok := c.load(c.source(o), o.mask)
	if !ok {
		return fault
	}
	b, ok := c.load(c.destination(o), o.mask)
	if !ok {
		return fault
	}
	sub(c, a, b, o.sh)
	c.advance(o, emu.RSI)
	c.advance(o, emu.RDI)
	return next
}
