package interp

import (
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// The string instructions. With a repeat prefix each iteration counts as one
// instruction; one that cannot execute leaves those before it done.
var stringForms = []form{
	{x86asm.MOVSB, alone, buildMoveString(execMovs, bulkMovs, 1)},
	{x86asm.MOVSW, alone, buildMoveString(execMovs, bulkMovs, 2)},
	{x86asm.MOVSD, alone, buildMoveString(execMovs, bulkMovs, 4)},
	{x86asm.MOVSQ, alone, buildMoveString(execMovs, bulkMovs, 8)},
	{x86asm.STOSB, alone, buildMoveString(execStos, bulkStos, 1)},
	{x86asm.STOSW, alone, buildMoveString(execStos, bulkStos, 2)},
	{x86asm.STOSD, alone, buildMoveString(execStos, bulkStos, 4)},
	{x86asm.STOSQ, alone, buildMoveString(execStos, bulkStos, 8)},
	{x86asm.LODSB, alone, buildMoveString(execLods, nil, 1)},
	{x86asm.LODSW, alone, buildMoveString(execLods, nil, 2)},
	{x86asm.LODSD, alone, buildMoveString(execLods, nil, 4)},
	{x86asm.LODSQ, alone, buildMoveString(execLods, nil, 8)},
	{x86asm.SCASB, alone, buildCompareString(execScas, 1)},
	{x86asm.SCASW, alone, buildCompareString(execScas, 2)},
	{x86asm.SCASD, alone, buildCompareString(execScas, 4)},
	{x86asm.SCASQ, alone, buildCompareString(execScas, 8)},
	{x86asm.CMPSB, alone, buildCompareString(execCmps, 1)},
	{x86asm.CMPSW, alone, buildCompareString(execCmps, 2)},
	{x86asm.CMPSD, alone, buildCompareString(execCmps, 4)},
	{x86asm.CMPSQ, alone, buildCompareString(execCmps, 8)},
}

// A bulkFunc does at most n iterations at once and returns how many it did,
// which may be none. It is only asked where that makes no difference.
type bulkFunc func(c *cpu, o *op, n uint64) uint64

// buildMoveString: either repeat prefix repeats until the counter is zero.
func buildMoveString(once func(*cpu, *op) status, bulk bulkFunc, size uint8) func(*op, *x86.Inst) bool {
	always := func(*flags) bool { return true }
	return buildString(size, once, repeat(once, bulk, always), repeat(once, bulk, always))
}

// buildCompareString: repe goes on while elements are equal, repne while they
// are not.
func buildCompareString(once func(*cpu, *op) status, size uint8) func(*op, *x86.Inst) bool {
	notEqual := func(f *flags) bool { return !f.zf() }
	return buildString(size, once, repeat(once, nil, (*flags).zf), repeat(once, nil, notEqual))
}

// buildString: size is the element's; op.src is the size of addresses and of
// the counter.
func buildString(size uint8, once, withF3, withF2 func(*cpu, *op) status) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		o.setSize(size)
		o.src = addressSize(in)
		o.mem = address{seg: in.Seg, narrow: in.Has67}
		switch in.Rep {
		case 0:
			o.fn = once
		case 0xf3:
			o.fn = withF3
		default:
			o.fn = withF2
		}
		return true
	}
}

// repeatAtMost is how many iterations execute before the run loop looks again
// at what may stop the run.
const repeatAtMost = 4096

// repeat executes once while the counter is not zero, as many times as the run
// has instructions left. more tells whether to go on after an iteration.
func repeat(once func(*cpu, *op) status, bulk bulkFunc, more func(*flags) bool) func(*cpu, *op) status {
	return func(c *cpu, o *op) status {
		n := c.regs.GPR[emu.RCX] & sizeMask(o.src)
		if n == 0 {
			return next
		}
		most := min(n, c.left, repeatAtMost)
		if c.once {
			most = 1
		}
		for i := uint64(0); ; {
			if bulk != nil && most-i > 1 {
				i += bulk(c, o, most-i-1) // the last one is for once to do
			}
			st := once(c, o)
			if st == fault {
				c.extra = i
				c.setCounter(o, n-i)
				return fault
			}
			if i++; i < most && st == next && more(&c.flags) {
				continue
			}
			c.extra = i - 1
			c.setCounter(o, n-i)
			c.regs.RIP = o.ip
			if i == n || !more(&c.flags) {
				c.regs.RIP = o.next
			}
			return moved
		}
	}
}

// setCounter sets RCX, or ECX, after iterations.
func (c *cpu) setCounter(o *op, n uint64) {
	if n != c.regs.GPR[emu.RCX]&sizeMask(o.src) {
		c.setReg(emu.RCX, n, o.src)
	}
}

// source and destination are the addresses in RSI and RDI. A segment override
// applies to the source only.

func (c *cpu) source(o *op) uint64 {
	return c.eaSpecial(&o.mem, c.regs.GPR[emu.RSI])
}

func (c *cpu) destination(o *op) uint64 {
	return c.regs.GPR[emu.RDI] & sizeMask(o.src)
}

// advance moves RSI or RDI by one element in the direction of DF.
func (c *cpu) advance(o *op, reg uint8) {
	d := uint64(o.size)
	if c.regs.Flags&emu.FlagDF != 0 {
		d = -d
	}
	c.setReg(reg, c.regs.GPR[reg&15]+d, o.src)
}

func execMovs(c *cpu, o *op) status {
	v, ok := c.load(c.source(o), o.mask)
	if !ok {
		return fault
	}
	st := c.store(c.destination(o), v, o.size)
	if st != fault {
		c.advance(o, emu.RSI)
		c.advance(o, emu.RDI)
	}
	return st
}

func execStos(c *cpu, o *op) status {
	st := c.store(c.destination(o), c.regs.GPR[emu.RAX], o.size)
	if st != fault {
		c.advance(o, emu.RDI)
	}
	return st
}

func execLods(c *cpu, o *op) status {
	v, ok := c.load(c.source(o), o.mask)
	if !ok {
		return fault
	}
	c.setReg(emu.RAX, v, o.size)
	c.advance(o, emu.RSI)
	return next
}

// execScas compares the accumulator with memory.
func execScas(c *cpu, o *op) status {
	v, ok := c.load(c.destination(o), o.mask)
	if !ok {
		return fault
	}
	sub(c, c.regs.GPR[emu.RAX], v, o.sh)
	c.advance(o, emu.RDI)
	return next
}

// execCmps compares memory at RSI with memory at RDI.
func execCmps(c *cpu, o *op) status {
	a, ok := c.load(c.source(o), o.mask)
	if !ok {
		return fault
	}
	b, ok := c.load(c.destination(o), o.mask)
	if !ok {
		return fault
	}
	sub(c, a, b, o.sh)
	c.advance(o, emu.RSI)
	c.advance(o, emu.RDI)
	return next
}

// elements returns how many of at most n elements, forwards from address a, are
// in a page that slot holds.
func (c *cpu) elements(o *op, slot *pageSlot, a, n uint64) uint64 {
	if slot.number != a>>pageShift || c.regs.Flags&emu.FlagDF != 0 {
		return 0
	}
	return min(n, (emu.PageSize-a&pageMask)/uint64(o.size))
}

func bulkMovs(c *cpu, o *op, n uint64) uint64 {
	from, to := c.source(o), c.destination(o)
	src, dst := &c.loads[from>>pageShift%pageSlots], &c.stores[to>>pageShift%pageSlots]
	n = c.elements(o, dst, to, c.elements(o, src, from, n))
	size := n * uint64(o.size)
	if n == 0 || to-from < size {
		return 0 // what is stored is loaded again further on
	}
	copy(dst.data[to&pageMask:][:size], src.data[from&pageMask:][:size])
	c.setReg(emu.RSI, c.regs.GPR[emu.RSI]+size, o.src)
	c.setReg(emu.RDI, c.regs.GPR[emu.RDI]+size, o.src)
	return n
}

func bulkStos(c *cpu, o *op, n uint64) uint64 {
	to := c.destination(o)
	dst := &c.stores[to>>pageShift%pageSlots]
	n = c.elements(o, dst, to, n)
	if n == 0 {
		return 0
	}
	var element [8]byte
	binary.LittleEndian.PutUint64(element[:], c.regs.GPR[emu.RAX])
	b := dst.data[to&pageMask:][:n*uint64(o.size)]
	for filled := copy(b, element[:o.size]); filled < len(b); {
		filled += copy(b[filled:], b[:filled])
	}
	c.setReg(emu.RDI, c.regs.GPR[emu.RDI]+uint64(len(b)), o.src)
	return n
}
