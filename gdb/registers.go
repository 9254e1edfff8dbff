package gdb

import (
	"encoding/binary"

	"ftemu/emu"
)

// The registers in gdb's order: 16 general ones, rip, eflags, six segments, eight
// of the x87 and its eight of control, and the two segment bases. The machine has
// neither segments nor x87; they read as a kernel would have them, and keep that.
const (
	regRIP    = 16
	regFlags  = 17
	regCS     = 18
	regSS     = 19
	regST     = 24
	regFctrl  = 32
	regFSBase = 40
	regGSBase = 41
	numRegs   = 42
)

// Selectors of a 64-bit kernel.
const (
	kernelCS = 0x10
	kernelDS = 0x18
)

// resetFctrl is the x87 control word after fninit.
const resetFctrl = 0x37f

// gdbGPR are the general registers in gdb's order.
var gdbGPR = [16]int{
	emu.RAX, emu.RBX, emu.RCX, emu.RDX, emu.RSI, emu.RDI, emu.RBP, emu.RSP,
	emu.R8, emu.R9, emu.R10, emu.R11, emu.R12, emu.R13, emu.R14, emu.R15,
}

// regSize is the size of a register in bytes.
func regSize(n int) int {
	switch {
	case n <= regRIP || n >= regFSBase:
		return 8
	case n >= regST && n < regFctrl:
		return 10
	}
	return 4
}

// settable is where a register is kept; nil for those that do not change.
func settable(r *emu.Regs, n int) *uint64 {
	switch {
	case n < regRIP:
		return &r.GPR[gdbGPR[n]]
	case n == regRIP:
		return &r.RIP
	case n == regFlags:
		return &r.Flags
	case n == regFSBase:
		return &r.FSBase
	case n == regGSBase:
		return &r.GSBase
	}
	return nil
}

// readReg gives the bytes of a register.
func readReg(r *emu.Regs, n int) []byte {
	var b [16]byte
	switch p := settable(r, n); {
	case p != nil:
		binary.LittleEndian.PutUint64(b[:], *p)
	case n == regCS:
		b[0] = kernelCS
	case n == regSS:
		b[0] = kernelDS
	case n == regFctrl:
		binary.LittleEndian.PutUint16(b[:], resetFctrl)
	}
	return b[:regSize(n)]
}

// writeReg changes a register and tells whether it has one of that number that
// changes.
func writeReg(r *emu.Regs, n int, b []byte) bool {
	p := settable(r, n)
	if p == nil || len(b) != regSize(n) {
		return false
	}
	var v [8]byte
	copy(v[:], b)
	*p = binary.LittleEndian.Uint64(v[:])
	if n == regFlags {
		*p |= emu.FlagsFixed
	}
	return true
}

// targetXML describes the registers to gdb.
const targetXML = `<?xml version="1.0"?>
<!DOCTYPE target SYSTEM "gdb-target.dtd">
<target version="1.0">
<architecture>i386:x86-64</architecture>
<feature name="org.gnu.gdb.i386.core">
<reg name="rax" bitsize="64" type="int64" regnum="0"/>
<reg name="rbx" bitsize="64" type="int64"/>
<reg name="rcx" bitsize="64" type="int64"/>
<reg name="rdx" bitsize="64" type="int64"/>
<reg name="rsi" bitsize="64" type="int64"/>
<reg name="rdi" bitsize="64" type="int64"/>
<reg name="rbp" bitsize="64" type="data_ptr"/>
<reg name="rsp" bitsize="64" type="data_ptr"/>
<reg name="r8" bitsize="64" type="int64"/>
<reg name="r9" bitsize="64" type="int64"/>
<reg name="r10" bitsize="64" type="int64"/>
<reg name="r11" bitsize="64" type="int64"/>
<reg name="r12" bitsize="64" type="int64"/>
<reg name="r13" bitsize="64" type="int64"/>
<reg name="r14" bitsize="64" type="int64"/>
<reg name="r15" bitsize="64" type="int64"/>
<reg name="rip" bitsize="64" type="code_ptr"/>
<reg name="eflags" bitsize="32" type="int32"/>
<reg name="cs" bitsize="32" type="int32"/>
<reg name="ss" bitsize="32" type="int32"/>
<reg name="ds" bitsize="32" type="int32"/>
<reg name="es" bitsize="32" type="int32"/>
<reg name="fs" bitsize="32" type="int32"/>
<reg name="gs" bitsize="32" type="int32"/>
<reg name="st0" bitsize="80" type="i387_ext"/>
<reg name="st1" bitsize="80" type="i387_ext"/>
<reg name="st2" bitsize="80" type="i387_ext"/>
<reg name="st3" bitsize="80" type="i387_ext"/>
<reg name="st4" bitsize="80" type="i387_ext"/>
<reg name="st5" bitsize="80" type="i387_ext"/>
<reg name="st6" bitsize="80" type="i387_ext"/>
<reg name="st7" bitsize="80" type="i387_ext"/>
<reg name="fctrl" bitsize="32" type="int" group="float"/>
<reg name="fstat" bitsize="32" type="int" group="float"/>
<reg name="ftag" bitsize="32" type="int" group="float"/>
<reg name="fiseg" bitsize="32" type="int" group="float"/>
<reg name="fioff" bitsize="32" type="int" group="float"/>
<reg name="foseg" bitsize="32" type="int" group="float"/>
<reg name="fooff" bitsize="32" type="int" group="float"/>
<reg name="fop" bitsize="32" type="int" group="float"/>
</feature>
<feature name="org.gnu.gdb.i386.segments">
<reg name="fs_base" bitsize="64" type="int"/>
<reg name="gs_base" bitsize="64" type="int"/>
</feature>
</target>
`
