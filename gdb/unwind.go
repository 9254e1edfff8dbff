package gdb

import (
	"slices"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// The stack pointer at a function's entry and 8, the canonical frame address (CFA), is
// what a frame is described by: the return address is the word below it.

// A row says how to go from inside a function to its caller, at one instruction
// and those behind it up to the next row.
type row struct {
	addr  uint64
	base  int // the register that the CFA is counted from: emu.RSP or emu.RBP
	off   int64
	saved [16]int64 // where the caller's value of a register is, from the CFA; 0: not on the stack
	lost  [16]bool  // the register holds something else, and the caller's value is nowhere
}

// A flow is what is known of the registers before an instruction. It follows the
// code, not a run: each instruction has one such state, whichever way leads to it.
type flow struct {
	depth   int64 // the CFA less rsp
	deep    bool  // depth is known
	frame   int64 // the CFA less rbp
	framed  bool  // frame is known
	saved   [16]int64
	changed [16]bool // the register does not hold the caller's value
}

// calleeSaved are the registers that a function leaves as it found them.
var calleeSaved = [...]int{emu.RBX, emu.RBP, emu.R12, emu.R13, emu.R14, emu.R15}

// unwind describes the code of a function that begins at addr.
func unwind(code []byte, addr uint64) []row {
	known := map[uint64]flow{addr: {depth: 8, deep: true}}
	work := []uint64{addr}
	reach := func(to uint64, f flow) {
		if _, ok := known[to]; !ok && to-addr < uint64(len(code)) {
			known[to] = f
			work = append(work, to)
		}
	}
	for len(work) > 0 {
		at := work[len(work)-1]
		work = work[:len(work)-1]
		in, err := x86.Decode(code[at-addr:])
		if err != nil {
			continue
		}
		f, next := known[at], at+uint64(in.Len)
		target, direct := in.Target(at)
		inside := direct && target > addr && target-addr < uint64(len(code))
		switch {
		case in.Op == x86asm.RET || in.Op == x86asm.UD2 || in.Op == x86asm.HLT:
		case in.Op == x86asm.JMP:
			if inside {
				reach(target, f)
			}
		case in.Op == x86asm.CALL && inside:
			// A thunk: it takes a return for a jump.
			f.move(8)
			reach(target, f)
		case in.Op == x86asm.CALL:
			f.clobber()
			reach(next, f)
		default:
			f.step(in)
			if inside {
				reach(target, f)
			}
			reach(next, f)
		}
	}
	return rows(code, addr, known)
}

// rows puts the states in the order of addresses.
func rows(code []byte, addr uint64, known map[uint64]flow) []row {
	var out []row
	for i := range code {
		f, ok := known[addr+uint64(i)]
		if !ok || (!f.deep && !f.framed) {
			continue
		}
		r := row{base: emu.RSP, off: f.depth, saved: f.saved}
		if !f.deep {
			r.base, r.off = emu.RBP, f.frame
		}
		for _, reg := range calleeSaved {
			r.lost[reg] = f.changed[reg] && f.saved[reg] == 0
		}
		if n := len(out); n > 0 {
			r.addr = out[n-1].addr
			if r == out[n-1] {
				continue
			}
		}
		r.addr = addr + uint64(i)
		out = append(out, r)
	}
	return out
}

// step does what an instruction does to what is known.
func (f *flow) step(in x86.Inst) {
	dst, src := in.Args[0], in.Args[1]
	switch in.Op {
	case x86asm.PUSH:
		f.move(8)
		f.store(-f.depth, dst)
		return
	case x86asm.PUSHF, x86asm.PUSHFQ:
		f.move(8)
		f.store(-f.depth, nil)
		return
	case x86asm.POPF, x86asm.POPFQ:
		f.move(-8)
		return
	case x86asm.POP:
		slot := -f.depth
		f.load(dst, slot, f.deep)
		f.move(-8)
		if m, ok := dst.(x86asm.Mem); ok {
			f.storeMem(m, nil)
		}
		return
	case x86asm.LEAVE:
		f.setSP(f.frame, f.framed)
		f.load(x86asm.RBP, -f.depth, f.deep)
		f.move(-8)
		return
	case x86asm.ADD, x86asm.SUB:
		if dst == x86asm.RSP {
			n, ok := src.(x86asm.Imm)
			if in.Op == x86asm.ADD {
				n = -n
			}
			f.setSP(f.depth+int64(n), f.deep && ok)
			return
		}
	case x86asm.LEA:
		m, _ := src.(x86asm.Mem)
		slot, ok := f.slot(m)
		switch dst {
		case x86asm.RSP:
			f.setSP(-slot, ok)
			return
		case x86asm.RBP:
			f.set(emu.RBP)
			f.frame, f.framed = -slot, ok
			return
		}
	case x86asm.MOV:
		switch m, ok := dst.(x86asm.Mem); {
		case ok:
			f.storeMem(m, src)
			return
		case dst == x86asm.RBP && src == x86asm.RSP:
			f.set(emu.RBP)
			f.frame, f.framed = f.depth, f.deep
			return
		case dst == x86asm.RSP:
			f.setSP(f.frame, f.framed && src == x86asm.RBP)
			return
		}
		if m, ok := src.(x86asm.Mem); ok {
			slot, ok := f.slot(m)
			f.load(dst, slot, ok)
			return
		}
	case x86asm.CMP, x86asm.TEST, x86asm.NOP, x86asm.BT:
		return
	case x86asm.XOR, x86asm.AND, x86asm.OR, x86asm.INC, x86asm.DEC, x86asm.SHL, x86asm.SHR, x86asm.SAR, x86asm.MOVZX, x86asm.MOVSX, x86asm.MOVSXD:
	default:
		// It may change registers that it does not name.
		f.clobber()
		f.write(src)
	}
	if m, ok := dst.(x86asm.Mem); ok {
		f.storeMem(m, nil)
		return
	}
	f.write(dst)
}

// register is the number of a whole or half general register.
func register(a x86asm.Arg) (n int, whole, ok bool) {
	switch r, _ := a.(x86asm.Reg); {
	case r >= x86asm.RAX && r <= x86asm.R15:
		return int(r - x86asm.RAX), true, true
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return int(r - x86asm.EAX), false, true
	}
	return 0, false, false
}

// clobber forgets what the registers held that a called function may change.
func (f *flow) clobber() {
	for r := range f.changed {
		if !slices.Contains(calleeSaved[:], r) && r != emu.RSP {
			f.changed[r] = true
		}
	}
}

// move grows the stack by n bytes.
func (f *flow) move(n int64) { f.setSP(f.depth+n, f.deep) }

// setSP sets the depth. What is above the return address now belongs to the caller: a
// function that drops its return address has the next word for one.
func (f *flow) setSP(depth int64, known bool) {
	f.depth, f.deep = depth, known
	if !known {
		return
	}
	if up := 8 - depth; up > 0 {
		f.depth, f.frame = 8, f.frame+up
		for r := range f.saved {
			if f.saved[r] != 0 {
				f.saved[r] -= up
			}
		}
	}
	for r, slot := range f.saved {
		if slot < -f.depth {
			f.saved[r] = 0
		}
	}
}

// slot is where an operand lies, from the CFA.
func (f *flow) slot(m x86asm.Mem) (int64, bool) {
	switch {
	case m.Index != 0 || m.Segment != 0:
	case m.Base == x86asm.RSP:
		return m.Disp - f.depth, f.deep
	case m.Base == x86asm.RBP:
		return m.Disp - f.frame, f.framed
	}
	return 0, false
}

func (f *flow) storeMem(m x86asm.Mem, what x86asm.Arg) {
	if slot, ok := f.slot(m); ok {
		f.store(slot, what)
	}
}

// store puts a register, or something else, into a slot.
func (f *flow) store(slot int64, what x86asm.Arg) {
	for r := range f.saved {
		if f.saved[r] == slot {
			f.saved[r] = 0
		}
	}
	if r, whole, ok := register(what); ok && whole && r != emu.RSP && !f.changed[r] && f.saved[r] == 0 && slot < -8 && slot%8 == 0 {
		f.saved[r] = slot
	}
}

// load takes a register out of a slot: its own makes it the caller's again.
func (f *flow) load(what x86asm.Arg, slot int64, ok bool) {
	r, whole, isReg := register(what)
	if isReg && whole && ok && f.saved[r] != 0 && f.saved[r] == slot {
		f.set(r)
		f.changed[r] = false
		return
	}
	f.write(what)
}

// write changes a register.
func (f *flow) write(what x86asm.Arg) {
	if r, _, ok := register(what); ok {
		f.set(r)
	}
}

func (f *flow) set(r int) {
	f.changed[r] = true
	switch r {
	case emu.RSP:
		f.deep = false
	case emu.RBP:
		f.framed = false
	}
}
