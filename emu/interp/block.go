package interp

import (
	"bytes"
	"errors"
	"math/bits"
	"slices"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/x86"
)

const (
	maxBlockOps = 64
	maxWindow   = maxBlockOps * x86.MaxInstLen // the bytes a block may take
	// maxOps bounds the cache: guest code that jumps everywhere, into the
	// middle of its own instructions too, makes many blocks.
	maxOps   = 1 << 18
	minSlots = 1 << 6 // of a cache's table
)

// A block is a run of instructions, executed one after the other unless a
// conditional jump leaves it, or a gate.
type block struct {
	start, end uint64 // the addresses it covers; equal for a gate
	ops        []op
	code       []byte // what it was made from
	gate       *emu.Gate

	// before is the block that was here before this one: who patches a site often
	// turns it back.
	before *block
	to     *block // where it jumped the last time, or nil

	// It is good while the CPU's epoch is this one, and may be good again in
	// another one: if the gates or the versions of its pages are still these, or
	// if a closer look finds the same. A block in one page has that page twice.
	epoch    uint64
	gates    uint64
	page     [2]*emu.Page
	versions [2]uint64
}

// A blockCache holds blocks by start address, in a hash table with at least
// twice as many slots as blocks.
type blockCache struct {
	slots []*block // a power of two of them
	shift uint8    // 64 less the logarithm of their number
	count int
	ops   int // in all of them
}

func (bc *blockCache) init() { bc.resize(minSlots) }

// resize makes an empty table.
func (bc *blockCache) resize(n int) {
	*bc = blockCache{slots: make([]*block, n), shift: uint8(65 - bits.Len(uint(n)))}
}

// slot returns the number of the first slot to look at for addr.
func (bc *blockCache) slot(addr uint64) uint64 { return addr * 0x9e3779b97f4a7c15 >> (bc.shift & 63) }

// place returns the slot where the block at addr is or would be.
func (bc *blockCache) place(addr uint64) **block {
	for i := bc.slot(addr); ; i++ {
		if b := &bc.slots[i%uint64(len(bc.slots))]; *b == nil || (*b).start == addr {
			return b
		}
	}
}

// at returns the block at addr, or nil.
func (bc *blockCache) at(addr uint64) *block { return *bc.place(addr) }

// put enters b in place of the block at its address, if there is one, which it
// keeps as the one before.
func (bc *blockCache) put(b *block) {
	slot := bc.place(b.start)
	if old := *slot; old != nil {
		if old.before != nil {
			bc.ops -= len(old.before.ops)
			old.before = nil
		}
		b.before = old
		bc.count--
	}
	if bc.ops+len(b.ops) > maxOps {
		bc.init()
		slot, b.before = bc.place(b.start), nil
	}
	*slot = b
	bc.ops += len(b.ops)
	if bc.count++; 2*bc.count > len(bc.slots) {
		bc.grow()
	}
}

func (bc *blockCache) grow() {
	old := *bc
	bc.resize(4 * len(old.slots))
	bc.count, bc.ops = old.count, old.ops
	for _, b := range old.slots {
		if b != nil {
			*bc.place(b.start) = b
		}
	}
}

// find returns the block at addr, making it if need be. Where not even one
// instruction can execute it sets c.stop and returns nil.
func (c *cpu) find(addr uint64) *block {
	slot := c.m.blocks.place(addr)
	b := *slot
	if b != nil {
		if c.good(b) {
			return b
		}
		if old := b.before; old != nil && c.good(old) {
			*slot, old.before, b.before = old, b, nil
			return old
		}
	}
	return c.build(addr, b)
}

// good tells whether b is what decoding at its address would give.
func (c *cpu) good(b *block) bool { return b.epoch == c.epoch || c.revalidate(b) }

// revalidate looks closer at a block of another epoch. Where its own bytes and
// gates are as they were, it is good again.
func (c *cpu) revalidate(b *block) bool {
	if b.gates != c.m.gatesVersion {
		if b.gate != c.m.gates.At(b.start) {
			return false
		}
		for i := range b.ops[1:] {
			if c.m.gates.At(b.ops[i+1].ip) != nil {
				return false
			}
		}
		b.gates = c.m.gatesVersion
	}
	if b.gate == nil && !c.sameCode(b) {
		return false
	}
	b.epoch = c.epoch
	return true
}

// sameCode tells whether the bytes that b was made from are there and executable.
func (c *cpu) sameCode(b *block) bool {
	p, q := c.mem.Page(b.start), c.mem.Page(b.end-1)
	if p == nil || q == nil || p.Perm&q.Perm&emu.PermX == 0 {
		return false
	}
	now := [2]uint64{p.Version, q.Version}
	if b.page == [2]*emu.Page{p, q} && b.versions == now {
		return true
	}
	first := p.Data[b.start&pageMask:]
	n := min(len(first), len(b.code))
	if !bytes.Equal(first[:n], b.code[:n]) || !bytes.Equal(q.Data[:len(b.code)-n], b.code[n:]) {
		return false
	}
	b.page, b.versions = [2]*emu.Page{p, q}, now
	return true
}

// build decodes the block at addr, with the help of what old, which may be nil,
// has of it: a patch leaves most of a block as it was, and decoding costs more
// than all the rest. A block ends where another one begins, so that a site that
// is patched again and again comes to be a block of its own.
//
// Where not even one instruction can execute it sets c.stop and returns nil.
func (c *cpu) build(addr uint64, old *block) *block {
	b := &block{start: addr, end: addr, epoch: c.epoch, gates: c.m.gatesVersion}
	if b.gate = c.m.gates.At(addr); b.gate != nil {
		b.ops = []op{{fn: execGate, quick: execGate, ip: addr, next: addr, place: alone}}
		c.m.blocks.put(b)
		return b
	}
	window, stop := c.fetch(addr)
	if stop.Reason != 0 {
		c.stop = stop
		return nil
	}
	ops, known := c.m.scratch(), old.decoded()
	n := 0
	for n < maxBlockOps {
		at := window[b.end-addr:]
		if n > 0 && (len(at) == 0 || b.end&^pageMask != addr&^pageMask || c.m.gates.At(b.end) != nil || c.known(b.end)) {
			break
		}
		for len(known) > 0 && known[0].ip < b.end {
			known = known[1:]
		}
		if len(known) > 0 && known[0].ip == b.end && bytes.HasPrefix(at, old.code[b.end-addr:known[0].next-addr]) {
			ops[n] = known[0]
		} else if !c.compile(&ops[n], at, b.end) {
			if n == 0 {
				return nil
			}
			break
		}
		o := &ops[n]
		if o.place == alone && n > 0 {
			break
		}
		b.end = o.next
		n++
		if o.place != inside {
			break
		}
	}
	b.code = bytes.Clone(window[:b.end-addr])
	b.ops = slices.Clone(ops[:n])
	chooseQuick(b.ops)
	b.page = [2]*emu.Page{c.mem.Page(addr), c.mem.Page(b.end - 1)}
	b.versions = [2]uint64{b.page[0].Version, b.page[1].Version}
	c.m.blocks.put(b)
	return b
}

// decoded returns the operations that b, which may be nil, has decoded.
func (b *block) decoded() []op {
	if b == nil || b.gate != nil {
		return nil
	}
	return b.ops
}

// known tells whether there is a block at addr.
func (c *cpu) known(addr uint64) bool {
	b := c.m.blocks.at(addr)
	return b != nil && c.good(b)
}

// fetch returns bytes to decode from: those of the page that holds addr, and
// if it is executable the next one's first few.
func (c *cpu) fetch(addr uint64) ([]byte, emu.Stop) {
	if !canonical(addr) {
		return nil, emu.Stop{Reason: emu.StopGeneral, Addr: addr}
	}
	p := c.mem.Page(addr)
	switch {
	case p == nil:
		return nil, emu.Stop{Reason: emu.StopFetch, Addr: addr, Size: 1}
	case p.Perm&emu.PermX == 0:
		return nil, emu.Stop{Reason: emu.StopNoExec, Addr: addr, Size: 1}
	}
	window := p.Data[addr&pageMask:]
	if len(window) >= maxWindow {
		return window[:maxWindow], emu.Stop{}
	}
	if q := c.mem.Page(p.Addr + emu.PageSize); q != nil && q.Perm&emu.PermX != 0 {
		window = append(bytes.Clone(window), q.Data[:x86.MaxInstLen]...)
	}
	return window, emu.Stop{}
}

// Where in a block an operation may be.
type place uint8

const (
	inside place = iota // anywhere
	last                // at its end: what follows is seldom executed next
	alone               // by itself: it needs to know the number of instructions executed, or ends the run
)

// compile decodes the instruction at ip into o, or sets c.stop.
func (c *cpu) compile(o *op, code []byte, ip uint64) bool {
	in := &c.m.inst
	var err error
	*in, err = x86.Decode(code)
	if errors.Is(err, x86.ErrTruncated) && len(code) < x86.MaxInstLen {
		// The rest would be in the next page, which is not executable.
		rest := ip + uint64(len(code))
		c.stop = emu.Stop{Reason: emu.StopFetch, Addr: rest, Size: 1}
		if !canonical(rest) {
			c.stop.Reason = emu.StopGeneral
		} else if c.mem.Page(rest) != nil {
			c.stop.Reason = emu.StopNoExec
		}
		return false
	}
	if err == nil {
		*o = op{ip: ip, next: ip + uint64(in.Len)}
		if f, ok := lookup(in.Op); ok && f.build(o, in) {
			o.place = f.place
			return true
		}
	}
	n := min(len(code), x86.MaxInstLen)
	if err == nil {
		n = in.Len
	}
	c.stop = emu.Stop{Reason: emu.StopUnknown, Bytes: bytes.Clone(code[:n])}
	return false
}

// execGate calls a gate's function and returns from it.
func execGate(c *cpu, o *op) status {
	g := c.block.gate
	c.regs.RIP = o.ip
	ret, ok := c.peek(c.regs.GPR[emu.RSP])
	if !ok {
		return fault
	}
	if c.m.mask.Has(trace.Gate) {
		c.trace(trace.Event{Kind: trace.Gate, IP: o.ip, Addr: ret, Name: g.Name})
	}
	c.packFlags()
	err := g.Func(c)
	c.leaveGo()
	if err != nil {
		c.stop = emu.Stop{Reason: emu.StopGate, Err: err}
		return fault
	}
	if ret, ok = c.peek(c.regs.GPR[emu.RSP]); !ok {
		return fault
	}
	c.regs.GPR[emu.RSP] += 8
	c.regs.RIP = ret
	if g.Clobber {
		for _, r := range emu.Clobbered {
			c.regs.GPR[r] = emu.Poison(r)
		}
		c.flags.unpack(poisonedFlags)
	}
	return moved
}

// poisonedFlags are the status flags that a clobbering gate leaves: all set,
// which no comparison does.
const poisonedFlags = emu.FlagsStatus

// peek reads a word of the stack without announcing it.
func (c *cpu) peek(a uint64) (uint64, bool) {
	if !c.checkCanonical(a, 8) {
		return 0, false
	}
	var b [8]byte
	if f := c.mem.Load(a, b[:]); f != nil {
		c.fail(emu.StopRead, f.Addr, 8)
		return 0, false
	}
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56, true
}
