package interp

import (
	"bytes"
	"cmp"
	"errors"
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
	maxOps     = 1 << 18
	blockSlots = 1 << 10 // entries of the direct-mapped front of the cache
)

// A block is a run of instructions, executed one after the other unless a
// conditional jump leaves it, or a gate.
type block struct {
	start, end uint64 // the addresses it covers; equal for a gate
	ops        []op
	code       []byte // what it was made from
	gate       *emu.Gate

	// It is good while the machine's epoch and the pages' versions are these. A
	// block in one page has that page twice, a gate one that is nobody's.
	epoch    uint64
	page     [2]*emu.Page
	versions [2]uint64
}

// A blockCache holds blocks by start address.
type blockCache struct {
	slots [blockSlots]*block
	all   map[uint64]*block
	ops   int // in all of them
}

func (bc *blockCache) init() {
	clear(bc.slots[:])
	bc.all = make(map[uint64]*block)
	bc.ops = 0
}

func (bc *blockCache) slot(addr uint64) **block {
	return &bc.slots[(addr^addr>>10)%blockSlots]
}

// put enters b in place of the block at its address, if there is one.
func (bc *blockCache) put(b *block) {
	if old := bc.all[b.start]; old != nil {
		bc.ops -= len(old.ops)
	}
	if bc.ops += len(b.ops); bc.ops > maxOps {
		bc.init()
		bc.ops = len(b.ops)
	}
	bc.all[b.start] = b
	*bc.slot(b.start) = b
}

// valid tells whether b is known to be what decoding at its address would give.
func (c *cpu) valid(b *block) bool {
	return b.epoch == c.epoch && b.page[0].Version == b.versions[0] && b.page[1].Version == b.versions[1]
}

// find returns the block at addr, making it if need be. Where not even one
// instruction can execute it sets c.stop and returns nil.
func (c *cpu) find(addr uint64) *block {
	b := c.m.blocks.all[addr]
	if b != nil && (c.valid(b) || c.revalidate(b)) {
		*c.m.blocks.slot(addr) = b
		return b
	}
	return c.build(addr, b)
}

// revalidate looks closer at a block around which something changed. Where its
// own bytes and gates are as they were, it is good again.
func (c *cpu) revalidate(b *block) bool {
	if b.gate != c.m.gates.At(b.start) {
		return false
	}
	if b.gate == nil {
		var now [maxWindow]byte
		code := now[:len(b.code)]
		if c.mem.Fetch(b.start, code) != nil || !bytes.Equal(code, b.code) {
			return false
		}
		if b.epoch != c.epoch {
			for i := range b.ops[1:] {
				if c.m.gates.At(b.ops[i+1].ip) != nil {
					return false
				}
			}
		}
		c.setPages(b)
	}
	b.epoch = c.epoch
	return true
}

// at returns the operation that b, which may be nil, has for the instruction at
// addr, if code still begins with that instruction. A patch leaves most of a
// block as it was, and decoding costs more than all the rest.
func (b *block) at(addr uint64, code []byte) *op {
	if b == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(b.ops, addr, func(o op, a uint64) int { return cmp.Compare(o.ip, a) })
	if !ok || b.gate != nil || !bytes.HasPrefix(code, b.code[addr-b.start:b.ops[i].next-b.start]) {
		return nil
	}
	return &b.ops[i]
}

// setPages remembers the pages of a block and their versions.
func (c *cpu) setPages(b *block) {
	b.page = [2]*emu.Page{c.mem.Page(b.start), c.mem.Page(b.end - 1)}
	b.versions = [2]uint64{b.page[0].Version, b.page[1].Version}
}

// build decodes the block at addr, with the help of what old, which may be nil,
// has of it. Where not even one instruction can execute it sets c.stop and
// returns nil.
func (c *cpu) build(addr uint64, old *block) *block {
	b := &block{start: addr, end: addr, epoch: c.epoch}
	if b.gate = c.m.gates.At(addr); b.gate != nil {
		b.page = [2]*emu.Page{&c.m.nowhere, &c.m.nowhere}
		b.ops = []op{{fn: execGate, ip: addr, next: addr, place: alone}}
		c.m.blocks.put(b)
		return b
	}
	window, stop := c.fetch(addr)
	if stop.Reason != 0 {
		c.stop = stop
		return nil
	}
	ops := &c.m.scratch
	n := 0
	for n < maxBlockOps {
		at := window[b.end-addr:]
		if n > 0 && (len(at) == 0 || b.end&^pageMask != addr&^pageMask || c.m.gates.At(b.end) != nil) {
			break
		}
		if o := old.at(b.end, at); o != nil {
			ops[n] = *o
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
	c.setPages(b)
	c.m.blocks.put(b)
	return b
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
	alone               // by itself: it needs to know the number of instructions executed
)

// compile decodes the instruction at ip into o, or sets c.stop.
func (c *cpu) compile(o *op, code []byte, ip uint64) bool {
	in, err := x86.Decode(code)
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
		if f, ok := lookup(in.Op); ok && f.build(o, &in) {
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
