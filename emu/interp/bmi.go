package interp

import (
	"math/bits"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// BMI1, BMI2 and ADX: operations with a separate destination. AF and PF are
// undefined after those that set flags, and follow the result.
var bmiForms = []form{
	{x86asm.ANDN, inside, buildThree(andn)},
	{x86asm.BEXTR, inside, buildThree(bextr)},
	{x86asm.BZHI, inside, buildThree(bzhi)},
	{x86asm.PDEP, inside, buildThree(pdep)},
	{x86asm.PEXT, inside, buildThree(pext)},
	{x86asm.RORX, inside, buildThree(rorx)},
	{x86asm.SARX, inside, buildThree(sarx)},
	{x86asm.SHLX, inside, buildThree(shlx)},
	{x86asm.SHRX, inside, buildThree(shrx)},
	{x86asm.BLSR, inside, buildLowestBit(func(v uint64) uint64 { return v & (v - 1) }, false)},
	{x86asm.BLSMSK, inside, buildLowestBit(func(v uint64) uint64 { return v ^ (v - 1) }, false)},
	{x86asm.BLSI, inside, buildLowestBit(func(v uint64) uint64 { return v & -v }, true)},
	{x86asm.MULX, inside, buildMulx},
	{x86.OpADCX, inside, buildADX((*flags).cfBit, (*flags).setCF)},
	{x86.OpADOX, inside, buildADX((*flags).ofBit, (*flags).setOF)},
}

// buildThree makes args[0] = alu(args[1], args[2]), of which one may be memory
// and the last an immediate.
func buildThree(alu aluFunc) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		dst, ok := in.Args[0].(x86asm.Reg)
		if !ok {
			return false
		}
		d, ok := regOf(dst)
		if !ok {
			return false
		}
		o.setSize(d.size)
		o.dst, o.alu = d.reg, alu
		if o.a, ok = o.operandOf(in, 1, d.size); !ok {
			return false
		}
		if o.b, ok = o.operandOf(in, 2, d.size); !ok {
			return false
		}
		o.fn = func(c *cpu, o *op) status {
			a, ok := c.get(o, o.a)
			if !ok {
				return fault
			}
			b, ok := c.get(o, o.b)
			if !ok {
				return fault
			}
			c.setReg(o.dst, o.alu(c, a, b, o.sh), o.size)
			return next
		}
		return true
	}
}

func andn(c *cpu, a, b uint64, sh uint8) uint64 { return and(c, ^a, b, sh) }

// bextr takes the field of a that begins at bit b[7:0] and has b[15:8] bits.
func bextr(c *cpu, a, b uint64, sh uint8) uint64 {
	r := a >> (b & 0xff)
	if n := b >> 8 & 0xff; n < 64 {
		r &= 1<<n - 1
	}
	c.flags.set(r, 0, sh)
	return r
}

// bzhi clears the bits of a from b[7:0] on; CF tells that there are none.
func bzhi(c *cpu, a, b uint64, sh uint8) uint64 {
	n, r := b&0xff, a
	if n < uint64(64-sh) {
		r &= 1<<n - 1
	}
	c.flags.set(r, 0, sh)
	if n >= uint64(64-sh) {
		c.flags.setCF(1)
	}
	return r
}

// pdep spreads the low bits of a to where the mask b has ones.
func pdep(_ *cpu, a, b uint64, _ uint8) uint64 {
	var r uint64
	for ; b != 0; b &= b - 1 {
		if a&1 != 0 {
			r |= b & -b
		}
		a >>= 1
	}
	return r
}

// pext gathers the bits of a where the mask b has ones.
func pext(_ *cpu, a, b uint64, _ uint8) uint64 {
	var r uint64
	for bit := uint64(1); b != 0; b &= b - 1 {
		if a&(b&-b) != 0 {
			r |= bit
		}
		bit <<= 1
	}
	return r
}

// The shifts without flags.

func rorx(_ *cpu, a, n uint64, sh uint8) uint64 {
	n &= countMask(sh)
	return a>>n | a<<(uint64(64-sh)-n)
}

func sarx(_ *cpu, a, n uint64, sh uint8) uint64 {
	return uint64(int64(signExtend(a, 8-sh/8)) >> (n & countMask(sh)))
}

func shlx(_ *cpu, a, n uint64, sh uint8) uint64 { return a << (n & countMask(sh)) }

func shrx(_ *cpu, a, n uint64, sh uint8) uint64 { return a >> (n & countMask(sh)) }

// buildLowestBit makes args[0] = f(args[1]); CF tells whether the source was
// zero, or with nonzero whether it was not.
func buildLowestBit(f func(uint64) uint64, nonzero bool) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		if !o.twoOperands(in) {
			return false
		}
		o.fn = func(c *cpu, o *op) status {
			v, ok := c.get(o, o.b)
			if !ok {
				return fault
			}
			r := f(v)
			c.flags.set(r, 0, o.sh)
			if (v != 0) == nonzero {
				c.flags.setCF(1)
			}
			c.setReg(o.a.reg, r, o.size)
			return next
		}
		return true
	}
}

// buildMulx: args[0]:args[1] = RDX * args[2]. Where both are the same register
// the high half stays.
func buildMulx(o *op, in *x86.Inst) bool {
	var ok bool
	if o.a, ok = o.operandOf(in, 0, 0); !ok {
		return false
	}
	lo, ok := o.operandOf(in, 1, 0)
	if !ok {
		return false
	}
	o.setSize(o.a.size)
	o.dst = lo.reg
	if o.b, ok = o.operandOf(in, 2, 0); !ok {
		return false
	}
	o.fn = func(c *cpu, o *op) status {
		b, ok := c.get(o, o.b)
		if !ok {
			return fault
		}
		hi, lo := bits.Mul64(c.regs.GPR[emu.RDX]&sizeMask(o.size), b)
		if o.size == 4 {
			hi = lo >> 32
		}
		c.setReg(o.dst, lo, o.size)
		c.setReg(o.a.reg, hi, o.size)
		return next
	}
	return true
}

// buildADX: addition with one flag as carry in and out, the others untouched.
func buildADX(carry func(*flags) uint64, setCarry func(*flags, uint64)) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		if !o.twoOperands(in) {
			return false
		}
		o.fn = func(c *cpu, o *op) status {
			b, ok := c.get(o, o.b)
			if !ok {
				return fault
			}
			a := c.regs.GPR[o.a.reg&15] & sizeMask(o.size)
			sum, out := bits.Add64(a<<o.sh, b<<o.sh, 0)
			sum, more := bits.Add64(sum, carry(&c.flags)<<o.sh, 0)
			setCarry(&c.flags, out|more)
			c.setReg(o.a.reg, sum>>o.sh, o.size)
			return next
		}
		return true
	}
}
