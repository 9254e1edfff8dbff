package interp

import (
	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// Exchanges, with or without lock: one CPU executes at a time, so that each
// instruction is atomic anyway.
var exchangeForms = []form{
	{x86asm.XCHG, inside, twoOps(execXchg)},
	{x86asm.XADD, inside, twoOps(execXadd)},
	{x86asm.CMPXCHG, inside, twoOps(execCmpxchg)},
	{x86asm.CMPXCHG8B, inside, buildCmpxchgWide(4)},
	{x86asm.CMPXCHG16B, inside, buildCmpxchgWide(8)},
}

// twoOps builds an op that works on operands a and b of any shape.
func twoOps(fn func(*cpu, *op) status) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		o.fn = fn
		return o.twoOperands(in)
	}
}

func execXchg(c *cpu, o *op) status {
	// The memory operand may be either; the register is written last.
	mem, reg := o.a, o.b
	if o.b.kind == inMem {
		mem, reg = o.b, o.a
	}
	m, ok := c.get(o, mem)
	if !ok {
		return fault
	}
	r, _ := c.get(o, reg)
	st := c.put(o, mem, r)
	if st != fault {
		c.put(o, reg, m)
	}
	return st
}

// execXadd: b becomes the old a, a the sum; with a the same register as b the
// sum stays.
func execXadd(c *cpu, o *op) status {
	a, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	b, _ := c.get(o, o.b)
	before := c.flags
	sum := add(c, a, b, o.sh)
	if o.a.kind == inMem {
		st := c.put(o, o.a, sum)
		if st == fault {
			c.flags = before
			return st
		}
		c.put(o, o.b, a)
		return st
	}
	c.put(o, o.b, a)
	return c.put(o, o.a, sum)
}

// execCmpxchg compares a with the accumulator; if they are equal a becomes b,
// otherwise the accumulator becomes a. Memory is written in both cases, with
// what it held if they differ; a register is left alone then, upper half
// included.
func execCmpxchg(c *cpu, o *op) status {
	a, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	b, _ := c.get(o, o.b)
	before := c.flags
	sub(c, c.regs.GPR[emu.RAX], a, o.sh)
	equal := c.flags.zf()
	if !equal {
		b = a
	}
	st := next
	if equal || o.a.kind == inMem {
		st = c.put(o, o.a, b)
	}
	if st == fault {
		c.flags = before
		return st
	}
	if !equal {
		c.setReg(emu.RAX, a, o.size)
	}
	return st
}

// buildCmpxchgWide is cmpxchg8b and cmpxchg16b, on two words of the given size:
// DX:AX is compared, CX:BX stored. Of the flags only ZF changes.
func buildCmpxchgWide(size uint8) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		m, ok := in.Args[0].(x86asm.Mem)
		if !ok || !o.setAddress(m, in) {
			return false
		}
		o.setSize(size)
		o.fn = execCmpxchgWide
		return true
	}
}

func execCmpxchgWide(c *cpu, o *op) status {
	addr, mask := c.ea(o), sizeMask(o.size)
	if o.size == 8 && addr%16 != 0 {
		return c.fail(emu.StopGeneral, addr, 16) // cmpxchg16b wants alignment
	}
	lo, ok := c.load(addr, o.mask)
	if !ok {
		return fault
	}
	hi, ok := c.load(addr+uint64(o.size), o.mask)
	if !ok || !c.writable(addr, 2*int(o.size)) {
		return fault
	}
	r := &c.regs.GPR
	equal := lo == r[emu.RAX]&mask && hi == r[emu.RDX]&mask
	newLo, newHi := lo, hi
	if equal {
		newLo, newHi = r[emu.RBX], r[emu.RCX]
	}
	st := max(c.store(addr, newLo, o.size), c.store(addr+uint64(o.size), newHi, o.size))
	if !equal {
		c.setReg(emu.RAX, lo, o.size)
		c.setReg(emu.RDX, hi, o.size)
	}
	c.flags.setZF(equal)
	return st
}
