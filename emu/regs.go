package emu

// Indexes into Regs.GPR, in the processor's own numbering.
const (
	RAX = iota
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

// Flag bits in Regs.Flags that ftemu knows.
const (
	FlagCF = 1 << 0
	FlagPF = 1 << 2
	FlagAF = 1 << 4
	FlagZF = 1 << 6
	FlagSF = 1 << 7
	FlagTF = 1 << 8
	FlagIF = 1 << 9
	FlagDF = 1 << 10
	FlagOF = 1 << 11

	// FlagsFixed is the bit of RFLAGS that always reads as one.
	FlagsFixed = 1 << 1
	// FlagsReset is RFLAGS of a CPU that has not run yet.
	FlagsReset = FlagsFixed
	// FlagsStatus are the six arithmetic flags.
	FlagsStatus = FlagCF | FlagPF | FlagAF | FlagZF | FlagSF | FlagOF
)

// Regs is the register file of a CPU in 64-bit mode.
type Regs struct {
	GPR    [16]uint64
	RIP    uint64
	Flags  uint64 // RFLAGS
	FSBase uint64
	GSBase uint64
}

// RegNames are the names of the general registers, by index.
var RegNames = [16]string{
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
}

// ArgRegs are the registers of the first six integer arguments of the System V
// calling convention, in order.
var ArgRegs = [6]int{RDI, RSI, RDX, RCX, R8, R9}
