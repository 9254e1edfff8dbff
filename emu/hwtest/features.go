//go:build linux && amd64

package hwtest

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/x86"
)

// features are the instructions that not every processor has, by the name that
// /proc/cpuinfo has for the extension. Some are other instructions where it is
// lacking.
var features = map[x86asm.Op]string{
	x86asm.ANDN: "bmi1", x86asm.BEXTR: "bmi1", x86asm.BLSI: "bmi1", x86asm.BLSMSK: "bmi1", x86asm.BLSR: "bmi1", x86asm.TZCNT: "bmi1",
	x86asm.BZHI: "bmi2", x86asm.MULX: "bmi2", x86asm.PDEP: "bmi2", x86asm.PEXT: "bmi2",
	x86asm.RORX: "bmi2", x86asm.SARX: "bmi2", x86asm.SHLX: "bmi2", x86asm.SHRX: "bmi2",
	x86asm.LZCNT: "abm", x86asm.POPCNT: "popcnt", x86asm.CRC32: "sse4_2", x86asm.MOVBE: "movbe",
	x86asm.CMPXCHG16B: "cx16", x86.OpADCX: "adx", x86.OpADOX: "adx", x86asm.LAHF: "lahf_lm", x86asm.SAHF: "lahf_lm",
}

// Present splits forms into those that this processor has, and the mnemonics of
// the others.
func Present(forms []Form) (present []Form, absent []string, err error) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, nil, err
	}
	_, rest, ok := strings.Cut(string(info), "\nflags")
	if !ok {
		return nil, nil, fmt.Errorf("/proc/cpuinfo has no line of flags")
	}
	line, _, _ := strings.Cut(rest, "\n")
	has := make(map[string]bool)
	for _, f := range strings.Fields(line) {
		has[f] = true
	}
	for _, f := range forms {
		if need := features[f.Op]; need == "" || has[need] {
			present = append(present, f)
		} else if name := x86.Mnemonic(f.Op); len(absent) == 0 || absent[len(absent)-1] != name {
			absent = append(absent, name)
		}
	}
	return present, absent, nil
}
