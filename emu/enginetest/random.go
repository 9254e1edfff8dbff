package enginetest

import (
	"encoding/binary"
	"math/rand/v2"

	"ftemu/emu"
)

// A generator writes random programs: straight-line code, short forward
// branches, counted loops, calls, loads and stores. RDI, RSI and R15 point to
// data and R14 counts loops; nothing else writes them. Flags that the manual
// leaves undefined never reach another instruction, but for AF at the end.
type generator struct {
	rng  *rand.Rand
	code []byte
	deep bool // inside a loop or a function
}

// Random returns the program that belongs to the numbers of rng.
func Random(rng *rand.Rand) *Program {
	g := &generator{rng: rng}
	for range 10 + rng.IntN(50) {
		g.insn()
	}
	g.end()
	p := &Program{
		Code: g.code, Regs: startRegs(), Undefined: emu.FlagAF,
		Limits: emu.Limits{Until: Done, UseUntil: true, Insns: 3000},
	}
	for i := range p.Regs.GPR {
		switch i {
		case emu.RSP, emu.RSI, emu.RDI, emu.R15:
		default:
			p.Regs.GPR[i] = g.value()
		}
	}
	return p
}

func (g *generator) emit(b ...byte)      { g.code = append(g.code, b...) }
func (g *generator) chance(n int) bool   { return g.rng.IntN(n) == 0 }
func (g *generator) pick(b ...byte) byte { return b[g.rng.IntN(len(b))] }
func (g *generator) imm32(v uint64)      { g.code = binary.LittleEndian.AppendUint32(g.code, uint32(v)) }
func (g *generator) target() byte {
	return g.pick(emu.RAX, emu.RCX, emu.RDX, emu.RBX, emu.RBP, emu.R8, emu.R9, emu.R10, emu.R11, emu.R12, emu.R13)
}
func (g *generator) source() byte { return byte(g.rng.IntN(16)) }

// value favours the borders of number ranges.
func (g *generator) value() uint64 {
	switch g.rng.IntN(4) {
	case 0:
		return uint64(g.rng.IntN(5)) - 2
	case 1:
		return 1<<g.rng.IntN(64) - uint64(g.rng.IntN(3))
	}
	return g.rng.Uint64()
}

// An operand in the place of r/m: a register, or memory off one of the pointers.
type operand struct {
	mem         bool
	reg         byte // the register or the base
	index, disp int  // index -1: none
	scale       byte
}

func (g *generator) register(r byte) operand { return operand{reg: r} }

func (g *generator) memory() operand {
	o := operand{mem: true, reg: g.pick(emu.RDI, emu.RSI, emu.R15), index: -1, disp: g.rng.IntN(0x180)}
	switch g.rng.IntN(12) {
	case 0:
		o.disp = 0xbf0 + g.rng.IntN(16) // RSI: up to the page border
	case 1:
		o.disp = 0xff8 + g.rng.IntN(8) // RDI and R15: across it
	case 2:
		o.reg = emu.RSP
		o.disp = -0x100 + g.rng.IntN(0x40)
	case 3:
		o.index, o.scale = emu.R14, byte(g.rng.IntN(4))
	}
	if o.index >= 0 {
		// The loop counter is small where a loop is, or zeroed here.
		if !g.deep {
			g.emit(0x45, 0x31, 0xf6) // xor %r14d,%r14d
		}
	}
	return o
}

// either is memory or a register that may be written.
func (g *generator) either() operand {
	if g.chance(3) {
		return g.memory()
	}
	return g.register(g.target())
}

// op emits an instruction with a ModRM byte. size is the operand size in bytes;
// opcode is that of the size above one, the byte form is one less.
func (g *generator) op(size int, lock bool, opcode []byte, reg byte, rm operand) {
	if lock {
		g.emit(0xf0)
	}
	g.plain(size, nil, opcode, reg, rm, true)
}

func (g *generator) plain(size int, prefix, opcode []byte, reg byte, rm operand, bytes bool) {
	if size == 2 {
		g.emit(0x66)
	}
	g.emit(prefix...)
	rex := byte(0x40) | reg>>3<<2 | rm.reg>>3
	if rm.mem && rm.index >= 0 {
		rex |= byte(rm.index) >> 3 << 1
	}
	if size == 8 {
		rex |= 8
	}
	if rex != 0x40 || size == 1 || g.chance(8) {
		g.emit(rex) // with size 1 it makes 4 to 7 the low bytes
	}
	last := opcode[len(opcode)-1]
	if size == 1 && bytes {
		last--
	}
	g.emit(opcode[:len(opcode)-1]...)
	g.emit(last)
	g.modrm(reg, rm)
}

func (g *generator) modrm(reg byte, rm operand) {
	reg = reg & 7 << 3
	if !rm.mem {
		g.emit(0xc0 | reg | rm.reg&7)
		return
	}
	mod := byte(0x80)
	short := rm.disp >= -128 && rm.disp < 128
	if short {
		mod = 0x40
	}
	switch {
	case rm.index >= 0:
		g.emit(mod|reg|4, rm.scale<<6|byte(rm.index)&7<<3|rm.reg&7)
	case rm.reg&7 == 4:
		g.emit(mod|reg|4, 0x24)
	default:
		g.emit(mod | reg | rm.reg&7)
	}
	if short {
		g.emit(byte(rm.disp))
	} else {
		g.imm32(uint64(rm.disp))
	}
}

func (g *generator) size() int { return []int{1, 2, 4, 4, 8, 8}[g.rng.IntN(6)] }
func (g *generator) wide() int { return []int{2, 4, 4, 8, 8}[g.rng.IntN(5)] }

// immediate emits one as an instruction of the size takes it.
func (g *generator) immediate(size int) {
	v := g.value()
	switch size {
	case 1:
		g.emit(byte(v))
	case 2:
		g.emit(byte(v), byte(v>>8))
	default:
		g.imm32(v)
	}
}

// define sets all flags to something known: cmp of two registers.
func (g *generator) define() {
	g.op(g.size(), false, []byte{0x39}, g.source(), g.register(g.source()))
}

// insn emits one instruction or a short group that belongs together.
func (g *generator) insn() {
	switch g.rng.IntN(26) {
	case 0, 1, 2:
		g.arith()
	case 3, 4, 5:
		g.move()
	case 6, 7:
		g.shift()
	case 8, 9:
		g.unary()
	case 10:
		g.multiply()
	case 11:
		g.divide()
	case 12, 13:
		g.bits()
	case 14:
		g.exchange()
	case 15, 16:
		g.conditional()
	case 17:
		g.stack()
	case 18:
		g.str()
	case 19, 20, 21:
		g.branch()
	case 22:
		g.loop()
	case 23:
		g.call()
	case 24:
		g.single()
	case 25:
		if g.chance(12) {
			g.stop()
		}
	}
}

// arith: add, or, adc, sbb, and, sub, xor, cmp, test in their forms.
func (g *generator) arith() {
	n, size := byte(g.rng.IntN(8)), g.size()
	switch g.rng.IntN(5) {
	case 0:
		rm := g.either()
		g.op(size, rm.mem && n != 7 && g.chance(3), []byte{n<<3 | 1}, g.source(), rm)
	case 1:
		rm := g.memory()
		g.op(size, false, []byte{n<<3 | 3}, g.target(), rm)
	case 2:
		rm := g.either()
		g.op(size, false, []byte{0x81}, n, rm)
		g.immediate(size)
	case 3:
		rm := g.either()
		size = g.wide()
		g.op(size, false, []byte{0x83}, n, rm)
		g.emit(byte(g.value()))
	case 4:
		rm := g.either()
		g.op(size, false, []byte{0x85}, g.source(), rm)
	}
}

func (g *generator) move() {
	size := g.size()
	switch g.rng.IntN(6) {
	case 0:
		rm := g.either()
		g.op(size, false, []byte{0x89}, g.source(), rm)
	case 1:
		rm := g.memory()
		g.op(size, false, []byte{0x8b}, g.target(), rm)
	case 2:
		rm := g.either()
		g.op(size, false, []byte{0xc7}, 0, rm)
		g.immediate(size)
	case 3: // movzx, movsx
		rm := g.either()
		g.plain(g.wide(), nil, []byte{0x0f, g.pick(0xb6, 0xb7, 0xbe, 0xbf)}, g.target(), fix(rm), false)
	case 4: // lea
		g.plain(g.wide(), nil, []byte{0x8d}, g.target(), g.memory(), false)
	case 5:
		r := g.target()
		g.emit(0x48|r>>3, 0xb8|r&7)
		g.code = binary.LittleEndian.AppendUint64(g.code, g.value())
	}
}

// fix keeps byte registers out of the numbers that are high bytes without REX.
func fix(rm operand) operand {
	if !rm.mem && rm.reg >= 4 && rm.reg < 8 {
		rm.reg = emu.RBX
	}
	return rm
}

// shift: rotates, shifts and double shifts.
func (g *generator) shift() {
	size := g.size()
	switch g.rng.IntN(4) {
	case 0:
		rm := g.either()
		g.op(size, false, []byte{0xd1}, g.pick(0, 1, 2, 3, 4, 5, 7), rm)
	case 1:
		rm := g.either()
		g.op(size, false, []byte{0xc1}, g.pick(0, 1, 2, 3, 4, 5, 7), rm)
		g.emit(byte(g.rng.IntN(80)))
	case 2:
		rm := g.either()
		g.op(size, false, []byte{0xd3}, g.pick(0, 1, 2, 3, 4, 5, 7), rm)
	case 3:
		// 16 bits with a count above 16 has no defined result.
		g.plain([]int{4, 8}[g.rng.IntN(2)], nil, []byte{0x0f, g.pick(0xa4, 0xac)}, g.source(), g.either(), false)
		g.emit(byte(g.rng.IntN(80)))
	}
	g.define()
}

func (g *generator) unary() {
	rm := g.either()
	lock := rm.mem && g.chance(4)
	if g.chance(2) {
		g.op(g.size(), lock, []byte{0xff}, g.pick(0, 1), rm) // inc, dec
	} else {
		// not, neg; the flags of lock neg are wrong in Unicorn 2.0.1.
		n := g.pick(2, 3)
		g.op(g.size(), lock && n == 2, []byte{0xf7}, n, rm)
	}
}

func (g *generator) multiply() {
	switch g.rng.IntN(3) {
	case 0:
		g.op(g.size(), false, []byte{0xf7}, g.pick(4, 5), g.either())
	case 1:
		g.plain(g.wide(), nil, []byte{0x0f, 0xaf}, g.target(), g.either(), false)
	case 2:
		size := g.wide()
		g.plain(size, nil, []byte{0x69}, g.target(), g.either(), false)
		g.immediate(size)
	}
	g.define()
}

// divide divides by something odd, or by anything at all.
func (g *generator) divide() {
	if g.chance(20) {
		g.op(g.size(), false, []byte{0xf7}, g.pick(6, 7), g.either())
		g.define()
		return
	}
	g.emit(0x83, 0xc9, 0x01) // or $1,%ecx
	if g.chance(2) {
		g.emit(0x31, 0xd2, 0xf7, 0xf1) // xor %edx,%edx; div %ecx
	} else {
		g.emit(0x25)
		g.imm32(0x7fffffff)
		g.emit(0x99, 0xf7, 0xf9) // and $0x7fffffff,%eax; cltd; idiv %ecx
	}
	g.define()
}

func (g *generator) bits() {
	size := g.wide()
	switch g.rng.IntN(4) {
	case 0: // bt, bts, btr, btc with an immediate
		g.plain(size, nil, []byte{0x0f, 0xba}, g.pick(4, 5, 6, 7), g.either(), false)
		g.emit(byte(g.rng.IntN(80)))
	case 1: // with a register
		g.plain(size, nil, []byte{0x0f, g.pick(0xa3, 0xab, 0xb3, 0xbb)}, g.source(), g.register(g.target()), false)
	case 2: // bsf, bsr of something that is not zero
		r := g.target()
		g.op(4, false, []byte{0x83}, 1, g.register(r)) // or $imm8
		g.emit(byte(1 + g.rng.IntN(100)))
		g.plain(4, nil, []byte{0x0f, g.pick(0xbc, 0xbd)}, g.target(), g.register(r), false)
	case 3: // bswap
		r := g.target()
		g.emit(0x40|g.pick(0, 8)|r>>3, 0x0f, 0xc8|r&7)
	}
	g.define()
}

// exchange: xchg, xadd, cmpxchg.
func (g *generator) exchange() {
	rm := g.either()
	lock := rm.mem && g.chance(2)
	switch g.rng.IntN(3) {
	case 0:
		g.op(g.size(), false, []byte{0x87}, g.target(), rm)
	case 1:
		g.op(g.size(), lock, []byte{0x0f, 0xc1}, g.target(), rm)
	case 2:
		size := g.size()
		if g.chance(2) { // so that it succeeds now and then
			g.op(size, false, []byte{0x8b}, emu.RAX, rm)
		}
		if !rm.mem && size == 4 {
			size = 8 // Unicorn 2.0.1 extends the register even if it does not write it
		}
		if size == 4 {
			g.emit(0x89, 0xc0) // mov %eax,%eax: nor should it extend RAX on success
		}
		g.op(size, lock, []byte{0x0f, 0xb1}, g.source(), rm)
	}
}

// conditional: setcc, cmovcc, adc and sbb chains.
func (g *generator) conditional() {
	cc := byte(g.rng.IntN(16))
	if g.chance(2) {
		g.plain(1, nil, []byte{0x0f, 0x90 | cc}, 0, g.either(), false)
	} else {
		g.plain(g.wide(), nil, []byte{0x0f, 0x40 | cc}, g.target(), g.either(), false)
	}
}

func (g *generator) stack() {
	a, b := g.source(), g.target()
	switch g.rng.IntN(3) {
	case 0:
		g.emit(0x40|a>>3, 0x50|a&7, 0x40|b>>3, 0x58|b&7)
	case 1:
		g.plain(4, nil, []byte{0xff}, 6, g.memory(), false) // push m
		g.emit(0x40|b>>3, 0x58|b&7)
	case 2:
		g.emit(0x68)
		g.imm32(g.value())
		g.plain(4, nil, []byte{0x8f}, 0, g.memory(), false) // pop m
	}
}

// str runs a string instruction on pointers of its own.
func (g *generator) str() {
	g.emit(0x56, 0x57) // push %rsi; push %rdi
	g.emit(0xb9)       // mov $n,%ecx
	g.imm32(uint64(g.rng.IntN(9)))
	op := g.pick(0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf)
	// Backwards it may leave the data. Which operand of cmps fails first, if
	// both do, is nobody's promise.
	back := g.chance(4) && op&^1 != 0xa6
	if back {
		g.emit(0xfd)
	}
	if g.chance(3) {
		g.emit(0x66)
	}
	g.emit(g.pick(0xf2, 0xf3))
	if g.chance(3) {
		g.emit(0x48)
	}
	g.emit(op)
	if back {
		g.emit(0xfc)
	}
	g.emit(0x5f, 0x5e)
}

// over emits body with a jump of the given opcode bytes over it.
func (g *generator) over(jump []byte, body func()) {
	g.emit(jump...)
	g.emit(0)
	at := len(g.code)
	body()
	g.code[at-1] = byte(len(g.code) - at)
}

func (g *generator) branch() {
	if g.deep && g.chance(2) {
		return
	}
	g.over([]byte{0x70 | byte(g.rng.IntN(16))}, func() {
		g.emit(0x90) // a jump to what is next anyway would be no branch
		deep := g.deep
		g.deep = true
		g.arith()
		g.move()
		g.deep = deep
	})
}

func (g *generator) loop() {
	if g.deep {
		return
	}
	g.deep = true
	g.emit(0x41, 0xbe) // mov $n,%r14d
	g.imm32(uint64(1 + g.rng.IntN(12)))
	start := len(g.code)
	for range 1 + g.rng.IntN(4) {
		g.arith()
		g.move()
		g.conditional()
	}
	g.emit(0x41, 0xff, 0xce) // dec %r14d
	g.emit(0x0f, 0x85)
	g.imm32(uint64(start - len(g.code) - 4))
	g.deep = false
}

// call calls a function that it puts behind itself.
func (g *generator) call() {
	if g.deep {
		return
	}
	g.deep = true
	g.emit(0xe8)
	g.imm32(2)
	g.emit(0xeb, 0) // jmp over the function
	at := len(g.code)
	g.arith()
	g.move()
	g.emit(0xc3)
	g.code[at-1] = byte(len(g.code) - at)
	g.deep = false
}

// single: instructions of one form.
func (g *generator) single() {
	switch g.rng.IntN(8) {
	case 0:
		g.emit(g.pick(0xf5, 0xf8, 0xf9)) // cmc, clc, stc
	case 1:
		g.emit(0x48, g.pick(0x98, 0x99)) // cltq, cqto
	case 2:
		g.emit(g.pick(0x98, 0x99)) // cwtl, cltd
	case 3:
		g.emit(0x66, g.pick(0x98, 0x99))
	case 4:
		g.define()
		g.emit(0x9f) // lahf
	case 5:
		g.emit(0x9e) // sahf
	case 6:
		g.define()
		g.emit(0x9c, 0x58) // pushf; pop %rax
	case 7:
		g.emit(0x0f, 0x1f, 0x44, 0, 0, 0xf3, 0x0f, 0x1e, 0xfa) // nop5; endbr64
	}
}

// stop emits what ends the run, or may.
func (g *generator) stop() {
	switch g.rng.IntN(6) {
	case 0:
		g.emit(0xcc)
	case 1:
		g.emit(0x0f, 0x0b)
	case 2:
		g.emit(0xf4)
	case 3: // through a register that holds anything
		r := g.target()
		g.plain(8, nil, []byte{g.pick(0x89, 0x8b, 0xff)}, 0, operand{mem: true, reg: r, index: -1}, false)
	case 4:
		g.emit(0xff, 0xe0|g.target()&3)
	case 5:
		g.plain(8, nil, []byte{0x89}, g.source(), operand{mem: true, reg: emu.RDI, index: -1, disp: size - 1 - g.rng.IntN(9)}, false)
	}
}

func (g *generator) end() {
	g.emit(0xc3)
}
