package hwtest

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// compare tells how the interpreter's end of a case differs from the
// processor's; "" if it does not. in is the instruction of a case of one, for
// what it leaves undefined, and nil for a sequence, which leaves nothing so.
func compare(c *Case, in *x86.Inst, want *Result, stop emu.Stop, got *emu.Regs) string {
	var diff []string
	note := func(format string, args ...any) { diff = append(diff, fmt.Sprintf(format, args...)) }
	faulting := in
	if at := want.Regs.RIP - entry(c.Slot); in == nil && at < uint64(len(c.Code)) {
		if one, err := x86.Decode(c.Code[at:]); err == nil {
			faulting = &one
		}
	}
	if s := compareStop(faulting, want, stop); s != "" {
		note("%s", s)
	}
	rip := got.RIP
	if want.Trap == noTrap && stop.Reason == emu.StopInt3 {
		rip-- // of the int3 that is the exit
	}
	if rip != want.Regs.RIP {
		note("rip %#x, the processor has %#x", rip, want.Regs.RIP)
	}
	flags, skip := uint64(0), -1
	if in != nil && want.Trap == noTrap {
		u := use{in, &c.Regs, &want.Regs}
		var result bool
		if flags, result, _ = u.undefined(); result {
			if r, ok := in.Args[0].(x86asm.Reg); ok {
				skip, _, _ = regNumber(r)
			}
		}
	}
	for i := range got.GPR {
		if got.GPR[i] != want.Regs.GPR[i] && i != skip {
			note("%s %#x, the processor has %#x", emu.RegNames[i], got.GPR[i], want.Regs.GPR[i])
		}
	}
	if d := (got.Flags ^ want.Regs.Flags) & flagsCompared &^ flags; d != 0 {
		note("flags %s, the processor has %s", flagNames(got.Flags), flagNames(want.Regs.Flags))
	}
	return strings.Join(diff, "\n")
}

// compareStop compares how a case ended; in is the last instruction, if known.
func compareStop(in *x86.Inst, want *Result, stop emu.Stop) string {
	ok, addr := false, false
	both := in != nil && readsAndWrites(in)
	switch want.Trap {
	case noTrap, trapInt3:
		ok = stop.Reason == emu.StopInt3
	case trapDivide:
		ok = stop.Reason == emu.StopDivide
	case trapUndefined:
		ok = stop.Reason == emu.StopUD
	case trapGeneral, trapStack:
		ok = stop.Reason == emu.StopGeneral || in != nil && segmentLeaves(in, stop)
	case trapPage:
		addr = true
		switch {
		case want.Code&pfFetch != 0:
			ok = stop.Reason == emu.StopFetch || stop.Reason == emu.StopNoExec
		case want.Code&pfWrite != 0:
			ok = stop.Reason == emu.StopWrite || stop.Reason == emu.StopRead && both
		default:
			ok = stop.Reason == emu.StopRead || stop.Reason == emu.StopWrite && both
		}
	}
	// An access may cross from a page that refuses the store into one that
	// refuses the load too.
	crosses := both && stop.Addr%emu.PageSize == 0 && stop.Addr-want.Addr < 16
	if ok && (!addr || stop.Addr == want.Addr || crosses) {
		return ""
	}
	if want.refuses() && refusal(stop.Reason) && in != nil && accessesTwice(in) {
		return ""
	}
	return fmt.Sprintf("%s, the processor %s", stop.Error(), want.ending())
}

// refuses tells whether the case ended by an access to memory.
func (r *Result) refuses() bool {
	return r.Trap == trapPage || r.Trap == trapGeneral || r.Trap == trapStack
}

// refusal tells the same of the interpreter.
func refusal(r emu.StopReason) bool {
	return r == emu.StopRead || r == emu.StopWrite || r == emu.StopGeneral
}

// ending describes how a case ended on the processor.
func (r *Result) ending() string {
	switch r.Trap {
	case noTrap:
		return fmt.Sprintf("came to %#x", r.Regs.RIP)
	case trapDivide:
		return "has a divide error"
	case trapInt3:
		return "executed int3"
	case trapUndefined:
		return "does not know the instruction"
	case trapGeneral, trapStack:
		return "has a general protection or stack fault"
	case trapPage:
		access := "reading"
		if r.Code&pfFetch != 0 {
			access = "fetching"
		} else if r.Code&pfWrite != 0 {
			access = "writing"
		}
		return fmt.Sprintf("has a page fault %s %#x", access, r.Addr)
	}
	return fmt.Sprintf("has exception %d", r.Trap)
}

// windowsDiffer describes the first differences in the data.
func windowsDiffer(got, want []byte) string {
	var s []string
	off := 0
	for _, w := range windows {
		for i := 0; i < int(w.size) && len(s) < 4; i += 8 {
			a, b := binary.LittleEndian.Uint64(got[off+i:]), binary.LittleEndian.Uint64(want[off+i:])
			if a != b {
				s = append(s, fmt.Sprintf("[%#x] %#x, the processor has %#x", w.addr+uint64(i), a, b))
			}
		}
		off += int(w.size)
	}
	return strings.Join(s, "\n")
}
