package interp

import (
	"math"
	"sync/atomic"
	"time"

	"ftemu/emu"
	"ftemu/trace"
)

// A cpu executes. While it runs the status flags are in flags, not in
// regs.Flags; regs.RIP is right only between blocks.
type cpu struct {
	regs  emu.Regs
	flags flags
	mem   *emu.Memory
	m     *machine
	id    int

	left  uint64 // how many more instructions this run may execute
	count uint64 // instructions executed since the CPU was made, up to the current block
	extra uint64 // iterations of a repeated string instruction beyond the first

	pages // caches of pages for loads and stores

	// Where the last run stopped inside a block, so that stepping need not
	// look it up.
	resume   *block
	resumeAt int

	stop      emu.Stop // why an operation answered fault or halt
	at        uint64   // the instruction being traced
	deadline  time.Time
	nextClock uint64 // the count at which to look at the clock
	interrupt atomic.Bool
	event     trace.Event // reused for every event
}

func (c *cpu) ID() int             { return c.id }
func (c *cpu) Memory() *emu.Memory { return c.mem }
func (c *cpu) Regs() *emu.Regs     { return &c.regs }
func (c *cpu) Interrupt()          { c.interrupt.Store(true) }

// clockInterval is how many instructions execute between two looks at the clock.
const clockInterval = 4096

// A status is what an operation answers.
type status uint8

const (
	next  status = iota // go on with the following operation
	dirty               // done, but code may have changed: look the next one up
	jump                // done; control was transferred to regs.RIP
	moved               // done; regs.RIP is set, but that was no branch
	fault               // nothing was done; stop says why
	halt                // done, regs.RIP is set; stop says why the run ends
)

// Run implements emu.CPU.
func (c *cpu) Run(lim emu.Limits) emu.Stop {
	// A gate or trap may run its own CPU: keep the outer run's bounds.
	left, deadline, nextClock := c.left, c.deadline, c.nextClock
	budget := lim.Insns
	if budget == 0 {
		budget = math.MaxUint64
	}
	c.left, c.deadline, c.nextClock = budget, time.Time{}, math.MaxUint64
	if lim.Time > 0 {
		c.deadline = time.Now().Add(lim.Time)
		c.nextClock = c.count + clockInterval
	}
	c.flags.unpack(c.regs.Flags)

	reason := c.loop(&lim)

	c.packFlags()
	stop := emu.Stop{Reason: reason}
	if reason == 0 {
		stop = c.stop
	}
	stop.RIP, stop.Insns = c.regs.RIP, budget-c.left
	c.left, c.deadline, c.nextClock = left, deadline, nextClock
	return stop
}

// packFlags brings regs.Flags up to date.
func (c *cpu) packFlags() {
	c.regs.Flags = c.regs.Flags&^emu.FlagsStatus | c.flags.pack() | emu.FlagsFixed
}

// loop executes blocks until something stops the run. It answers 0 where
// c.stop says what.
func (c *cpu) loop(lim *emu.Limits) emu.StopReason {
	traced := c.m.mask&(1<<trace.Insn|1<<trace.Branch|1<<trace.Mem) != 0
	for first := true; ; first = false {
		rip := c.regs.RIP
		switch {
		case c.interrupt.Load():
			c.interrupt.Store(false)
			return emu.StopRequested
		case lim.UseUntil && rip == lim.Until && !first:
			return emu.StopUntil
		case c.left == 0:
			return emu.StopInsns
		case c.count >= c.nextClock:
			if time.Now().After(c.deadline) {
				return emu.StopTime
			}
			c.nextClock = c.count + clockInterval
		}

		b, i := c.resume, c.resumeAt
		if c.mem.Generation() != c.gen {
			c.flushPages()
		}
		if b == nil || b.ops[i].ip != rip || !c.valid(b) {
			i = 0
			if b = c.m.blocks.get(rip); b == nil || !c.valid(b) {
				var err emu.StopReason
				if b, err = c.build(rip); err != 0 {
					return 0
				}
			}
		}
		ops := b.ops[i:]
		if uint64(len(ops)) > c.left {
			ops = ops[:c.left]
		}
		if lim.UseUntil && lim.Until-rip < b.end-rip {
			ops = upTo(ops, lim.Until)
		}
		c.resume = nil

		var n int
		var st status
		if traced {
			n, st = c.runTraced(ops)
		} else {
			n, st = c.run(ops)
		}
		switch st {
		case next:
			// All of ops executed; there may be more of the block.
			c.regs.RIP = ops[n-1].next
			if i += n; i < len(b.ops) {
				c.resume, c.resumeAt = b, i
			}
		case dirty:
			c.regs.RIP = ops[n-1].next
		case fault:
			n--
			c.regs.RIP = ops[n].ip
		}
		done := uint64(n) + c.extra
		c.extra = 0
		c.left -= done
		c.count += done
		if st >= fault {
			return 0
		}
	}
}

// upTo returns the operations before the one at address end, all if that is
// the first or none.
func upTo(ops []op, end uint64) []op {
	for i := 1; i < len(ops); i++ {
		if ops[i].ip == end {
			return ops[:i]
		}
	}
	return ops
}

// run executes ops until one does not answer next. It returns how many it
// began and the last answer.
func (c *cpu) run(ops []op) (int, status) {
	for i := range ops {
		o := &ops[i]
		if st := o.fn(c, o); st != next {
			return i + 1, st
		}
	}
	return len(ops), next
}

// runTraced is run for a tracer of instructions, branches or accesses.
func (c *cpu) runTraced(ops []op) (int, status) {
	for i := range ops {
		o := &ops[i]
		c.at = o.ip
		if !o.gate() {
			c.traceInsn(o)
		}
		st := o.fn(c, o)
		if st == jump && c.m.mask.Has(trace.Branch) {
			target := c.regs.RIP
			c.trace(trace.Event{Kind: trace.Branch, IP: o.ip, Addr: target})
			c.regs.RIP = target
		}
		if st != next {
			return i + 1, st
		}
	}
	return len(ops), next
}

// traceInsn announces the instruction o.
func (c *cpu) traceInsn(o *op) {
	if c.m.mask.Has(trace.Insn) {
		c.trace(trace.Event{Kind: trace.Insn, IP: o.ip, Size: len(o.code), New: o.code})
	}
}

// trace passes an event on, with the registers in order for the tracer to read.
func (c *cpu) trace(ev trace.Event) {
	c.packFlags()
	c.regs.RIP = ev.IP
	c.event = ev
	c.event.CPU = c.id
	c.m.tracer.Trace(&c.event)
}

// fail makes c.stop and answers fault.
func (c *cpu) fail(reason emu.StopReason, addr uint64, size int) status {
	c.stop = emu.Stop{Reason: reason, Addr: addr, Size: size}
	return fault
}
