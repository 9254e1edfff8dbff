package patcher

import (
	"encoding/binary"
	"slices"

	"ftemu/emu"
	"ftemu/x86"
)

// emulable tells whether the int3 handler can stand in for the instruction. One
// shorter than the site is followed by int3s (text_poke_loc_init).
func emulable(b x86.Bytes5) bool {
	n := 0
	switch {
	case b == x86.Nop5, b[0] == x86.OpCall, b[0] == x86.OpJmp:
		return true
	case b[0] == x86.OpRet, b[0] == x86.OpInt3:
		n = 1
	case b[0] == opJmp8, isJcc8(b[0]):
		n = 2
	default:
		return false
	}
	for _, rest := range b[n:] {
		if rest != x86.OpInt3 {
			return false
		}
	}
	return true
}

// opJmp8 is the opcode of jmp rel8.
const opJmp8 = 0xeb

// isJcc8 tells whether op is a conditional jump with an 8-bit displacement.
func isJcc8(op byte) bool { return op&0xf0 == 0x70 }

// Trap is the int3 handler: emu.Config.Trap can call it. It claims an int3 at a
// site of the batch that is being changed and takes the CPU where the site's
// new instruction leads (poke_int3_handler); others it leaves alone. A new call
// whose push faults is not claimed.
func (p *Poker) Trap(c emu.CPU) bool {
	r := c.Regs()
	i, ok := slices.BinarySearchFunc(p.batch, r.RIP-1, func(c Change, ip uint64) int {
		if c.IP < ip {
			return -1
		}
		if c.IP > ip {
			return 1
		}
		return 0
	})
	if ok && p.SkipTraps {
		r.RIP = p.batch[i].IP + x86.SiteLen
		return true
	}
	return ok && emulate(r, c.Memory(), p.batch[i])
}

// emulate does what the new instruction of a site does.
func emulate(r *emu.Regs, mem *emu.Memory, c Change) bool {
	switch form, target := x86.ParseSite(c.New, c.IP); form {
	case x86.FormNop:
		r.RIP = c.IP + x86.SiteLen
		return true
	case x86.FormCall:
		if !push(r, mem, c.IP+x86.SiteLen) {
			return false
		}
		r.RIP = target
		return true
	case x86.FormJmp:
		r.RIP = target
		return true
	}
	op, next := c.New[0], c.IP+2
	short := next + uint64(int64(int8(c.New[1])))
	switch {
	case op == x86.OpRet:
		return pop(r, mem, &r.RIP)
	case op == opJmp8:
		r.RIP = short
		return true
	case isJcc8(op):
		r.RIP = next
		if holds(op&0xf, r.Flags) {
			r.RIP = short
		}
		return true
	}
	return false
}

func push(r *emu.Regs, mem *emu.Memory, v uint64) bool {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	if mem.Store(r.GPR[emu.RSP]-8, b[:]) != nil {
		return false
	}
	r.GPR[emu.RSP] -= 8
	return true
}

func pop(r *emu.Regs, mem *emu.Memory, v *uint64) bool {
	var b [8]byte
	if mem.Load(r.GPR[emu.RSP], b[:]) != nil {
		return false
	}
	*v = binary.LittleEndian.Uint64(b[:])
	r.GPR[emu.RSP] += 8
	return true
}

// holds tells whether a condition, numbered as in the opcodes, holds. Odd ones
// are the opposite of the one before.
func holds(cond byte, flags uint64) bool {
	is := func(f uint64) bool { return flags&f != 0 }
	less := is(emu.FlagSF) != is(emu.FlagOF)
	var yes bool
	switch cond >> 1 {
	case 0:
		yes = is(emu.FlagOF)
	case 1:
		yes = is(emu.FlagCF)
	case 2:
		yes = is(emu.FlagZF)
	case 3:
		yes = is(emu.FlagCF | emu.FlagZF)
	case 4:
		yes = is(emu.FlagSF)
	case 5:
		yes = is(emu.FlagPF)
	case 6:
		yes = less
	case 7:
		yes = less || is(emu.FlagZF)
	}
	return yes != (cond&1 == 1)
}
