package trampoline

import (
	"math"

	"ftemu/x86"
)

// rexW is the REX prefix of a 64-bit operation.
const rexW = 0x48

// rm64 emits a 64-bit instruction on register reg and register rm.
func (a *Asm) rm64(op byte, reg, rm Reg) {
	a.bytes(rexW|reg.ext()<<2|rm.ext(), op, 0xc0|reg.low()<<3|rm.low())
}

// mem64 emits a 64-bit instruction on reg (a register, or an opcode extension)
// and memory, with the shortest displacement: none, 8 or 32 bits.
func (a *Asm) mem64(op byte, reg Reg, m Mem) {
	a.bytes(rexW | reg.ext()<<2 | m.Base.ext())
	a.opMem(op, reg, m)
}

// opMem emits an opcode with its operands, behind the prefixes.
func (a *Asm) opMem(op byte, reg Reg, m Mem) {
	a.bytes(op)
	mod := byte(0x80)
	switch {
	case m.Disp == 0 && m.Base.low() != RBP.low(): // mod 0 with rbp or r13 would mean something else
		mod = 0
	case m.Disp >= math.MinInt8 && m.Disp <= math.MaxInt8:
		mod = 0x40
	}
	a.bytes(mod | reg.low()<<3 | m.Base.low())
	if m.Base.low() == RSP.low() {
		a.bytes(0x24) // a SIB byte that says: base only
	}
	switch mod {
	case 0x40:
		a.bytes(byte(m.Disp))
	case 0x80:
		a.imm32(uint32(m.Disp))
	}
}

// Mov emits mov src, dst for registers (89 /r).
func (a *Asm) Mov(dst, src Reg) { a.rm64(0x89, src, dst) }

// Load emits mov m, dst (8b /r).
func (a *Asm) Load(dst Reg, m Mem) { a.mem64(0x8b, dst, m) }

// LoadDisp32 emits mov m, dst with a displacement of 32 bits even where fewer
// would do.
func (a *Asm) LoadDisp32(dst Reg, m Mem) {
	a.bytes(rexW|dst.ext()<<2|m.Base.ext(), 0x8b, 0x80|dst.low()<<3|m.Base.low())
	if m.Base.low() == RSP.low() {
		a.bytes(0x24)
	}
	a.imm32(uint32(m.Disp))
}

// Store emits mov src, m (89 /r).
func (a *Asm) Store(m Mem, src Reg) { a.mem64(0x89, src, m) }

// StoreImm emits movq imm, m (c7 /0): imm is extended to 64 bits by its sign.
func (a *Asm) StoreImm(m Mem, imm int32) {
	a.mem64(0xc7, 0, m)
	a.imm32(uint32(imm))
}

// Lea emits lea m, dst (8d /r).
func (a *Asm) Lea(dst Reg, m Mem) { a.mem64(0x8d, dst, m) }

// LoadRIP emits mov target(%rip), dst.
func (a *Asm) LoadRIP(dst Reg, target uint64) {
	insn := a.Off()
	a.bytes(rexW|dst.ext()<<2, 0x8b, 0x05|dst.low()<<3)
	a.rel32(insn, RefRIPRel, target)
}

// LoadLabel emits mov label(%rip), dst.
func (a *Asm) LoadLabel(dst Reg, label string) {
	insn := a.Off()
	a.bytes(rexW|dst.ext()<<2, 0x8b, 0x05|dst.low()<<3)
	a.toLabel(insn, 4, label, RefRIPRel)
}

// MovImm loads a constant the way the kernel's BPF JIT does: xor of the 32-bit
// register for zero, a 32-bit immediate where it suffices, else 64 bits.
func (a *Asm) MovImm(dst Reg, v uint64) {
	switch {
	case v == 0:
		a.Xor32(dst)
	case v <= math.MaxUint32:
		if dst.ext() != 0 {
			a.bytes(0x41)
		}
		a.bytes(0xb8 | dst.low())
		a.imm32(uint32(v))
	default:
		a.refs = append(a.refs, Ref{a.Off(), RefImm64, v})
		a.bytes(rexW|dst.ext(), 0xb8|dst.low())
		a.imm64(v)
	}
}

// MovImmSigned emits movq imm, dst (c7 /0): imm is extended to 64 bits by its
// sign. The kernel's assembler takes this form for small constants.
func (a *Asm) MovImmSigned(dst Reg, imm int32) {
	a.rm64(0xc7, 0, dst)
	a.imm32(uint32(imm))
}

// Xor32 clears a register (31 /r on its lower half).
func (a *Asm) Xor32(r Reg) {
	if r.ext() != 0 {
		a.bytes(0x45)
	}
	a.bytes(0x31, 0xc0|r.low()<<3|r.low())
}

// arith emits op imm, r with opcode extension ext: 8-bit immediates in the
// short form, others in the 32-bit form, which for rax has no ModRM byte.
func (a *Asm) arith(ext Reg, r Reg, imm int32) {
	if imm >= math.MinInt8 && imm <= math.MaxInt8 {
		a.rm64(0x83, ext, r)
		a.bytes(byte(imm))
		return
	}
	if r == RAX {
		a.bytes(rexW, byte(ext)<<3|0x05)
	} else {
		a.rm64(0x81, ext, r)
	}
	a.imm32(uint32(imm))
}

// AddImm emits add imm, r.
func (a *Asm) AddImm(r Reg, imm int32) { a.arith(0, r, imm) }

// SubImm emits sub imm, r.
func (a *Asm) SubImm(r Reg, imm int32) { a.arith(5, r, imm) }

// Test emits test y, x.
func (a *Asm) Test(x, y Reg) { a.rm64(0x85, y, x) }

// CmpMem emits cmpq imm, m with an 8-bit immediate (83 /7).
func (a *Asm) CmpMem(m Mem, imm int8) {
	a.mem64(0x83, 7, m)
	a.bytes(byte(imm))
}

// Push emits push r.
func (a *Asm) Push(r Reg) { a.stack(0x50, r) }

// Pop emits pop r.
func (a *Asm) Pop(r Reg) { a.stack(0x58, r) }

func (a *Asm) stack(op byte, r Reg) {
	if r.ext() != 0 {
		a.bytes(0x41)
	}
	a.bytes(op | r.low())
}

// PushMem emits pushq m (ff /6). With base rsp, its value before the push counts.
func (a *Asm) PushMem(m Mem) { a.stackMem(0xff, 6, m) }

// PopMem emits popq m (8f /0). With base rsp, its value after the pop counts.
func (a *Asm) PopMem(m Mem) { a.stackMem(0x8f, 0, m) }

func (a *Asm) stackMem(op byte, ext Reg, m Mem) {
	if m.Base.ext() != 0 {
		a.bytes(0x41)
	}
	a.opMem(op, ext, m)
}

// PushFlags emits pushfq.
func (a *Asm) PushFlags() { a.bytes(0x9c) }

// PopFlags emits popfq.
func (a *Asm) PopFlags() { a.bytes(0x9d) }

// Leave emits leave: mov %rbp, %rsp; pop %rbp.
func (a *Asm) Leave() { a.bytes(0xc9) }

// Int3 emits int3.
func (a *Asm) Int3() { a.bytes(x86.OpInt3) }

// Endbr64 emits the landing pad of indirect branch tracking.
func (a *Asm) Endbr64() { a.bytes(0xf3, 0x0f, 0x1e, 0xfa) }

// Nop emits n bytes of the kernel's nops.
func (a *Asm) Nop(n int) { a.code = x86.AppendNops(a.code, n) }

// Align emits nops up to the next address that n (a power of two) divides.
func (a *Asm) Align(n uint64) { a.Nop(int(-a.Addr() & (n - 1))) }

// Call emits call target (e8 rel32).
func (a *Asm) Call(target uint64) {
	insn := a.Off()
	a.bytes(x86.OpCall)
	a.rel32(insn, RefCall, target)
}

// CallReg emits call *r (ff /2).
func (a *Asm) CallReg(r Reg) {
	if r.ext() != 0 {
		a.bytes(0x41)
	}
	a.bytes(0xff, 0xd0|r.low())
}

// Jmp emits jmp target (e9 rel32).
func (a *Asm) Jmp(target uint64) {
	insn := a.Off()
	a.bytes(x86.OpJmp)
	a.rel32(insn, RefJmp, target)
}

// A Cond is the condition of a conditional jump, as the processor numbers it.
type Cond byte

// The conditions in use.
const (
	CondZ  Cond = 4 // zero, equal
	CondNZ Cond = 5 // not zero, not equal
)

// JccShort emits the two-byte conditional jump to a label.
func (a *Asm) JccShort(c Cond, label string) {
	insn := a.Off()
	a.bytes(0x70 | byte(c))
	a.toLabel(insn, 1, label, 0)
}

// JccNear emits the six-byte conditional jump to a label.
func (a *Asm) JccNear(c Cond, label string) {
	insn := a.Off()
	a.bytes(0x0f, 0x80|byte(c))
	a.toLabel(insn, 4, label, 0)
}

// Quad emits a 64-bit word of data, aligned or not.
func (a *Asm) Quad(v uint64) {
	a.refs = append(a.refs, Ref{a.Off(), RefQuad, v})
	a.data = append(a.data, Span{a.Off(), 8})
	a.imm64(v)
}
