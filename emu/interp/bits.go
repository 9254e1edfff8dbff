package interp

import (
	"hash/crc32"
	"math/bits"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/x86"
)

// Single bits, bit scans and counts.
var bitForms = []form{
	{x86asm.BT, inside, buildBitTest(nil)},
	{x86asm.BTS, inside, buildBitTest(func(v, bit uint64) uint64 { return v | bit })},
	{x86asm.BTR, inside, buildBitTest(func(v, bit uint64) uint64 { return v &^ bit })},
	{x86asm.BTC, inside, buildBitTest(func(v, bit uint64) uint64 { return v ^ bit })},
	{x86asm.BSF, inside, twoOps(execBsf)},
	{x86asm.BSR, inside, twoOps(execBsr)},
	{x86asm.TZCNT, inside, twoOps(execTzcnt)},
	{x86asm.LZCNT, inside, twoOps(execLzcnt)},
	{x86asm.POPCNT, inside, twoOps(execPopcnt)},
	{x86asm.CRC32, inside, twoOps(execCRC32)},
}

// buildBitTest: CF becomes the bit that b names in a; the other flags stay (OF,
// SF, AF and PF are undefined). A bit number in a register is relative to a
// memory operand as if that were an array of bits without end, negative numbers
// included; an immediate is taken modulo the operand size.
func buildBitTest(change func(v, bit uint64) uint64) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		if !o.twoOperands(in) {
			return false
		}
		o.fn = func(c *cpu, o *op) status {
			n, _ := c.get(o, o.b)
			var addr, v uint64
			ok := true
			if o.a.kind == inMem {
				addr = c.ea(o)
				if o.b.kind == inReg {
					words := int64(signExtend(n, o.size)) >> (3 + bits.TrailingZeros8(o.size))
					addr = c.eaOffset(o, uint64(words)*uint64(o.size))
				}
				v, ok = c.load(addr, o.mask)
			} else {
				v, ok = c.get(o, o.a)
			}
			if !ok {
				return fault
			}
			bit := uint64(1) << (n & (8*uint64(o.size) - 1))
			st := next
			if change != nil {
				if o.a.kind == inMem {
					st = c.store(addr, change(v, bit), o.size)
				} else {
					st = c.put(o, o.a, change(v, bit))
				}
			}
			if st != fault {
				cf := uint64(0)
				if v&bit != 0 {
					cf = 1
				}
				c.flags.setCF(cf)
			}
			return st
		}
		return true
	}
}

// eaOffset is ea of an operand displaced by d, which wraps as the address does.
func (c *cpu) eaOffset(o *op, d uint64) uint64 {
	m := o.mem
	m.disp += d
	a := c.regs.GPR[m.base&15]&m.baseMask + (c.regs.GPR[m.index&15]&m.indexMask)<<(m.scale&63) + m.disp
	return c.eaSpecial(&m, a)
}

// execBsf and execBsr: of zero, ZF is set and the destination stays as it was.
// The other flags, undefined, are those of the source.

func execBsf(c *cpu, o *op) status {
	v, ok := c.get(o, o.b)
	if !ok {
		return fault
	}
	c.flags.set(v, 0, o.sh)
	if v != 0 {
		c.setReg(o.a.reg, uint64(bits.TrailingZeros64(v)), o.size)
	}
	return next
}

func execBsr(c *cpu, o *op) status {
	v, ok := c.get(o, o.b)
	if !ok {
		return fault
	}
	c.flags.set(v, 0, o.sh)
	if v != 0 {
		c.setReg(o.a.reg, uint64(63-bits.LeadingZeros64(v)), o.size)
	}
	return next
}

// countResult stores what tzcnt or lzcnt found: CF for a source of zero, ZF for
// a result of zero.
func (c *cpu) countResult(o *op, src, n uint64) status {
	c.flags.set(n, 0, 0)
	if src == 0 {
		c.flags.setCF(1)
	}
	c.setReg(o.a.reg, n, o.size)
	return next
}

func execTzcnt(c *cpu, o *op) status {
	v, ok := c.get(o, o.b)
	if !ok {
		return fault
	}
	return c.countResult(o, v, min(uint64(bits.TrailingZeros64(v)), 8*uint64(o.size)))
}

func execLzcnt(c *cpu, o *op) status {
	v, ok := c.get(o, o.b)
	if !ok {
		return fault
	}
	return c.countResult(o, v, uint64(bits.LeadingZeros64(v))-uint64(o.sh))
}

// execPopcnt clears all flags but ZF.
func execPopcnt(c *cpu, o *op) status {
	v, ok := c.get(o, o.b)
	if !ok {
		return fault
	}
	n := uint64(bits.OnesCount64(v))
	c.setReg(o.a.reg, n, o.size)
	c.flags = flags{low: 1}
	c.flags.setZF(n == 0)
	return next
}

// execCRC32 adds the bytes of b to the CRC-32C in a.
func execCRC32(c *cpu, o *op) status {
	v, ok := c.get(o, o.b)
	if !ok {
		return fault
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := uint32(c.regs.GPR[o.a.reg&15])
	for range o.b.size {
		crc = table[byte(crc)^byte(v)] ^ crc>>8
		v >>= 8
	}
	c.setReg(o.a.reg, uint64(crc), 8)
	return next
}
