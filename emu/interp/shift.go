package interp

import (
	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// Shifts and rotates. The count is taken modulo 32, or 64 for 64-bit operands;
// a count of zero changes no flag.
//
// OF is defined for counts of one only. For others it is what the last of so
// many one-bit steps would leave, and AF after a shift is zero.
var shiftForms = []form{
	{x86asm.SHL, inside, buildShift(shl)},
	{x86asm.SHR, inside, buildShift(shr)},
	{x86asm.SAR, inside, buildShift(sar)},
	{x86asm.ROL, inside, buildShift(rol)},
	{x86asm.ROR, inside, buildShift(ror)},
	{x86asm.RCL, inside, buildShift(rcl)},
	{x86asm.RCR, inside, buildShift(rcr)},
	{x86asm.SHLD, inside, buildDoubleShift(shld)},
	{x86asm.SHRD, inside, buildDoubleShift(shrd)},
}

// countMask is what the processor leaves of a shift count.
func countMask(sh uint8) uint64 {
	if sh == 0 {
		return 63
	}
	return 31
}

// buildShift: b is an immediate or CL, whatever the size of a.
func buildShift(alu aluFunc) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		if !o.oneOperand(in) {
			return false
		}
		b, ok := o.operandOf(in, 1, 1)
		if !ok {
			return false
		}
		if b.kind == inReg {
			o.src, o.srcMask = emu.RCX, countMask(o.sh)
		} else {
			o.imm &= countMask(o.sh)
		}
		o.alu = alu
		o.fn = shiftAny
		if o.a.kind == inReg && o.size >= 4 {
			o.dst = o.a.reg
			o.fn = shiftReg
		}
		return true
	}
}

func shiftReg(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	a := *r & o.mask
	if n := c.val(o); n != 0 {
		a = o.alu(c, a, n, o.sh) & o.mask
	}
	*r = a
	return next
}

func shiftAny(c *cpu, o *op) status {
	a, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	before := c.flags
	if n := c.val(o); n != 0 {
		a = o.alu(c, a, n, o.sh)
	}
	st := c.put(o, o.a, a)
	if st == fault {
		c.flags = before
	}
	return st
}

// In the functions below n is 1 to 63 (64-bit operands) or 1 to 31, and a is
// zero-extended; n may exceed the size of narrow operands.

// top is the highest bit of the operand.
func top(v uint64, sh uint8) uint64 { return v >> (63 - sh) & 1 }

func shl(c *cpu, a, n uint64, sh uint8) uint64 {
	before := a << (n - 1)
	r := before << 1
	c.flags.set(r, 0, sh)
	cf := top(before, sh)
	c.flags.setCO(cf, cf^top(r, sh))
	return r
}

func shr(c *cpu, a, n uint64, sh uint8) uint64 {
	before := a >> (n - 1)
	r := before >> 1
	c.flags.set(r, 0, sh)
	c.flags.setCO(before&1, top(before, sh))
	return r
}

func sar(c *cpu, a, n uint64, sh uint8) uint64 {
	before := int64(signExtend(a, 8-sh/8)) >> (n - 1)
	r := uint64(before >> 1)
	c.flags.set(r, 0, sh)
	c.flags.setCO(uint64(before)&1, 0)
	return r
}

// The rotates change CF and OF only.

func rol(c *cpu, a, n uint64, sh uint8) uint64 {
	bits := uint64(64 - sh)
	n %= bits
	r := a<<n | a>>(bits-n)
	c.flags.setCO(r&1, r&1^top(r, sh))
	return r
}

func ror(c *cpu, a, n uint64, sh uint8) uint64 {
	bits := uint64(64 - sh)
	n %= bits
	r := a>>n | a<<(bits-n)
	c.flags.setCO(top(r, sh), top(r, sh)^top(r<<1, sh))
	return r
}

// rcl and rcr rotate through CF, so that an operand of 8 bits has a period of
// 9. A count that comes to zero that way changes nothing.

func rcl(c *cpu, a, n uint64, sh uint8) uint64 {
	bits := uint64(64 - sh)
	n %= bits + 1
	if n == 0 {
		return a
	}
	// cf:a rotated left by n; shifts by 64 give 0.
	r := a<<n | c.flags.cfBit()<<(n-1) | a>>1>>(bits-n)
	cf := a >> (bits - n) & 1
	c.flags.setCO(cf, top(a^r, sh))
	return r
}

func rcr(c *cpu, a, n uint64, sh uint8) uint64 {
	bits := uint64(64 - sh)
	n %= bits + 1
	if n == 0 {
		return a
	}
	r := a>>n | c.flags.cfBit()<<(bits-n) | a<<1<<(bits-n)
	cf := a >> (n - 1) & 1
	c.flags.setCO(cf, top(a^r, sh))
	return r
}

// A doubleShiftFunc shifts a, filling from b, by n > 0.
type doubleShiftFunc func(c *cpu, a, b, n uint64, sh uint8) uint64

// buildDoubleShift: the third operand is an immediate or CL.
func buildDoubleShift(alu doubleShiftFunc) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		if !o.twoOperands(in) {
			return false
		}
		n, ok := o.operandOf(in, 2, 1)
		if !ok {
			return false
		}
		if n.kind == inReg {
			o.src, o.srcMask = emu.RCX, countMask(o.sh)
		} else {
			o.imm &= countMask(o.sh)
		}
		o.fn = func(c *cpu, o *op) status {
			a, ok := c.get(o, o.a)
			if !ok {
				return fault
			}
			before := c.flags
			if n := c.val(o); n != 0 {
				b, _ := c.get(o, o.b)
				a = alu(c, a, b, n, o.sh)
			}
			st := c.put(o, o.a, a)
			if st == fault {
				c.flags = before
			}
			return st
		}
		return true
	}
}

// Where a 16-bit operand is shifted by more than 16, which is undefined, a
// follows b again, as on Intel processors.

func shld(c *cpu, a, b, n uint64, sh uint8) uint64 {
	bits := uint64(64 - sh)
	step := func(n uint64) uint64 {
		if n > bits {
			return b<<(n-bits) | a>>(2*bits-n)
		}
		return a<<n | b>>(bits-n)
	}
	before, r := step(n-1), step(n)
	c.flags.set(r, 0, sh)
	cf := top(before, sh)
	c.flags.setCO(cf, cf^top(r, sh))
	return r
}

func shrd(c *cpu, a, b, n uint64, sh uint8) uint64 {
	bits := uint64(64 - sh)
	step := func(n uint64) uint64 {
		if n > bits {
			return b>>(n-bits) | a<<(2*bits-n)
		}
		return a>>n | b<<(bits-n)
	}
	before, r := step(n-1), step(n)
	c.flags.set(r, 0, sh)
	c.flags.setCO(before&1, top(before^r, sh))
	return r
}
