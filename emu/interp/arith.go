package interp

import (
	"golang.org/x/arch/x86/x86asm"

	"ftemu/x86"
)

// Addition, subtraction, comparison and logic.
var arithForms = []form{
	{x86asm.ADD, inside, buildALU(add, adds)},
	{x86asm.ADC, inside, buildALU(adc, specialised{})},
	{x86asm.SUB, inside, buildALU(sub, subs)},
	{x86asm.SBB, inside, buildALU(sbb, specialised{})},
	{x86asm.AND, inside, buildALU(and, ands)},
	{x86asm.OR, inside, buildALU(or, ors)},
	{x86asm.XOR, inside, buildALU(xor, xors)},
	{x86asm.CMP, inside, buildCompare(sub, cmps)},
	{x86asm.TEST, inside, buildCompare(and, tests)},
	{x86asm.INC, inside, buildUnary(inc, &unary{incReg, incQuick})},
	{x86asm.DEC, inside, buildUnary(dec, &unary{decReg, decQuick})},
	{x86asm.NEG, inside, buildUnary(neg, nil)},
	{x86asm.NOT, inside, buildUnary(not, nil)},
}

func add(c *cpu, a, b uint64, sh uint8) uint64 {
	r := a + b
	c.flags.set(r, a&b|(a|b)&^r, sh)
	return r
}

func adc(c *cpu, a, b uint64, sh uint8) uint64 {
	r := a + b + c.flags.cfBit()
	c.flags.set(r, a&b|(a|b)&^r, sh)
	return r
}

func sub(c *cpu, a, b uint64, sh uint8) uint64 {
	r := a - b
	c.flags.set(r, ^a&b|(^a|b)&r, sh)
	return r
}

func sbb(c *cpu, a, b uint64, sh uint8) uint64 {
	r := a - b - c.flags.cfBit()
	c.flags.set(r, ^a&b|(^a|b)&r, sh)
	return r
}

// The logical operations clear CF and OF; AF is undefined and cleared.

func and(c *cpu, a, b uint64, sh uint8) uint64 {
	c.flags.set(a&b, 0, sh)
	return a & b
}

func or(c *cpu, a, b uint64, sh uint8) uint64 {
	c.flags.set(a|b, 0, sh)
	return a | b
}

func xor(c *cpu, a, b uint64, sh uint8) uint64 {
	c.flags.set(a^b, 0, sh)
	return a ^ b
}

// inc and dec keep CF.

func inc(c *cpu, a, _ uint64, sh uint8) uint64 {
	cf := c.flags.cfBit()
	r := add(c, a, 1, sh)
	c.flags.setCF(cf)
	return r
}

func dec(c *cpu, a, _ uint64, sh uint8) uint64 {
	cf := c.flags.cfBit()
	r := sub(c, a, 1, sh)
	c.flags.setCF(cf)
	return r
}

func neg(c *cpu, a, _ uint64, sh uint8) uint64 { return sub(c, 0, a, sh) }

func not(_ *cpu, a, _ uint64, _ uint8) uint64 { return ^a }

// buildALU makes a = alu(a, b).
func buildALU(alu aluFunc, s specialised) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		if !o.twoOperands(in) {
			return false
		}
		o.alu = alu
		if o.fn = s.pick(o); o.fn == nil {
			o.fn = aluAny
		}
		return true
	}
}

// buildCompare makes alu(a, b) for the flags alone.
func buildCompare(alu aluFunc, s specialised) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		if !o.twoOperands(in) {
			return false
		}
		o.alu = alu
		if o.fn = s.pickAnySize(o); o.fn == nil {
			o.fn = compareAny
		}
		return true
	}
}

// A unary is the operation of a register, with flags and without.
type unary struct{ fn, noFlags func(*cpu, *op) status }

// buildUnary makes a = alu(a).
func buildUnary(alu aluFunc, reg *unary) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		if !o.oneOperand(in) {
			return false
		}
		o.alu, o.dst = alu, o.a.reg
		o.b = operand{kind: inImm, size: o.size}
		o.fn = aluAny
		if o.a.kind == inReg && o.size >= 4 && reg != nil {
			o.fn, o.noFlags = reg.fn, reg.noFlags
		}
		return true
	}
}

// aluAny works on operands of any shape and size. Flags must not change where
// the result cannot be stored.
func aluAny(c *cpu, o *op) status {
	b, ok := c.get(o, o.b)
	if !ok {
		return fault
	}
	a, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	before := c.flags
	st := c.put(o, o.a, o.alu(c, a, b, o.sh))
	if st == fault {
		c.flags = before
	}
	return st
}

func compareAny(c *cpu, o *op) status {
	b, ok := c.get(o, o.b)
	if !ok {
		return fault
	}
	a, ok := c.get(o, o.a)
	if !ok {
		return fault
	}
	o.alu(c, a, b, o.sh)
	return next
}

// The specialised operations of the most frequent instructions follow. Those
// with a memory destination are aluAny's: read-modify-write is rare.

var (
	adds  = specialised{addRegVal, addRegMem, nil, addQuick, addMemQuick, sets}
	subs  = specialised{subRegVal, subRegMem, nil, subQuick, subMemQuick, sets}
	ands  = specialised{andRegVal, andRegMem, nil, andQuick, andMemQuick, sets}
	ors   = specialised{orRegVal, orRegMem, nil, orQuick, orMemQuick, sets}
	xors  = specialised{xorRegVal, xorRegMem, nil, xorQuick, xorMemQuick, sets}
	cmps  = specialised{regVal: cmpRegVal, regMem: cmpRegMem, memVal: cmpMemVal, flow: sets}
	tests = specialised{regVal: testRegVal, memVal: testMemVal, flow: sets}
)

func addRegVal(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = add(c, *r, c.val(o), o.sh) & o.mask
	return next
}

func addRegMem(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = add(c, *r, b, o.sh) & o.mask
	return next
}

func subRegVal(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = sub(c, *r, c.val(o), o.sh) & o.mask
	return next
}

func subRegMem(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = sub(c, *r, b, o.sh) & o.mask
	return next
}

func andRegVal(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = and(c, *r, c.val(o), o.sh) & o.mask
	return next
}

func andRegMem(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = and(c, *r, b, o.sh) & o.mask
	return next
}

func orRegVal(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = or(c, *r, c.val(o), o.sh) & o.mask
	return next
}

func orRegMem(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = or(c, *r, b, o.sh) & o.mask
	return next
}

func xorRegVal(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = xor(c, *r, c.val(o), o.sh) & o.mask
	return next
}

func xorRegMem(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = xor(c, *r, b, o.sh) & o.mask
	return next
}

func cmpRegVal(c *cpu, o *op) status {
	sub(c, c.regs.GPR[o.dst&15], c.val(o), o.sh)
	return next
}

func cmpRegMem(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	sub(c, c.regs.GPR[o.dst&15], b, o.sh)
	return next
}

func cmpMemVal(c *cpu, o *op) status {
	a, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	sub(c, a, c.val(o), o.sh)
	return next
}

func testRegVal(c *cpu, o *op) status {
	and(c, c.regs.GPR[o.dst&15], c.val(o), o.sh)
	return next
}

func testMemVal(c *cpu, o *op) status {
	a, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	and(c, a, c.val(o), o.sh)
	return next
}

func incReg(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = inc(c, *r, 0, o.sh) & o.mask
	return next
}

func decReg(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = dec(c, *r, 0, o.sh) & o.mask
	return next
}
