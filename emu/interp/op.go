package interp

import (
	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// An op is one decoded instruction, ready to execute. It belongs to no CPU.
type op struct {
	fn func(*cpu, *op) status
	// quick is executed in place of fn where the rest of the block is going to
	// be: it is fn, or noFlags if a following operation sets all flags
	// before anyone can look at them.
	quick   func(*cpu, *op) status
	noFlags func(*cpu, *op) status // fn without setting flags; nil if there is none
	flow    flow

	// dst and src are register numbers for operations specialised by shape.
	// The value of the source is GPR[src]&srcMask + imm, so that a register
	// and an immediate cost the same.
	imm      uint64 // immediate value or branch target, sign-extended
	srcMask  uint64
	mask     uint64 // the bits of an operand of the size below
	dst, src uint8
	size     uint8 // operand size in bytes
	sh       uint8 // 64 - 8*size
	a, b     operand
	place    place

	mem address

	ip   uint64
	next uint64 // the address of the instruction behind it

	// For operations that work on operands of any shape and size: those in a
	// and b.
	alu  aluFunc
	cond func(*flags) bool
}

// An aluFunc computes a result of two operands of 64-sh bits and sets flags.
// Bits of the result above the operand size mean nothing.
type aluFunc func(c *cpu, a, b uint64, sh uint8) uint64

// An address is a memory operand: GPR[base]&baseMask +
// (GPR[index]&indexMask)<<scale + disp, with the instruction pointer already in
// disp, and seldom something else.
type address struct {
	baseMask, indexMask uint64
	disp                uint64
	base, index, scale  uint8
	special             bool // seg or narrow is set
	seg                 x86asm.Reg
	narrow              bool // the sum has 32 bits
}

// ea returns the address of the memory operand.
func (c *cpu) ea(o *op) uint64 {
	if o.mem.special {
		return c.eaSpecial(&o.mem, c.eaPlain(o))
	}
	return c.eaPlain(o)
}

// eaPlain is ea of an operand that is not special.
func (c *cpu) eaPlain(o *op) uint64 {
	m := &o.mem
	return c.regs.GPR[m.base&15]&m.baseMask + (c.regs.GPR[m.index&15]&m.indexMask)<<(m.scale&63) + m.disp
}

func (c *cpu) eaSpecial(m *address, a uint64) uint64 {
	if m.narrow {
		a = uint64(uint32(a))
	}
	return a + c.segmentBase(m.seg)
}

func (c *cpu) segmentBase(seg x86asm.Reg) uint64 {
	switch seg {
	case x86asm.FS:
		return c.regs.FSBase
	case x86asm.GS:
		return c.regs.GSBase
	}
	return 0
}

// val returns the source operand of an op specialised by shape. Its bits above
// the operand size mean nothing.
func (c *cpu) val(o *op) uint64 { return c.regs.GPR[o.src&15]&o.srcMask + o.imm }

// An operandKind says where an operand is.
type operandKind uint8

const (
	noOperand operandKind = iota
	inReg
	inHigh // bits 8 to 15 of a register: ah, ch, dh, bh
	inMem
	inImm
)

// An operand is one of those an instruction names.
type operand struct {
	kind operandKind
	reg  uint8
	size uint8 // in bytes
}

// sizeMask holds the bits of an operand of size bytes.
func sizeMask(size uint8) uint64 { return ^uint64(0) >> ((64 - 8*size) & 63) }

// get reads an operand, zero-extended.
func (c *cpu) get(o *op, x operand) (v uint64, ok bool) {
	switch x.kind {
	case inReg:
		return c.regs.GPR[x.reg&15] & sizeMask(x.size), true
	case inHigh:
		return c.regs.GPR[x.reg&15] >> 8 & 0xff, true
	case inMem:
		return c.load(c.ea(o), sizeMask(x.size))
	}
	return o.imm & sizeMask(x.size), true
}

// put writes an operand. A 32-bit register result clears the upper half, the
// smaller ones leave the rest of the register alone.
func (c *cpu) put(o *op, x operand, v uint64) status {
	switch x.kind {
	case inMem:
		return c.store(c.ea(o), v, x.size)
	case inHigh:
		r := &c.regs.GPR[x.reg&15]
		*r = *r&^0xff00 | v&0xff<<8
	case inReg:
		c.setReg(x.reg, v, x.size)
	}
	return next
}

// setReg writes the low size bytes of a register.
func (c *cpu) setReg(reg uint8, v uint64, size uint8) {
	r := &c.regs.GPR[reg&15]
	switch size {
	case 1:
		*r = *r&^0xff | v&0xff
	case 2:
		*r = *r&^0xffff | v&0xffff
	case 4:
		*r = uint64(uint32(v))
	default:
		*r = v
	}
}

// regOf translates a register name to its number and size; ok is false for
// registers other than the general ones.
func regOf(r x86asm.Reg) (x operand, ok bool) {
	switch {
	case r >= x86asm.AL && r <= x86asm.BL:
		return operand{inReg, uint8(r - x86asm.AL), 1}, true
	case r >= x86asm.AH && r <= x86asm.BH:
		return operand{inHigh, uint8(r - x86asm.AH), 1}, true
	case r >= x86asm.SPB && r <= x86asm.R15B:
		return operand{inReg, uint8(r-x86asm.SPB) + emu.RSP, 1}, true
	case r >= x86asm.AX && r <= x86asm.R15W:
		return operand{inReg, uint8(r - x86asm.AX), 2}, true
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return operand{inReg, uint8(r - x86asm.EAX), 4}, true
	case r >= x86asm.RAX && r <= x86asm.R15:
		return operand{inReg, uint8(r - x86asm.RAX), 8}, true
	}
	return operand{}, false
}

// setAddress takes over a memory operand.
func (o *op) setAddress(m x86asm.Mem, in *x86.Inst) bool {
	o.mem = address{disp: uint64(m.Disp), scale: 0}
	switch m.Base {
	case 0:
	case x86asm.RIP, x86asm.EIP:
		o.mem.disp += o.next
	default:
		r, ok := regOf(m.Base)
		if !ok {
			return false
		}
		o.mem.base, o.mem.baseMask = r.reg, ^uint64(0)
	}
	if m.Index != 0 {
		r, ok := regOf(m.Index)
		if !ok {
			return false
		}
		o.mem.index, o.mem.indexMask = r.reg, ^uint64(0)
		for s := m.Scale; s > 1; s >>= 1 {
			o.mem.scale++
		}
	}
	o.mem.seg, o.mem.narrow = in.Seg, in.Has67
	o.mem.special = in.Seg != 0 || in.Has67
	return true
}

// operandOf translates the instruction's i-th argument, with the size given for
// immediates. A memory operand and an immediate go into the op, which has room
// for one of each.
func (o *op) operandOf(in *x86.Inst, i int, immSize uint8) (operand, bool) {
	switch x := in.Args[i].(type) {
	case x86asm.Reg:
		return regOf(x)
	case x86asm.Mem:
		switch in.MemBytes {
		case 1, 2, 4, 8:
		default:
			return operand{}, false
		}
		return operand{kind: inMem, size: uint8(in.MemBytes)}, o.setAddress(x, in)
	case x86asm.Imm:
		o.imm = uint64(x)
		return operand{kind: inImm, size: immSize}, true
	}
	return operand{}, false
}

// twoOperands fills a and b from the first two arguments; the operand size is
// that of the first.
func (o *op) twoOperands(in *x86.Inst) bool {
	if !o.oneOperand(in) {
		return false
	}
	var ok bool
	o.b, ok = o.operandOf(in, 1, o.a.size)
	return ok
}

// oneOperand fills a from the first argument.
func (o *op) oneOperand(in *x86.Inst) bool {
	var ok bool
	o.a, ok = o.operandOf(in, 0, 8)
	o.setSize(o.a.size)
	return ok
}

func (o *op) setSize(size uint8) {
	o.size, o.sh, o.mask = size, 64-8*size, sizeMask(size)
}

// specialised holds the operations of an instruction for the most frequent
// shapes of operands, of 32 and 64 bits: register with register or immediate,
// register with memory, memory with register or immediate. Nil: none.
type specialised struct {
	regVal, regMem, memVal func(*cpu, *op) status
	// The first two without flags; nil: none.
	regValNoFlags, regMemNoFlags func(*cpu, *op) status
	flow                         flow // of regVal
}

// pick returns the operation for the op's operands, and prepares dst and src
// for it, or nil.
func (s *specialised) pick(o *op) func(*cpu, *op) status {
	if o.size < 4 {
		return nil
	}
	return s.pickAnySize(o)
}

// pickAnySize is pick for operations that write no register, so that any size
// will do.
func (s *specialised) pickAnySize(o *op) func(*cpu, *op) status {
	if o.mem.special || o.a.kind == inHigh || o.b.kind == inHigh || o.b.kind != inImm && o.b.size != o.size {
		return nil
	}
	o.dst = o.a.reg
	switch {
	case o.a.kind == inReg && o.b.kind == inMem:
		o.noFlags = s.regMemNoFlags
		return s.regMem
	case o.b.kind == inReg:
		o.src, o.srcMask, o.imm = o.b.reg, ^uint64(0), 0
	}
	if o.a.kind == inReg {
		o.noFlags, o.flow = s.regValNoFlags, s.flow
		return s.regVal
	}
	return s.memVal
}
