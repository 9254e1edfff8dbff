package hwtest

import (
	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// An Undefined says what an instruction leaves undefined. All of it is from the
// instruction's page in the Intel SDM, volume 2, section "Flags Affected"
// unless When or Cite say otherwise; the AMD APM, volume 3, leaves no more of
// it defined but where noted.
type Undefined struct {
	Ops  []x86asm.Op
	What string // in words, for reports
	Cite string
	// of returns the flags that are undefined and whether the destination is.
	of func(u *use) (flags uint64, result bool)
}

// A use is one execution of an instruction.
type use struct {
	in            *x86.Inst
	before, after *emu.Regs
}

const (
	cf = emu.FlagCF
	pf = emu.FlagPF
	af = emu.FlagAF
	zf = emu.FlagZF
	sf = emu.FlagSF
	of = emu.FlagOF
)

// undefinedFlags is for instructions that always leave the same flags undefined.
func undefinedFlags(flags uint64) func(*use) (uint64, bool) {
	return func(*use) (uint64, bool) { return flags, false }
}

// UndefinedTable lists all that is not compared.
var UndefinedTable = []Undefined{
	{[]x86asm.Op{x86asm.AND, x86asm.OR, x86asm.XOR, x86asm.TEST},
		"AF", "AND, OR, XOR, TEST: Flags Affected", undefinedFlags(af)},
	{[]x86asm.Op{x86asm.MUL, x86asm.IMUL},
		"SF, ZF, AF, PF", "MUL, IMUL: Flags Affected", undefinedFlags(sf | zf | af | pf)},
	{[]x86asm.Op{x86asm.DIV, x86asm.IDIV},
		"all status flags", "DIV, IDIV: Flags Affected", undefinedFlags(emu.FlagsStatus)},
	{[]x86asm.Op{x86asm.SHL, x86asm.SHR, x86asm.SAR},
		"AF if the count is not 0; OF if it is not 1; CF of SHL and SHR if it is the operand size or more",
		"SAL/SAR/SHL/SHR: Flags Affected", func(u *use) (uint64, bool) {
			n, size := u.count()
			switch {
			case n == 0:
				return 0, false
			case n == 1:
				return af, false
			case n >= size && u.in.Op != x86asm.SAR:
				return af | of | cf, false
			}
			return af | of, false
		}},
	{[]x86asm.Op{x86asm.ROL, x86asm.ROR, x86asm.RCL, x86asm.RCR},
		"OF if the count is neither 0 nor 1", "RCL/RCR/ROL/ROR: Flags Affected", func(u *use) (uint64, bool) {
			if n, _ := u.count(); n > 1 {
				return of, false
			}
			return 0, false
		}},
	{[]x86asm.Op{x86asm.SHLD, x86asm.SHRD},
		"AF if the count is not 0; OF if it is not 1; if it exceeds the operand size the result and all flags",
		"SHLD, SHRD: Description and Flags Affected", func(u *use) (uint64, bool) {
			n, size := u.count()
			switch {
			case n == 0:
				return 0, false
			case n > size:
				return emu.FlagsStatus, true
			case n == 1:
				return af, false
			}
			return af | of, false
		}},
	{[]x86asm.Op{x86asm.BT, x86asm.BTS, x86asm.BTR, x86asm.BTC},
		"OF, SF, AF, PF", "BT, BTS, BTR, BTC: Flags Affected", undefinedFlags(of | sf | af | pf)},
	{[]x86asm.Op{x86asm.BSF, x86asm.BSR},
		"CF, OF, SF, AF, PF; the destination if the source is 0", "BSF, BSR: Operation and Flags Affected",
		func(u *use) (uint64, bool) { return cf | of | sf | af | pf, u.after.Flags&zf != 0 }},
	{[]x86asm.Op{x86asm.TZCNT, x86asm.LZCNT},
		"OF, SF, PF, AF", "TZCNT, LZCNT: Flags Affected", undefinedFlags(of | sf | pf | af)},
	{[]x86asm.Op{x86asm.ANDN, x86asm.BLSI, x86asm.BLSMSK, x86asm.BLSR, x86asm.BZHI},
		"AF, PF", "ANDN, BLSI, BLSMSK, BLSR, BZHI: Flags Affected", undefinedFlags(af | pf)},
	{[]x86asm.Op{x86asm.BEXTR},
		"AF, SF, PF", "BEXTR: Flags Affected", undefinedFlags(af | sf | pf)},
	{[]x86asm.Op{x86asm.BSWAP},
		"the result of 16 bits", "BSWAP: Description", func(u *use) (uint64, bool) {
			r, _ := u.in.Args[0].(x86asm.Reg)
			return 0, regBits(r) == 16
		}},
}

// undefinedIndex finds the entry of UndefinedTable for an operation, which may
// have none.
var undefinedIndex = func() map[x86asm.Op]int {
	index := make(map[x86asm.Op]int)
	for i, u := range UndefinedTable {
		for _, op := range u.Ops {
			index[op] = i
		}
	}
	return index
}()

// undefined tells what a use leaves undefined, and the number of the entry in
// UndefinedTable that says so, or -1.
func (u *use) undefined() (flags uint64, result bool, entry int) {
	i, ok := undefinedIndex[u.in.Op]
	if !ok {
		return 0, false, -1
	}
	flags, result = UndefinedTable[i].of(u)
	return flags, result, i
}

// count is the count of a shift or rotate as the processor masks it, and the
// operand size in bits.
func (u *use) count() (n, size uint64) {
	switch a := u.in.Args[0].(type) {
	case x86asm.Reg:
		size = uint64(regBits(a))
	default:
		size = uint64(8 * u.in.MemBytes)
	}
	last := u.in.Args[1]
	if u.in.Args[2] != nil {
		last = u.in.Args[2]
	}
	if imm, ok := last.(x86asm.Imm); ok {
		n = uint64(imm)
	} else {
		n = u.before.GPR[emu.RCX]
	}
	if size == 64 {
		return n & 63, size
	}
	return n & 31, size
}

// readsAndWrites tells whether an instruction loads from the place it stores
// to. Of a page that allows neither, processors report the one or the other
// (Intel SDM volume 3, 4.7, says only that the error code describes the access
// that faulted).
func readsAndWrites(in *x86.Inst) bool {
	if _, ok := in.Args[0].(x86asm.Mem); ok {
		return true
	}
	return in.Op == x86asm.XCHG
}

// accessesTwice tells whether an instruction accesses memory in two places.
// Which of two that are bad is reported depends on the processor (Intel SDM
// volume 3, 6.9: the order of faults within an instruction may vary).
func accessesTwice(in *x86.Inst) bool {
	switch in.Op {
	case x86asm.MOVSB, x86asm.MOVSW, x86asm.MOVSD, x86asm.MOVSQ, x86asm.CMPSB, x86asm.CMPSW, x86asm.CMPSD, x86asm.CMPSQ,
		x86asm.ENTER:
		return true
	case x86asm.PUSH, x86asm.POP, x86asm.CALL:
		_, ok := in.Args[0].(x86asm.Mem)
		return ok
	}
	return false
}

// segmentLeaves tells whether an access with a segment's base was refused in
// the kernel's half. There the address may be canonical where it was not before
// the base was added; AMD processors were seen to look at that one too, where
// the manual speaks of the sum only (Intel SDM volume 1, 3.3.7.1).
func segmentLeaves(in *x86.Inst, stop emu.Stop) bool {
	return in.Seg != 0 && refusal(stop.Reason) && stop.Addr>>63 != 0
}
