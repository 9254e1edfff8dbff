package trampoline

// A Reg is a general register, in the processor's own numbering (the numbering
// of emu.Regs.GPR).
type Reg uint8

// The general registers.
const (
	RAX Reg = iota
	RCX
	RDX
	RBX
	RSP
	RBP
	RSI
	RDI
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
)

// argRegs are the registers of the first six integer arguments of the System V
// calling convention.
var argRegs = [...]Reg{RDI, RSI, RDX, RCX, R8, R9}

// low is the part of the number that goes into an instruction's register
// field, ext the part that goes into its REX prefix.
func (r Reg) low() byte { return byte(r) & 7 }
func (r Reg) ext() byte { return byte(r) >> 3 & 1 }

// Mem is a memory operand: the bytes at base register plus displacement.
type Mem struct {
	Base Reg
	Disp int32
}

// At returns the operand disp(base).
func At(base Reg, disp int32) Mem { return Mem{base, disp} }
