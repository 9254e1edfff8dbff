//go:build unicorn

package unicorn

/*
#include "core.h"
*/
import "C"

import (
	"encoding/binary"
	"math"
	"sync/atomic"
	"unsafe"

	"ftemu/emu"
	"ftemu/trace"
)

// The registers go to and from C as one block.
var _ [unsafe.Sizeof(emu.Regs{})]byte = [unsafe.Sizeof(C.ft_regs{})]byte{}

// A cpu is a register file. Cores execute for it.
type cpu struct {
	m       *machine
	id      int
	regs    emu.Regs
	request uint32      // atomic: Interrupt was called
	vector  C.ft_vector // valid while home is nil
	home    *core       // the core that holds the vector registers
	event   trace.Event // reused for every event
}

func (c *cpu) ID() int             { return c.id }
func (c *cpu) Memory() *emu.Memory { return c.m.mem }
func (c *cpu) Regs() *emu.Regs     { return &c.regs }
func (c *cpu) Interrupt()          { atomic.StoreUint32(&c.request, 1) }

// trace passes an event on.
func (c *cpu) trace(ev trace.Event) {
	c.regs.RIP = ev.IP
	c.event = ev
	c.event.CPU = c.id
	c.m.tracer.Trace(&c.event)
}

// A run is one call of Run.
type run struct {
	lim      emu.Limits
	limit    uint64 // of instructions
	count    uint64 // executed so far
	deadline uint64 // by the clock of the cores, 0: none
	streak   uint64 // instructions since the last gate or trap
	repeat   uint64 // the count up to which the fast core went in vain
}

// due says what ends the run before the instruction at RIP, if anything does.
func (c *cpu) due(r *run) emu.StopReason {
	switch {
	case atomic.CompareAndSwapUint32(&c.request, 1, 0):
		return emu.StopRequested
	case r.lim.UseUntil && c.regs.RIP == r.lim.Until && r.count > 0:
		return emu.StopUntil
	case r.count >= r.limit:
		return emu.StopInsns
	case r.deadline != 0 && uint64(C.ft_now()) >= r.deadline:
		return emu.StopTime
	}
	return 0
}

// Run implements emu.CPU.
func (c *cpu) Run(lim emu.Limits) emu.Stop {
	r := run{lim: lim, limit: lim.Insns}
	if r.limit == 0 {
		r.limit = math.MaxUint64
	}
	if lim.Time > 0 {
		r.deadline = uint64(C.ft_now()) + uint64(lim.Time)
	}
	stop, fetched := emu.Stop{}, true
	for {
		// What is due comes before a failure to fetch the next instruction.
		if reason := c.due(&r); reason != 0 {
			stop = emu.Stop{Reason: reason}
			break
		}
		if g := c.m.gates.At(c.regs.RIP); g != nil {
			if stop = c.gate(g, &r); stop.Reason != 0 {
				break
			}
			fetched = true
			continue
		}
		if !fetched {
			break
		}
		if stop, fetched = c.execute(&r); stop.Reason != 0 && fetched {
			break
		}
	}
	stop.RIP, stop.Insns = c.regs.RIP, r.count
	return stop
}

// gate calls a gate's function and returns from it.
func (c *cpu) gate(g *emu.Gate, r *run) emu.Stop {
	ret, stop := c.top()
	if stop.Reason != 0 {
		return stop
	}
	if c.m.mask.Has(trace.Gate) {
		c.trace(trace.Event{Kind: trace.Gate, IP: g.Addr, Addr: ret, Name: g.Name})
	}
	c.regs.RIP = g.Addr
	err := g.Func(c)
	c.regs.RIP = g.Addr
	if err != nil {
		return emu.Stop{Reason: emu.StopGate, Err: err}
	}
	if ret, stop = c.top(); stop.Reason != 0 {
		return stop
	}
	c.regs.GPR[emu.RSP] += 8
	c.regs.RIP = ret
	if g.Clobber {
		for _, i := range emu.Clobbered {
			c.regs.GPR[i] = emu.Poison(i)
		}
		c.regs.Flags |= emu.FlagsStatus
	}
	r.count++
	r.streak = 0
	return emu.Stop{}
}

// top reads the return address.
func (c *cpu) top() (uint64, emu.Stop) {
	var b [8]byte
	sp := c.regs.GPR[emu.RSP]
	if !canonical(sp) || !canonical(sp+7) {
		return 0, emu.Stop{Reason: emu.StopGeneral, Addr: sp, Size: 8}
	}
	if f := c.m.mem.Load(sp, b[:]); f != nil {
		return 0, emu.Stop{Reason: emu.StopRead, Addr: f.Addr, Size: f.Size}
	}
	return binary.LittleEndian.Uint64(b[:]), emu.Stop{}
}

// canonical tells whether bits 63 to 47 of an address are equal.
func canonical(a uint64) bool { return uint64(int64(a<<16)>>16) == a }

// execute runs on a core until something needs attention. Where that is only
// that the next instruction cannot be fetched, fetched is false.
func (c *cpu) execute(r *run) (stop emu.Stop, fetched bool) {
	kind, limit := C.int(C.FT_EXACT), r.limit
	if c.m.mask&traced != 0 {
		kind = C.FT_TRACED
	} else if patience := c.m.patience(); r.limit-r.count > patience {
		if r.streak >= patience && r.count >= r.repeat {
			if stop, done := c.speculate(r); done {
				return stop, true
			}
		}
		limit = min(r.limit, max(r.count+patience, r.repeat))
	}
	k, err := c.m.core(kind)
	if err != nil {
		return emu.Stop{Reason: emu.StopEngine, Err: err}, true
	}
	before := r.count
	c.enter(k, r, limit)
	r.streak += r.count - before
	c.m.stored(k)
	return c.outcome(k, r)
}

// traced are the kinds of events that come from inside a core.
var traced = trace.MaskOf(trace.Insn, trace.Branch, trace.Mem)

// enter runs k on the CPU's registers.
func (c *cpu) enter(k *core, r *run, limit uint64) {
	k.own(c)
	s := k.k
	*(*emu.Regs)(unsafe.Pointer(&s.regs)) = c.regs
	s.count, s.limit = C.uint64_t(r.count), C.uint64_t(limit)
	s.until, s.use_until = C.uint64_t(r.lim.Until), C.bool(r.lim.UseUntil)
	s.deadline = C.uint64_t(r.deadline)
	s.request = (*C.uint32_t)(unsafe.Pointer(&c.request))
	s.mask = C.uint32_t(c.m.mask & traced)
	k.runner = c
	C.ft_run(s)
	k.runner = nil
	c.regs = *(*emu.Regs)(unsafe.Pointer(&s.regs))
	r.count = uint64(s.count)
}

// outcome turns what a core came back with into a stop, or none to go on.
func (c *cpu) outcome(k *core, r *run) (stop emu.Stop, fetched bool) {
	s := k.k
	switch s.why {
	case C.FT_AGAIN:
		return emu.Stop{}, true
	case C.FT_INT3:
		return c.int3(r), true
	case C.FT_HALT:
		return emu.Stop{Reason: emu.StopHalt}, true
	case C.FT_INVALID:
		return c.invalid(), true
	case C.FT_EXCEPTION:
		// No handler ever returns from it, so the next exception would be a
		// double fault to this instance.
		k.stale = true
		if s.vector == vectorDivide {
			return c.divide(), true
		}
		return emu.Stop{Reason: emu.StopGeneral}, true
	case C.FT_FAULT_FETCH:
		return c.unfetched(uint64(s.fault_addr)), false
	case C.FT_FAULT:
		return c.unaccessed(uint64(s.fault_addr), int(s.fault_size), bool(s.fault_write)), true
	}
	return emu.Stop{Reason: emu.StopEngine, Err: unicornError(s.error)}, true
}
