package interp

import (
	"maps"
	"slices"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/x86"
)

// A form says how instructions of one kind become operations.
type form struct {
	op    x86asm.Op
	place place
	// build completes an op whose ip and next are set. It answers false for
	// operands that the instruction has no operation for.
	build func(o *op, in *x86.Inst) bool
}

// forms holds every instruction that the engine executes. It is not changed
// after initialisation.
var forms = func() map[x86asm.Op]form {
	all := make(map[x86asm.Op]form)
	for _, family := range [][]form{
		moveForms, conditionalForms, stackForms, arithForms, mulForms, shiftForms, bitForms, bmiForms,
		exchangeForms, stringForms, controlForms, flagForms, systemForms, privilegedForms,
	} {
		for _, f := range family {
			all[f.op] = f
		}
	}
	return all
}()

func lookup(op x86asm.Op) (form, bool) {
	f, ok := forms[op]
	return f, ok
}

// Supported lists the mnemonics of the instructions that the engine knows, in
// alphabetical order. Some have forms that it does not know (those with vector
// or segment registers); they stop with emu.StopUnknown like any other.
func Supported() []string {
	names := make(map[string]bool)
	for op := range forms {
		names[x86.Mnemonic(op)] = true
	}
	return slices.Sorted(maps.Keys(names))
}
