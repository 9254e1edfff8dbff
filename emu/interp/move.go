package interp

import (
	"math/bits"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// Data movement: mov, lea, extensions, byte swaps.
var moveForms = []form{
	{x86asm.MOV, inside, buildMov},
	{x86asm.LEA, inside, buildLea},
	{x86asm.MOVZX, inside, buildMovzx},
	{x86asm.MOVSX, inside, buildMovsx},
	{x86asm.MOVSXD, inside, buildMovsx},
	{x86asm.CBW, inside, extendAX(1, 2)},
	{x86asm.CWDE, inside, extendAX(2, 4)},
	{x86asm.CDQE, inside, extendAX(4, 8)},
	{x86asm.CWD, inside, signToDX(2)},
	{x86asm.CDQ, inside, signToDX(4)},
	{x86asm.CQO, inside, signToDX(8)},
	{x86asm.BSWAP, inside, buildBswap},
	{x86asm.MOVBE, inside, buildMovbe},
	{x86asm.XLATB, inside, buildXlat},
}

func buildMov(o *op, in *x86.Inst) bool {
	if !o.twoOperands(in) {
		return false
	}
	if o.a.kind == inReg && o.b.kind != inMem {
		o.flow = keeps
	}
	if o.fn = movs.pick(o); o.fn != nil {
		return true
	}
	o.fn = movAny
	if o.a.kind != inMem || o.b.kind == inHigh {
		return true
	}
	if o.b.kind == inReg {
		o.src, o.srcMask, o.imm = o.b.reg, ^uint64(0), 0
	}
	switch o.size {
	case 1:
		o.fn = func(c *cpu, o *op) status { return c.store8(c.ea(o), c.val(o)) }
	case 2:
		o.fn = func(c *cpu, o *op) status { return c.store16(c.ea(o), c.val(o)) }
	}
	return true
}

var movs = specialised{
	regVal: movRegVal, flow: keeps,
	regMem: movRegMem,
	memVal: func(c *cpu, o *op) status {
		if o.size == 8 {
			return c.store64(c.eaPlain(o), c.val(o))
		}
		return c.store32(c.eaPlain(o), c.val(o))
	},
}

func movRegVal(c *cpu, o *op) status {
	c.regs.GPR[o.dst&15] = c.val(o) & o.mask
	return next
}

func movRegMem(c *cpu, o *op) status {
	v, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	c.regs.GPR[o.dst&15] = v
	return next
}

func movAny(c *cpu, o *op) status {
	v, ok := c.get(o, o.b)
	if !ok {
		return fault
	}
	return c.put(o, o.a, v)
}

// buildLea: the address without its segment; a 16-bit destination takes the
// low bits.
func buildLea(o *op, in *x86.Inst) bool {
	m, ok := in.Args[1].(x86asm.Mem)
	if !ok || !o.oneOperand(in) || !o.setAddress(m, in) {
		return false
	}
	o.mem.seg, o.mem.special = 0, o.mem.narrow
	o.dst, o.flow = o.a.reg, keeps
	switch {
	case o.size == 2:
		o.fn = func(c *cpu, o *op) status { return c.put(o, o.a, c.ea(o)) }
	case o.mem.special:
		o.fn = func(c *cpu, o *op) status {
			c.regs.GPR[o.dst&15] = c.ea(o) & o.mask
			return next
		}
	default:
		o.fn = func(c *cpu, o *op) status {
			c.regs.GPR[o.dst&15] = c.eaPlain(o) & o.mask
			return next
		}
	}
	return true
}

func buildMovzx(o *op, in *x86.Inst) bool {
	if !o.twoOperands(in) {
		return false
	}
	o.dst = o.a.reg
	switch {
	case o.size == 2 || o.b.kind == inHigh || o.mem.special:
		o.fn = movAny
	case o.b.kind == inReg:
		o.src, o.srcMask = o.b.reg, sizeMask(o.b.size)
		o.fn, o.flow = movRegVal, keeps
	default:
		o.mask = sizeMask(o.b.size)
		o.fn = movRegMem
	}
	return true
}

// signExtend widens the low size bytes of v.
func signExtend(v uint64, size uint8) uint64 {
	sh := (64 - 8*size) & 63
	return uint64(int64(v<<sh) >> sh)
}

// buildMovsx: movsx, and movsxd from 32 bits (or, without REX.W, a mere move).
func buildMovsx(o *op, in *x86.Inst) bool {
	if !o.twoOperands(in) || in.Op == x86asm.MOVSXD && o.size == 2 {
		return false // movsxd with a 16-bit destination reads 16 or 32 bits by vendor
	}
	o.fn = func(c *cpu, o *op) status {
		v, ok := c.get(o, o.b)
		if !ok {
			return fault
		}
		c.setReg(o.a.reg, signExtend(v, o.b.size), o.size)
		return next
	}
	return true
}

// extendAX is cbw, cwde, cdqe: widen part of RAX from one size to another.
func extendAX(from, to uint8) func(*op, *x86.Inst) bool {
	return func(o *op, _ *x86.Inst) bool {
		o.fn = func(c *cpu, _ *op) status {
			c.setReg(emu.RAX, signExtend(c.regs.GPR[emu.RAX], from), to)
			return next
		}
		return true
	}
}

// signToDX is cwd, cdq, cqo: fill RDX with the sign of RAX.
func signToDX(size uint8) func(*op, *x86.Inst) bool {
	return func(o *op, _ *x86.Inst) bool {
		o.fn = func(c *cpu, _ *op) status {
			c.setReg(emu.RDX, uint64(int64(signExtend(c.regs.GPR[emu.RAX], size))>>63), size)
			return next
		}
		return true
	}
}

// swapBytes reverses the low size bytes of v.
func swapBytes(v uint64, size uint8) uint64 { return bits.ReverseBytes64(v) >> ((64 - 8*size) & 63) }

// buildBswap: of 16 bits the result is undefined, and processors give zero.
func buildBswap(o *op, in *x86.Inst) bool {
	if !o.oneOperand(in) {
		return false
	}
	o.fn = func(c *cpu, o *op) status {
		v := swapBytes(c.regs.GPR[o.a.reg&15], o.size)
		if o.size == 2 {
			v = 0
		}
		c.setReg(o.a.reg, v, o.size)
		return next
	}
	return true
}

func buildMovbe(o *op, in *x86.Inst) bool {
	if !o.twoOperands(in) {
		return false
	}
	o.fn = func(c *cpu, o *op) status {
		v, ok := c.get(o, o.b)
		if !ok {
			return fault
		}
		return c.put(o, o.a, swapBytes(v, o.size))
	}
	return true
}

// buildXlat: AL from the table at RBX.
func buildXlat(o *op, in *x86.Inst) bool {
	m, ok := in.Args[0].(x86asm.Mem)
	if !ok || !o.setAddress(m, in) {
		return false
	}
	o.fn = func(c *cpu, o *op) status {
		a := c.regs.GPR[emu.RBX] + c.regs.GPR[emu.RAX]&0xff
		v, ok := c.load(c.eaSpecial(&o.mem, a), 0xff)
		if !ok {
			return fault
		}
		c.setReg(emu.RAX, v, 1)
		return next
	}
	return true
}
