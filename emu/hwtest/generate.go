package hwtest

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// A generator makes cases for one batch.
type generator struct {
	rng            *rand.Rand
	fsBase, gsBase uint64
}

func newGenerator(rng *rand.Rand) *generator {
	base := func() uint64 {
		switch rng.IntN(4) {
		case 0:
			return 0
		case 1:
			return uint64(rng.IntN(0x1000))
		case 2:
			return dataBase + uint64(rng.IntN(dataSize))
		}
		return rng.Uint64() >> 18 // within the lower half of the address space
	}
	return &generator{rng, base(), base()}
}

// chance is true once in n times.
func (g *generator) chance(n int) bool { return g.rng.IntN(n) == 0 }

// regs makes up a state: random registers, of which the ones usual for it
// point to memory.
func (g *generator) regs() emu.Regs {
	r := emu.Regs{FSBase: g.fsBase, GSBase: g.gsBase, Flags: emu.FlagsFixed | emu.FlagIF}
	for i := range r.GPR {
		r.GPR[i] = value(g.rng)
	}
	if g.chance(12) { // operands that are equal
		for i := range r.GPR {
			r.GPR[i] = r.GPR[0]
		}
	}
	r.Flags |= uint64(g.rng.Uint32()) & emu.FlagsStatus
	if g.chance(6) {
		r.Flags |= emu.FlagDF
	}
	if g.chance(8) {
		r.Flags |= flagID
	}
	r.GPR[emu.RSP] = g.target(8)
	if g.chance(2) {
		r.GPR[emu.RBP] = g.target(8)
	}
	return r
}

// vary changes the flags and those registers that do not point to data.
func (g *generator) vary(r *emu.Regs) {
	for i, v := range r.GPR {
		if !writable(v, 1) {
			r.GPR[i] = value(g.rng)
		}
	}
	r.Flags ^= uint64(g.rng.Uint32()) & emu.FlagsStatus
}

// target returns an address for an access of n bytes, most often one that is
// mapped.
func (g *generator) target(n int) uint64 {
	cross := uint64(1 + g.rng.IntN(max(n, 2)))
	switch g.rng.IntN(96) {
	case 0, 1:
		return roBase + uint64(g.rng.IntN(roSize))
	case 2:
		return roBase + roSize - cross
	case 3:
		return roBase - cross
	case 4:
		return dataBase - cross
	case 5:
		return farBase + farSize - cross
	case 6:
		return farBase - cross
	case 7:
		return g.rng.Uint64() >> 17
	case 8:
		return value(g.rng)
	case 9:
		return ^(g.rng.Uint64() >> 17) // the kernel's half
	case 10, 11, 12, 13:
		return dataBase + emu.PageSize*uint64(1+g.rng.IntN(3)) - cross
	case 14, 15, 16, 17:
		return farBase + emu.PageSize - cross
	}
	if g.chance(3) {
		return farBase + 256 + uint64(g.rng.IntN(farSize-512))
	}
	return g.near()
}

// near returns an address in the first window, away from its ends.
func (g *generator) near() uint64 { return dataBase + 1024 + uint64(g.rng.IntN(dataSize-2048)) }

// single makes up a case of one instruction of the form. It returns false where
// the random choices made something else; the caller tries again.
func (g *generator) single(f *Form, slot int) (Case, x86.Inst, bool) {
	v := f.variants[g.rng.IntN(len(f.variants))]
	e := v.encodeAt(g.rng)
	in, err := x86.Decode(e.bytes[:])
	if err != nil || in.Op != f.Op {
		return Case{}, in, false
	}
	c := Case{Slot: slot, Regs: g.regs()}
	g.implicit(&c.Regs, &in)
	if !g.aim(&c, &in, &e) {
		return Case{}, in, false
	}
	if !g.branch(&c, &in, &e) {
		return Case{}, in, false
	}
	// Memory whose content is not defined cannot be compared.
	u := use{&in, &c.Regs, &emu.Regs{}}
	if _, result, _ := u.undefined(); result {
		if _, ok := in.Args[0].(x86asm.Mem); ok {
			return Case{}, in, false
		}
	}
	c.Code = append([]byte(nil), e.bytes[:in.Len]...)
	return c, in, true
}

// small returns a number that is seldom large.
func (g *generator) small(n int) uint64 {
	if g.chance(8) {
		return value(g.rng)
	}
	return uint64(g.rng.IntN(n))
}

// implicit sets registers that an instruction uses without naming them, or
// uses in a way that random numbers seldom fit.
func (g *generator) implicit(r *emu.Regs, in *x86.Inst) {
	if isString(in.Op) {
		// Of two addresses that are bad either may be reported: one is good.
		from, to := g.target(8), g.near()
		if g.chance(2) {
			from, to = g.near(), g.target(8)
		}
		r.GPR[emu.RSI], r.GPR[emu.RDI] = from-g.segment(in), to
		if in.Has67 { // the upper halves do not matter
			r.GPR[emu.RSI], r.GPR[emu.RDI] = g.near()|r.GPR[emu.RAX]<<32, g.near()|r.GPR[emu.RBX]<<32
		}
		if in.Rep != 0 {
			if r.GPR[emu.RCX] = uint64(g.rng.IntN(40)); g.chance(24) {
				r.GPR[emu.RCX] = value(g.rng)
			}
			if in.Has67 {
				r.GPR[emu.RCX] |= r.GPR[emu.RDX] << 32
			}
		}
		return
	}
	switch in.Op {
	case x86asm.SHL, x86asm.SHR, x86asm.SAR, x86asm.ROL, x86asm.ROR, x86asm.RCL, x86asm.RCR, x86asm.SHLD, x86asm.SHRD:
		if g.chance(2) {
			r.GPR[emu.RCX] = r.GPR[emu.RCX]&^0xff | uint64(g.rng.IntN(34))
		}
	case x86asm.LOOP, x86asm.LOOPE, x86asm.LOOPNE, x86asm.JRCXZ, x86asm.JECXZ:
		if r.GPR[emu.RCX] = g.small(3); g.chance(4) {
			r.GPR[emu.RCX] |= 1 << (32 + g.rng.IntN(32))
		}
	case x86asm.LEAVE, x86asm.ENTER:
		r.GPR[emu.RBP] = g.target(8)
	case x86asm.BT, x86asm.BTS, x86asm.BTR, x86asm.BTC:
		if reg, ok := in.Args[1].(x86asm.Reg); ok && !g.chance(16) {
			n, _, _ := regNumber(reg)
			r.GPR[n] = uint64(int64(g.rng.IntN(8192) - 4096))
			if g.chance(4) { // bits that the operand size cuts off
				r.GPR[n] = r.GPR[n]&(1<<regBits(reg)-1) | r.GPR[emu.RAX]<<(regBits(reg)&63)
			}
		}
	case x86asm.BEXTR:
		if reg, ok := in.Args[2].(x86asm.Reg); ok && g.chance(2) {
			n, _, _ := regNumber(reg)
			r.GPR[n] = uint64(g.rng.IntN(70)) | uint64(g.rng.IntN(70))<<8
		}
	case x86asm.XLATB:
		r.GPR[emu.RBX] = g.target(1) - r.GPR[emu.RAX]&0xff - g.segment(in)
		if in.Has67 {
			r.GPR[emu.RBX] |= value(g.rng) << 32
		}
	case x86asm.DIV, x86asm.IDIV:
		g.dividend(r, in, 0, false)
	}
}

func (g *generator) segment(in *x86.Inst) uint64 {
	switch in.Seg {
	case x86asm.FS:
		return g.fsBase
	case x86asm.GS:
		return g.gsBase
	}
	return 0
}

// dividend sets DX:AX such that division often has a quotient that fits. The
// divisor is a register's, or if known the one in memory.
func (g *generator) dividend(r *emu.Regs, in *x86.Inst, divisor uint64, known bool) {
	size := uint(8 * in.MemBytes)
	if reg, ok := in.Args[0].(x86asm.Reg); ok {
		n, high, _ := regNumber(reg)
		size, known = uint(regBits(reg)), true
		if divisor = r.GPR[n]; high {
			divisor >>= 8
		}
	}
	mask := ^uint64(0) >> (64 - size)
	divisor &= mask
	if !known || divisor == 0 || g.chance(8) {
		return
	}
	lo, hi := r.GPR[emu.RAX]&mask, uint64(0)
	switch signed := int64(divisor<<(64-size)) >> (64 - size); {
	case in.Op == x86asm.DIV:
		hi = g.rng.Uint64() % divisor
	case g.chance(2):
		hi = uint64(int64(lo<<(64-size)) >> 63)
	default:
		// A dividend near the product of the divisor and an edge.
		q := int64(value(g.rng)<<(64-size)) >> (64 - size)
		h, l := bits.Mul64(uint64(signed), uint64(q))
		h -= uint64(signed>>63)&uint64(q) + uint64(q>>63)&uint64(signed)
		l, carry := bits.Add64(l, uint64(g.rng.IntN(3)), 0)
		h += carry
		lo, hi = l, h
		if size < 64 {
			hi = l >> size
		}
	}
	if size == 8 {
		r.GPR[emu.RAX] = r.GPR[emu.RAX]&^0xffff | hi&0xff<<8 | lo&0xff
		return
	}
	r.GPR[emu.RAX] = r.GPR[emu.RAX]&^mask | lo&mask
	r.GPR[emu.RDX] = r.GPR[emu.RDX]&^mask | hi&mask
}

// memory returns an instruction's memory operand.
func memory(in *x86.Inst) (x86asm.Mem, bool) {
	for _, a := range in.Args {
		if m, ok := a.(x86asm.Mem); ok {
			return m, true
		}
	}
	return x86asm.Mem{}, false
}

// aim sets registers, or the displacement, such that the memory operand is at a
// target, and stores something there.
func (g *generator) aim(c *Case, in *x86.Inst, e *encoding) bool {
	m, ok := memory(in)
	if !ok || isString(in.Op) || in.Op == x86asm.XLATB {
		return true
	}
	t := g.target(in.MemBytes)
	if in.Op == x86asm.CMPXCHG16B && !g.chance(16) {
		t &^= 15
	}
	x := t - g.segment(in) // what base, index and displacement are to come to
	next := entry(c.Slot) + uint64(in.Len)
	base, _, hasBase := regNumber(m.Base)
	index, _, hasIndex := regNumber(m.Index)
	scale, disp := uint64(m.Scale), uint64(m.Disp)
	r := &c.Regs.GPR
	narrow := func(v uint64) uint64 {
		if in.Has67 {
			return uint64(uint32(v)) | value(g.rng)<<32
		}
		return v
	}
	switch {
	case !hasBase && !hasIndex:
		at, size := e.disp, 4
		if m.Base == x86asm.RIP || m.Base == x86asm.EIP {
			x -= next // in reach are addresses in the far window
		} else if op := e.bytes[e.moffs-1]; op >= 0xa0 && op <= 0xa3 && in.N+1 == e.moffs {
			if at, size = e.moffs, 8; in.Has67 {
				size = 4
			}
		}
		if size == 4 {
			if !in.Has67 && int64(int32(x)) != int64(x) {
				return false
			}
			binary.LittleEndian.PutUint32(e.bytes[at:], uint32(x))
		} else {
			binary.LittleEndian.PutUint64(e.bytes[at:], x)
		}
	case hasBase && hasIndex && base == index:
		// (1+scale)*r = x-disp
		x -= disp
		if scale == 1 {
			t -= x & 1 // an odd sum cannot be had
			r[base] = narrow(x >> 1)
			if !in.Has67 {
				r[base] |= uint64(g.rng.IntN(2)) << 63
			}
		} else {
			r[base] = narrow(x * inverse(1+scale))
		}
	case hasBase:
		if hasIndex {
			x -= r[index] * scale
		}
		r[base] = narrow(x - disp)
	default:
		t -= (x - disp) % scale
		r[index] = narrow((x-disp)>>bits.TrailingZeros64(scale) | value(g.rng)<<(64-bits.TrailingZeros64(scale)))
	}
	if in.Has67 {
		t = g.segment(in) + uint64(uint32(t-g.segment(in)))
	}
	g.poke(c, in, t)
	return true
}

// inverse returns the number whose product with the odd n is 1.
func inverse(n uint64) uint64 {
	x := n
	for range 6 {
		x *= 2 - n*x
	}
	return x
}

// poke stores an operand at t, if anything can be stored there.
func (g *generator) poke(c *Case, in *x86.Inst, t uint64) {
	if !writable(t, 16) || g.chance(8) {
		return
	}
	v := value(g.rng)
	r := &c.Regs
	switch in.Op {
	case x86asm.CMPXCHG:
		if g.chance(2) {
			v = r.GPR[emu.RAX]
		}
	case x86asm.CMPXCHG8B, x86asm.CMPXCHG16B:
		hi := value(g.rng)
		if g.chance(2) {
			v, hi = r.GPR[emu.RAX], r.GPR[emu.RDX]
			if in.Op == x86asm.CMPXCHG8B {
				v = v&0xffffffff | hi<<32
			}
		}
		c.Pokes = append(c.Pokes, Poke{t, v}, Poke{t + 8, hi})
		return
	case x86asm.DIV, x86asm.IDIV:
		m, _ := memory(in)
		if m.Base != x86asm.RAX && m.Base != x86asm.RDX && m.Index != x86asm.RAX && m.Index != x86asm.RDX {
			g.dividend(r, in, v, true)
		}
	case x86asm.CALL, x86asm.JMP:
		v = g.goal(c.Slot)
	}
	c.Pokes = append(c.Pokes, Poke{t, v})
}

// goal returns an address to branch to: an exit, seldom one where nothing can
// execute. Where an address is not canonical processors differ: Intel's fault
// at the branch (SDM volume 2, JMP, CALL, RET: #GP), AMD's at the target.
func (g *generator) goal(slot int) uint64 {
	if !g.chance(16) {
		return exits(slot)[g.rng.IntN(2)]
	}
	if g.chance(2) {
		return dataBase + uint64(g.rng.IntN(dataSize))
	}
	return g.rng.Uint64() >> 17
}

// branch makes control transfers go to exits, and prepares the stack for what
// takes from it more than data.
func (g *generator) branch(c *Case, in *x86.Inst, e *encoding) bool {
	r := &c.Regs
	sp := r.GPR[emu.RSP]
	if _, ok := in.Args[0].(x86asm.Rel); ok {
		rel := exits(c.Slot)[g.rng.IntN(2)] - entry(c.Slot) - uint64(in.Len)
		at := e.bytes[in.PCRelOff:]
		if in.PCRel == 1 {
			at[0] = byte(rel)
		} else {
			binary.LittleEndian.PutUint32(at, uint32(rel))
		}
		return true
	}
	switch in.Op {
	case x86asm.CALL, x86asm.JMP:
		if reg, ok := in.Args[0].(x86asm.Reg); ok {
			n, _, _ := regNumber(reg)
			r.GPR[n] = g.goal(c.Slot)
			return true
		}
		// Without a known target anything could run.
		return len(c.Pokes) > 0
	case x86asm.RET:
		if !writable(sp, 8) {
			return g.chance(4) && !canRead(sp)
		}
		c.Pokes = append(c.Pokes, Poke{sp, g.goal(c.Slot)})
	case x86asm.POPF, x86asm.POPFQ:
		// A program may set flags that stop it (TF, AC), and may not change
		// some that the engine lets it.
		if !writable(sp, 8) {
			return g.chance(4) && !canRead(sp)
		}
		flags := uint64(g.rng.Uint32())&flagsCompared | emu.FlagIF
		c.Pokes = append(c.Pokes, Poke{sp, flags})
	case x86asm.ENTER:
		if !g.chance(8) {
			e.bytes[e.moffs+1] &= 3 // a frame of less than 1 KB
		}
	}
	return true
}

// canRead tells whether a load of 8 bytes at addr could read anything.
func canRead(addr uint64) bool {
	for _, a := range [2]uint64{addr, addr + 7} {
		if a >= codeBase && a-codeBase < codeSize || a >= dataBase && a-dataBase < dataSize+roSize || a >= farBase && a-farBase < farSize {
			return true
		}
	}
	return false
}
