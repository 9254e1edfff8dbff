package interp

import (
	"encoding/binary"
	"math/bits"

	"ftemu/emu"
	"ftemu/trace"
)

const (
	pageShift = 12
	pageMask  = emu.PageSize - 1
	pageSlots = 32 // entries of each page cache; a power of two
	noPage    = ^uint64(0)
)

// A pageSlot remembers one page that may be accessed directly.
type pageSlot struct {
	number uint64 // address >> pageShift, or noPage
	data   *[emu.PageSize]byte
}

// pages are the pages that loads and stores have found, by page number. They
// are valid for one epoch of the machine. Executable pages are never among
// those for stores: stores to code go through Memory. While accesses are traced
// nothing is remembered, so that every access takes the slow path.
type pages struct {
	loads  [pageSlots]pageSlot
	stores [pageSlots]pageSlot
}

// flushPages forgets all pages.
func (c *cpu) flushPages() {
	c.pages = pages{}
	c.pages.init()
}

// init makes zeroed caches empty: a slot of zeros holds no page, but in the place
// of page 0.
func (p *pages) init() { p.loads[0].number, p.stores[0].number = noPage, noPage }

// load reads an operand of the size that mask has bits. It reads eight bytes
// where the page has them, and takes what it needs.
func (c *cpu) load(a, mask uint64) (uint64, bool) {
	s := &c.loads[a>>pageShift%pageSlots]
	if off := a & pageMask; s.number == a>>pageShift && off <= emu.PageSize-8 {
		return binary.LittleEndian.Uint64(s.data[off:]) & mask, true
	}
	return c.loadSlow(a, mask)
}

// loadOp is load of an op's memory operand that is not special.
func (c *cpu) loadOp(o *op) (uint64, bool) {
	a := c.eaPlain(o)
	s := &c.loads[a>>pageShift%pageSlots]
	if off := a & pageMask; s.number == a>>pageShift && off <= emu.PageSize-8 {
		return binary.LittleEndian.Uint64(s.data[off:]) & o.mask, true
	}
	return c.loadSlow(a, o.mask)
}

func (c *cpu) store64(a, v uint64) status {
	s := &c.stores[a>>pageShift%pageSlots]
	if off := a & pageMask; s.number == a>>pageShift && off <= emu.PageSize-8 {
		binary.LittleEndian.PutUint64(s.data[off:], v)
		return next
	}
	return c.storeSlow(a, v, 8)
}

func (c *cpu) store32(a, v uint64) status {
	s := &c.stores[a>>pageShift%pageSlots]
	if off := a & pageMask; s.number == a>>pageShift && off <= emu.PageSize-4 {
		binary.LittleEndian.PutUint32(s.data[off:], uint32(v))
		return next
	}
	return c.storeSlow(a, v, 4)
}

func (c *cpu) store16(a, v uint64) status {
	s := &c.stores[a>>pageShift%pageSlots]
	if off := a & pageMask; s.number == a>>pageShift && off <= emu.PageSize-2 {
		binary.LittleEndian.PutUint16(s.data[off:], uint16(v))
		return next
	}
	return c.storeSlow(a, v, 2)
}

func (c *cpu) store8(a, v uint64) status {
	s := &c.stores[a>>pageShift%pageSlots]
	if s.number == a>>pageShift {
		s.data[a&pageMask] = uint8(v)
		return next
	}
	return c.storeSlow(a, v, 1)
}

// store writes the low size bytes of v, 1, 2, 4 or 8.
func (c *cpu) store(a, v uint64, size uint8) status {
	switch size {
	case 1:
		return c.store8(a, v)
	case 2:
		return c.store16(a, v)
	case 4:
		return c.store32(a, v)
	}
	return c.store64(a, v)
}

// canonical tells whether the bits of a above the 48 that are translated all
// equal bit 47.
func canonical(a uint64) bool { return uint64(int64(a)<<16>>16) == a }

// checkCanonical fails the instruction where an access leaves the canonical
// addresses.
func (c *cpu) checkCanonical(a uint64, size int) bool {
	if canonical(a) && canonical(a+uint64(size)-1) {
		return true
	}
	c.fail(emu.StopGeneral, a, size)
	return false
}

// loadSlow reads where the page is not in the cache, and puts it there.
func (c *cpu) loadSlow(a, mask uint64) (uint64, bool) {
	size := bits.Len64(mask) / 8
	if p := &c.loads[a>>pageShift%pageSlots]; p.number == a>>pageShift && a&pageMask <= emu.PageSize-uint64(size) {
		// In the last bytes of a page that load does not read eight of.
		const last = emu.PageSize - 8
		return binary.LittleEndian.Uint64(p.data[last:]) >> (8 * (a&pageMask - last)) & mask, true
	}
	if !c.checkCanonical(a, size) {
		return 0, false
	}
	var b [8]byte
	if f := c.mem.Load(a, b[:size]); f != nil {
		c.fail(emu.StopRead, f.Addr, size)
		return 0, false
	}
	v := binary.LittleEndian.Uint64(b[:])
	if c.m.mask.Has(trace.Mem) {
		c.trace(trace.Event{Kind: trace.Mem, IP: c.at, Addr: a, Size: size, Value: v})
		return v, true
	}
	if p := c.mem.Page(a); p != nil {
		c.loads[a>>pageShift%pageSlots] = pageSlot{a >> pageShift, (*[emu.PageSize]byte)(p.Data)}
	}
	return v, true
}

// storeSlow writes where the page is not in the cache, and puts it there if
// that may be.
func (c *cpu) storeSlow(a, v uint64, size int) status {
	if !c.checkCanonical(a, size) {
		return fault
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	if f := c.mem.Store(a, b[:size]); f != nil {
		return c.fail(emu.StopWrite, f.Addr, size)
	}
	first, last := c.mem.Page(a), c.mem.Page(a+uint64(size)-1)
	st := next
	if (first.Perm|last.Perm)&emu.PermX != 0 {
		c.sync()
		st = dirty
	}
	switch {
	case c.m.mask.Has(trace.Mem):
		c.traceStore(a, v, size)
	case first.Perm&emu.PermX == 0:
		c.mem.PrepareWrite(first)
		c.stores[a>>pageShift%pageSlots] = pageSlot{a >> pageShift, (*[emu.PageSize]byte)(first.Data)}
	}
	return st
}

func (c *cpu) traceStore(a, v uint64, size int) {
	if size < 8 {
		v &= 1<<(8*size) - 1
	}
	c.trace(trace.Event{Kind: trace.Mem, IP: c.at, Addr: a, Size: size, Write: true, Value: v})
}

// writable tells whether size bytes at a can be stored, for instructions that
// store more than once; if not it fails the instruction.
func (c *cpu) writable(a uint64, size int) bool {
	if !c.checkCanonical(a, size) {
		return false
	}
	for _, x := range [2]uint64{a, a + uint64(size) - 1} {
		if p := c.mem.Page(x); p == nil || p.Perm&emu.PermW == 0 {
			if x != a {
				x &^= pageMask
			}
			c.fail(emu.StopWrite, x, size)
			return false
		}
	}
	return true
}
