package hwtest

import (
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// A planner makes up sequences: straight-line code and short jumps forward. To
// keep them from faulting it executes them as they grow, on a machine of its
// own. Where an instruction leaves flags undefined it adds a comparison, which
// defines them all; forms that may leave a result undefined are left out.
type planner struct {
	soft  *Machine
	forms []Form // those that may be part of a sequence
}

func newPlanner(forms []Form) (*planner, error) {
	soft, err := NewMachine()
	if err != nil {
		return nil, err
	}
	p := &planner{soft: soft}
	for _, f := range forms {
		if inSequence(&f) {
			p.forms = append(p.forms, f)
		}
	}
	return p, nil
}

// inSequence tells whether control goes on behind an instruction, whether it
// needs nothing special on the stack, and whether its result is always defined.
func inSequence(f *Form) bool {
	switch f.Op {
	case x86asm.BSF, x86asm.BSR:
		return false
	case x86asm.SHLD, x86asm.SHRD, x86asm.BSWAP:
		return !strings.Contains(f.Name, "16")
	case x86asm.JMP, x86asm.CALL, x86asm.RET, x86asm.INT, x86asm.UD2, x86asm.POPF, x86asm.POPFQ,
		x86asm.LOOP, x86asm.LOOPE, x86asm.LOOPNE, x86asm.JRCXZ, x86asm.JECXZ,
		x86asm.JA, x86asm.JAE, x86asm.JB, x86asm.JBE, x86asm.JE, x86asm.JG, x86asm.JGE, x86asm.JL, x86asm.JLE,
		x86asm.JNE, x86asm.JNO, x86asm.JNP, x86asm.JNS, x86asm.JO, x86asm.JP, x86asm.JS:
		return false
	}
	return true
}

// maxSequence is the largest number of pieces of a sequence: of instructions,
// but for the jumps and comparisons that come with some.
const maxSequence = 16

// plan makes up a sequence for the slot.
func (p *planner) plan(g *generator, slot int) (Case, error) {
	c := Case{Slot: slot, Regs: g.regs()}
	// More pointers than usual, since what is computed is none.
	for _, r := range []int{emu.RSP, emu.RBP, emu.RBX, emu.RSI, emu.RDI, emu.R12, emu.R13} {
		c.Regs.GPR[r] = g.near()
	}
	regs := c.Regs
	want := 2 + g.rng.IntN(maxSequence-1)
	for tries := 0; len(c.Cuts) < want && tries < 40*want; tries++ {
		piece, ok := p.piece(g, &regs, entry(slot)+uint64(len(c.Code)))
		if !ok || len(c.Code)+len(piece) > maxCode {
			continue
		}
		next := c
		next.Code = slices.Concat(c.Code, piece)
		if err := p.soft.Place([]Case{next}); err != nil {
			return Case{}, err
		}
		stop, after := p.soft.resume(regs, entry(slot)+uint64(len(c.Code)))
		if stop.Reason != emu.StopInt3 || after.RIP-1 != entry(slot)+uint64(len(next.Code)) {
			continue
		}
		regs = after
		c.Code, c.Cuts = next.Code, append(c.Cuts, len(next.Code))
	}
	return c, nil
}

// piece makes up an instruction whose memory operand is in the windows, given
// the registers. It may have a jump over it before it and a comparison after.
func (p *planner) piece(g *generator, regs *emu.Regs, ip uint64) ([]byte, bool) {
	var b []byte
	jump := g.chance(6)
	if jump {
		b = append(b, 0x70|byte(g.rng.IntN(16)), 0) // jcc rel8
	}
	f := &p.forms[g.rng.IntN(len(p.forms))]
	e := f.variants[g.rng.IntN(len(f.variants))].encodeAt(g.rng)
	in, err := x86.Decode(e.bytes[:])
	if err != nil || in.Op != f.Op || in.Rep != 0 && isString(in.Op) && regs.GPR[emu.RCX] > 64 {
		return nil, false
	}
	if m, ok := memory(&in); ok && !isString(in.Op) && in.Op != x86asm.XLATB && in.Op != x86asm.LEA {
		if !g.reach(m, regs, &in, &e, ip+uint64(len(b)+in.Len)) {
			return nil, false
		}
	}
	if jump {
		b[1] = byte(in.Len)
	}
	b = append(b, e.bytes[:in.Len]...)
	if _, ok := undefinedIndex[in.Op]; ok {
		r := byte(g.rng.IntN(64))
		b = append(b, 0x48, 0x39, 0xc0|r) // cmp r64, r64
	}
	return b, true
}

// reach makes the memory operand one in the windows, by its displacement where
// that is of 32 bits.
func (g *generator) reach(m x86asm.Mem, regs *emu.Regs, in *x86.Inst, e *encoding, next uint64) bool {
	sum, t := g.segment(in), g.near()
	if r, _, ok := regNumber(m.Base); ok {
		sum += regs.GPR[r]
	} else if m.Base != 0 {
		sum, t = sum+next, farBase+256+uint64(g.rng.IntN(farSize-512))
	}
	if r, _, ok := regNumber(m.Index); ok {
		sum += regs.GPR[r] * uint64(m.Scale)
	}
	if in.Has67 {
		return false // too seldom in reach
	}
	if modrm := e.bytes[e.moffs]; modrm>>6 == 2 || e.disp == e.moffs+1 && modrm&0xc7 == 5 {
		d := t - sum
		if int64(int32(d)) != int64(d) {
			return false
		}
		binary.LittleEndian.PutUint32(e.bytes[e.disp:], uint32(d))
		return true
	}
	return writable(sum+uint64(m.Disp), 16)
}
