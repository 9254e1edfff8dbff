package interp

import (
	"slices"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/x86"
)

// A Class says what the engine makes of an instruction.
type Class uint8

// The classes.
const (
	Executes   Class = iota // it has an operation for it
	Privileged              // it stops the run: the state that it is about is not there
	Vector                  // it does not know it: of the vector or floating-point units
	Missing                 // it does not know it
)

// Classify tells what the engine makes of an instruction at ip. code begins with
// its bytes.
func Classify(in *x86.Inst, code []byte, ip uint64) Class {
	o := op{ip: ip, next: ip + uint64(in.Len)}
	f, ok := lookup(in.Op)
	switch {
	case isPrivileged(in):
		return Privileged
	case ok && f.build(&o, in):
		return Executes
	case isVector(in, code):
		return Vector
	}
	return Missing
}

// privilegedUnknown are instructions of privilege level 0 that the engine does
// not know at all.
var privilegedUnknown = []string{
	"clgi", "encls", "insb", "insd", "insw", "invpcid", "monitor", "monitorx", "mwait", "mwaitx", "outsb", "outsd",
	"outsw", "pvalidate", "rdpmc", "rmpadjust", "stgi", "xrstors", "xrstors64", "xsaves", "xsaves64", "xsetbv",
}

// isPrivileged tells whether an instruction needs privilege level 0, which kernels
// have, and a state that the engine has not.
func isPrivileged(in *x86.Inst) bool {
	if slices.ContainsFunc(privilegedForms, func(f form) bool { return f.op == in.Op }) {
		return true
	}
	for _, a := range in.Args {
		if r, ok := a.(x86asm.Reg); ok && (r >= x86asm.CR0 && r <= x86asm.CR15 || r >= x86asm.DR0 && r <= x86asm.DR15) {
			return true
		}
	}
	return slices.Contains(privilegedUnknown, in.Mnemonic())
}

// isVector tells whether an instruction that the engine does not know works on
// floating-point or vector registers, or saves them.
func isVector(in *x86.Inst, code []byte) bool {
	for _, a := range in.Args {
		if r, ok := a.(x86asm.Reg); ok && (r >= x86asm.F0 && r <= x86asm.F7 || r >= x86asm.M0 && r <= x86asm.M7 || r >= x86asm.X0 && r <= x86asm.X15) {
			return true
		}
	}
	switch code[0] {
	case 0x62, 0xc4, 0xc5: // EVEX and VEX
		return true
	}
	name := in.Mnemonic()
	for _, prefix := range []string{"f", "xsave", "xrstor"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "emms" || name == "ldmxcsr" || name == "stmxcsr" || name == "xgetbv"
}
