package hwtest

import "ftemu/emu"

// The address space of a case, the same in the traced process and in the
// interpreter's memory. All else is unmapped in both, but for the driver's
// pages. Code and driver are where chance does not lead.
const (
	codeBase = 0x2b6c4c3d0000
	codeSize = 0x10000 // the page behind it is not mapped

	dataBase = 0x20000000
	dataSize = 4 * emu.PageSize
	roBase   = dataBase + dataSize // one page that is read-only
	roSize   = emu.PageSize

	// A second window of data, whose addresses do not fit into 32 bits; it is
	// in reach of the code.
	farBase = 0x2b6c6a7b1000
	farSize = 2 * emu.PageSize

	windowsSize = dataSize + roSize + farSize
)

// A slot is where the code of a case is. It begins with an exit for branches
// back, then comes the code with the exit for control that falls through, and
// at the end is the exit for branches forward.
const (
	slotSize  = 192
	slotCode  = 16
	slotAhead = slotSize - 16
	maxCode   = slotAhead - slotCode - exitSize
	exitSize  = 5
	maxBatch  = 256
)

func slotBase(slot int) uint64 { return codeBase + uint64(slot)*slotSize }

// entry is the address of the code in a slot.
func entry(slot int) uint64 { return slotBase(slot) + slotCode }

// exits are the addresses a case in the slot may branch to.
func exits(slot int) [2]uint64 { return [2]uint64{slotBase(slot), slotBase(slot) + slotAhead} }

// fillSlot lays code out with int3 at the exits and everywhere else.
func fillSlot(image []byte, code []byte) {
	for i := range image {
		image[i] = 0xcc
	}
	copy(image[slotCode:], code)
}

// The driver's pages.
const (
	controlBase = 0x2b6c5e7a3000 // see control
	stubBase    = controlBase + emu.PageSize
	recordBase  = stubBase + emu.PageSize
	stackBase   = recordBase + 0x20000 // where signal frames go
	stackSize   = 0x8000
	recordSize  = stackBase + stackSize - recordBase // stack included
)

// flagsCompared are the flags that a case may set and that are compared: what a
// program may change and what does not stop it.
const flagsCompared = emu.FlagsStatus | emu.FlagDF | flagID

const flagID = 1 << 21

// A Case is code with the state it starts from. Code that needs to know its
// address has been made for its slot.
type Case struct {
	Slot  int
	Code  []byte
	Cuts  []int    // where a sequence may be cut short: offsets in Code
	Regs  emu.Regs // RIP is not looked at
	Pokes []Poke   // stored before the case starts, at most maxPokes
}

const maxPokes = 4

// A Poke is eight bytes to store.
type Poke struct{ Addr, Value uint64 }

// A Result is the state in which a case ended.
type Result struct {
	Regs emu.Regs // RIP is that of the exit taken, or of the fault
	Trap int      // noTrap, or the vector of the exception
	Code uint64   // of a page fault: the processor's error code
	Addr uint64   // of a page fault: the address
}

// noTrap says that a case came to one of its exits.
const noTrap = -1

// Exception vectors (Intel SDM volume 3, table 6-1).
const (
	trapDivide    = 0
	trapInt3      = 3
	trapUndefined = 6
	trapStack     = 12
	trapGeneral   = 13
	trapPage      = 14
)

// Bits of a page fault's error code (Intel SDM volume 3, 4.7).
const (
	pfWrite = 1 << 1
	pfFetch = 1 << 4
)

// writable tells whether the n bytes at addr can be stored to.
func writable(addr uint64, n int) bool {
	in := func(base, size uint64) bool { return addr >= base && addr-base <= size-uint64(n) }
	return in(dataBase, dataSize) || in(farBase, farSize)
}
