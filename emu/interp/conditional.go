package interp

import (
	"golang.org/x/arch/x86/x86asm"

	"ftemu/x86"
)

// conditionOf numbers the conditions as the opcodes do.
var conditionOf = map[x86asm.Op]uint8{
	x86asm.JO: 0x0, x86asm.JNO: 0x1, x86asm.JB: 0x2, x86asm.JAE: 0x3, x86asm.JE: 0x4, x86asm.JNE: 0x5,
	x86asm.JBE: 0x6, x86asm.JA: 0x7, x86asm.JS: 0x8, x86asm.JNS: 0x9, x86asm.JP: 0xa, x86asm.JNP: 0xb,
	x86asm.JL: 0xc, x86asm.JGE: 0xd, x86asm.JLE: 0xe, x86asm.JG: 0xf,

	x86asm.SETO: 0x0, x86asm.SETNO: 0x1, x86asm.SETB: 0x2, x86asm.SETAE: 0x3, x86asm.SETE: 0x4, x86asm.SETNE: 0x5,
	x86asm.SETBE: 0x6, x86asm.SETA: 0x7, x86asm.SETS: 0x8, x86asm.SETNS: 0x9, x86asm.SETP: 0xa, x86asm.SETNP: 0xb,
	x86asm.SETL: 0xc, x86asm.SETGE: 0xd, x86asm.SETLE: 0xe, x86asm.SETG: 0xf,

	x86asm.CMOVO: 0x0, x86asm.CMOVNO: 0x1, x86asm.CMOVB: 0x2, x86asm.CMOVAE: 0x3, x86asm.CMOVE: 0x4, x86asm.CMOVNE: 0x5,
	x86asm.CMOVBE: 0x6, x86asm.CMOVA: 0x7, x86asm.CMOVS: 0x8, x86asm.CMOVNS: 0x9, x86asm.CMOVP: 0xa, x86asm.CMOVNP: 0xb,
	x86asm.CMOVL: 0xc, x86asm.CMOVGE: 0xd, x86asm.CMOVLE: 0xe, x86asm.CMOVG: 0xf,
}

// jcc, setcc, cmovcc.
var conditionalForms = func() []form {
	var all []form
	for op := range conditionOf {
		switch x86.Mnemonic(op)[0] {
		case 'j':
			all = append(all, form{op, inside, buildJcc})
		case 's':
			all = append(all, form{op, inside, buildSetcc})
		case 'c':
			all = append(all, form{op, inside, buildCmov})
		}
	}
	return all
}()

func buildJcc(o *op, in *x86.Inst) bool {
	rel, ok := in.Args[0].(x86asm.Rel)
	if !ok {
		return false
	}
	o.imm = o.next + uint64(int64(rel))
	cc := conditionOf[in.Op]
	o.cond = conditions[cc]
	o.fn = jccAny
	if fn := frequentJcc[cc]; fn != nil {
		o.fn = fn
	}
	return true
}

func jccAny(c *cpu, o *op) status {
	if o.cond(&c.flags) {
		c.regs.RIP = o.imm
		return jump
	}
	return next
}

// frequentJcc are jumps without the call through op.cond.
var frequentJcc = [16]func(*cpu, *op) status{
	0x2: func(c *cpu, o *op) status { return c.jumpIf(o, c.flags.cf()) },
	0x3: func(c *cpu, o *op) status { return c.jumpIf(o, !c.flags.cf()) },
	0x4: func(c *cpu, o *op) status { return c.jumpIf(o, c.flags.zf()) },
	0x5: func(c *cpu, o *op) status { return c.jumpIf(o, !c.flags.zf()) },
	0x6: func(c *cpu, o *op) status { return c.jumpIf(o, c.flags.cf() || c.flags.zf()) },
	0x7: func(c *cpu, o *op) status { return c.jumpIf(o, !c.flags.cf() && !c.flags.zf()) },
	0x8: func(c *cpu, o *op) status { return c.jumpIf(o, c.flags.sf()) },
	0x9: func(c *cpu, o *op) status { return c.jumpIf(o, !c.flags.sf()) },
	0xc: func(c *cpu, o *op) status { return c.jumpIf(o, c.flags.sf() != c.flags.of()) },
	0xd: func(c *cpu, o *op) status { return c.jumpIf(o, c.flags.sf() == c.flags.of()) },
	0xe: func(c *cpu, o *op) status { return c.jumpIf(o, c.flags.zf() || c.flags.sf() != c.flags.of()) },
	0xf: func(c *cpu, o *op) status { return c.jumpIf(o, !c.flags.zf() && c.flags.sf() == c.flags.of()) },
}

func (c *cpu) jumpIf(o *op, taken bool) status {
	if taken {
		c.regs.RIP = o.imm
		return jump
	}
	return next
}

func buildSetcc(o *op, in *x86.Inst) bool {
	if !o.oneOperand(in) {
		return false
	}
	o.cond = conditions[conditionOf[in.Op]]
	o.fn = func(c *cpu, o *op) status {
		v := uint64(0)
		if o.cond(&c.flags) {
			v = 1
		}
		return c.put(o, o.a, v)
	}
	return true
}

// buildCmov: the source is read whatever the condition, and a 32-bit
// destination loses its upper half even if the condition is false.
func buildCmov(o *op, in *x86.Inst) bool {
	if !o.twoOperands(in) {
		return false
	}
	o.cond = conditions[conditionOf[in.Op]]
	o.fn = func(c *cpu, o *op) status {
		v, ok := c.get(o, o.b)
		if !ok {
			return fault
		}
		if !o.cond(&c.flags) {
			v = c.regs.GPR[o.a.reg&15]
		}
		c.setReg(o.a.reg, v, o.size)
		return next
	}
	return true
}
