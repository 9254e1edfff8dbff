package interp

import (
	"math/bits"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/x86"
)

// Multiplication and division. Of the flags a multiplication defines CF and
// OF; ZF, SF and PF are those of the low half, AF is zero. Division defines no
// flag and changes none.
var mulForms = []form{
	{x86asm.MUL, inside, oneOp(execMul)},
	{x86asm.IMUL, inside, buildImul},
	{x86asm.DIV, inside, oneOp(execDiv)},
	{x86asm.IDIV, inside, oneOp(execIdiv)},
}

// oneOp builds an op that works on operand a of any shape.
func oneOp(fn func(*cpu, *op) status) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		o.fn = fn
		return o.oneOperand(in)
	}
}

// wide returns DX:AX of the operand size, as two words of that size.
func (c *cpu) wide(size uint8) (hi, lo uint64) {
	r := &c.regs.GPR
	if size == 1 {
		return r[emu.RAX] >> 8 & 0xff, r[emu.RAX] & 0xff
	}
	return r[emu.RDX] & sizeMask(size), r[emu.RAX] & sizeMask(size)
}

// setWide sets DX:AX, or AX for bytes.
func (c *cpu) setWide(hi, lo uint64, size uint8) {
	if size == 1 {
		c.setReg(emu.RAX, hi<<8|lo&0xff, 2)
		return
	}
	c.setReg(emu.RAX, lo, size)
	c.setReg(emu.RDX, hi, size)
}

// mulFlags sets the flags of a multiplication with the low half lo.
func (c *cpu) mulFlags(lo uint64, overflow bool, sh uint8) {
	c.flags.set(lo, 0, sh)
	if overflow {
		c.flags.setCO(1, 1)
	}
}

func execMul(c *cpu, o *op) status {
	b, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	_, a := c.wide(o.size)
	hi, lo := bits.Mul64(a, b)
	if o.size < 8 {
		hi, lo = lo>>(8*o.size), lo&sizeMask(o.size)
	}
	c.setWide(hi, lo, o.size)
	c.mulFlags(lo, hi != 0, o.sh)
	return next
}

// mulSigned multiplies sign-extended numbers.
func mulSigned(a, b int64) (hi int64, lo uint64) {
	h, l := bits.Mul64(uint64(a), uint64(b))
	return int64(h) - a>>63&b - b>>63&a, l
}

// buildImul: one, two or three operands.
func buildImul(o *op, in *x86.Inst) bool {
	if in.Args[1] == nil {
		o.fn = execImulWide
		return o.oneOperand(in)
	}
	if !o.twoOperands(in) {
		return false
	}
	if in.Args[2] != nil {
		if _, ok := o.operandOf(in, 2, o.size); !ok {
			return false
		}
		o.fn = func(c *cpu, o *op) status {
			b, ok := c.get(o, o.b)
			if !ok {
				return fault
			}
			c.imulTo(o, b, o.imm)
			return next
		}
		return true
	}
	o.fn = func(c *cpu, o *op) status {
		b, ok := c.get(o, o.b)
		if !ok {
			return fault
		}
		c.imulTo(o, c.regs.GPR[o.a.reg&15], b)
		return next
	}
	return true
}

// imulTo puts the low half of x*y into operand a.
func (c *cpu) imulTo(o *op, x, y uint64) {
	hi, lo := mulSigned(int64(signExtend(x, o.size)), int64(signExtend(y, o.size)))
	low := signExtend(lo, o.size)
	c.setReg(o.a.reg, lo, o.size)
	c.mulFlags(lo, low != lo || hi != int64(low)>>63, o.sh)
}

func execImulWide(c *cpu, o *op) status {
	b, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	_, a := c.wide(o.size)
	hi, lo := mulSigned(int64(signExtend(a, o.size)), int64(signExtend(b, o.size)))
	low := signExtend(lo, o.size)
	overflow := low != lo || hi != int64(low)>>63
	if o.size < 8 {
		hi = int64(lo) >> (8 * o.size)
	}
	c.setWide(uint64(hi), lo, o.size)
	c.mulFlags(lo, overflow, o.sh)
	return next
}

// divideError raises the processor's exception 0.
func (c *cpu) divideError(o *op) status {
	if c.m.mask.Has(trace.Trap) {
		c.trace(trace.Event{Kind: trace.Trap, IP: o.ip, Vector: 0})
	}
	return c.fail(emu.StopDivide, 0, 0)
}

func execDiv(c *cpu, o *op) status {
	d, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	hi, lo := c.wide(o.size)
	if hi >= d { // division by zero too
		return c.divideError(o)
	}
	var q, r uint64
	if o.size == 8 {
		q, r = bits.Div64(hi, lo, d)
	} else {
		n := hi<<(8*o.size) | lo
		q, r = n/d, n%d
	}
	c.setWide(r, q, o.size)
	return next
}

// execIdiv divides magnitudes and puts the signs right: the quotient is
// truncated, the remainder has the sign of the dividend.
func execIdiv(c *cpu, o *op) status {
	v, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	d := int64(signExtend(v, o.size))
	hi, lo := c.wide(o.size)
	if o.size < 8 {
		n := int64(signExtend(hi<<(8*o.size)|lo, 2*o.size))
		if d == 0 || n == -1<<63 && d == -1 {
			return c.divideError(o)
		}
		q := n / d
		if int64(signExtend(uint64(q), o.size)) != q {
			return c.divideError(o)
		}
		c.setWide(uint64(n%d), uint64(q), o.size)
		return next
	}
	negative := int64(hi) < 0
	if negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	magnitude := uint64(d)
	if d < 0 {
		magnitude = -magnitude
	}
	if hi >= magnitude {
		return c.divideError(o)
	}
	q, r := bits.Div64(hi, lo, magnitude)
	if negative != (d < 0) {
		if q > 1<<63 {
			return c.divideError(o)
		}
		q = -q
	} else if q >= 1<<63 {
		return c.divideError(o)
	}
	if negative {
		r = -r
	}
	c.setWide(r, q, 8)
	return next
}
