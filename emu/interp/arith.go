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
	{x86asm.INC, inside, buildUnary(inc, [2]func(*cpu, *op) status{incReg[uint32], incReg[uint64]})},
	{x86asm.DEC, inside, buildUnary(dec, [2]func(*cpu, *op) status{decReg[uint32], decReg[uint64]})},
	{x86asm.NEG, inside, buildUnary(neg, [2]func(*cpu, *op) status{})},
	{x86asm.NOT, inside, buildUnary(not, [2]func(*cpu, *op) status{})},
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
		if o.fn = s.pick(o); o.fn == nil {
			o.fn = compareAny
		}
		return true
	}
}

// buildUnary makes a = alu(a).
func buildUnary(alu aluFunc, reg [2]func(*cpu, *op) status) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		if !o.oneOperand(in) {
			return false
		}
		o.alu, o.dst = alu, o.a.reg
		o.b = operand{kind: inImm, size: o.size}
		o.fn = aluAny
		switch {
		case o.a.kind == inReg && o.size == 4 && reg[0] != nil:
			o.fn = reg[0]
		case o.a.kind == inReg && o.size == 8 && reg[1] != nil:
			o.fn = reg[1]
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
	adds  = specialised{regVal: pair(addRegVal[uint32], addRegVal[uint64]), regMem: pair(addRegMem[uint32], addRegMem[uint64])}
	subs  = specialised{regVal: pair(subRegVal[uint32], subRegVal[uint64]), regMem: pair(subRegMem[uint32], subRegMem[uint64])}
	ands  = specialised{regVal: pair(andRegVal[uint32], andRegVal[uint64]), regMem: pair(andRegMem[uint32], andRegMem[uint64])}
	ors   = specialised{regVal: pair(orRegVal[uint32], orRegVal[uint64]), regMem: pair(orRegMem[uint32], orRegMem[uint64])}
	xors  = specialised{regVal: pair(xorRegVal[uint32], xorRegVal[uint64]), regMem: pair(xorRegMem[uint32], xorRegMem[uint64])}
	cmps  = specialised{regVal: pair(cmpRegVal[uint32], cmpRegVal[uint64]), regMem: pair(cmpRegMem[uint32], cmpRegMem[uint64]), memVal: pair(cmpMemVal[uint32], cmpMemVal[uint64])}
	tests = specialised{regVal: pair(testRegVal[uint32], testRegVal[uint64])}
)

func pair(narrow, wide func(*cpu, *op) status) [2]func(*cpu, *op) status {
	return [2]func(*cpu, *op) status{narrow, wide}
}

func addRegVal[T word](c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(add(c, *r, c.val(o), shift[T]())))
	return next
}

func addRegMem[T word](c *cpu, o *op) status {
	b, ok := loadWord[T](c, c.ea(o))
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(add(c, *r, b, shift[T]())))
	return next
}

func subRegVal[T word](c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(sub(c, *r, c.val(o), shift[T]())))
	return next
}

func subRegMem[T word](c *cpu, o *op) status {
	b, ok := loadWord[T](c, c.ea(o))
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(sub(c, *r, b, shift[T]())))
	return next
}

func andRegVal[T word](c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(and(c, *r, c.val(o), shift[T]())))
	return next
}

func andRegMem[T word](c *cpu, o *op) status {
	b, ok := loadWord[T](c, c.ea(o))
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(and(c, *r, b, shift[T]())))
	return next
}

func orRegVal[T word](c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(or(c, *r, c.val(o), shift[T]())))
	return next
}

func orRegMem[T word](c *cpu, o *op) status {
	b, ok := loadWord[T](c, c.ea(o))
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(or(c, *r, b, shift[T]())))
	return next
}

func xorRegVal[T word](c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(xor(c, *r, c.val(o), shift[T]())))
	return next
}

func xorRegMem[T word](c *cpu, o *op) status {
	b, ok := loadWord[T](c, c.ea(o))
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(xor(c, *r, b, shift[T]())))
	return next
}

func cmpRegVal[T word](c *cpu, o *op) status {
	sub(c, c.regs.GPR[o.dst&15], c.val(o), shift[T]())
	return next
}

func cmpRegMem[T word](c *cpu, o *op) status {
	b, ok := loadWord[T](c, c.ea(o))
	if !ok {
		return fault
	}
	sub(c, c.regs.GPR[o.dst&15], b, shift[T]())
	return next
}

func cmpMemVal[T word](c *cpu, o *op) status {
	a, ok := loadWord[T](c, c.ea(o))
	if !ok {
		return fault
	}
	sub(c, a, c.val(o), shift[T]())
	return next
}

func testRegVal[T word](c *cpu, o *op) status {
	and(c, c.regs.GPR[o.dst&15], c.val(o), shift[T]())
	return next
}

func incReg[T word](c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(inc(c, *r, 0, shift[T]())))
	return next
}

func decReg[T word](c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = uint64(T(dec(c, *r, 0, shift[T]())))
	return next
}
