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
	total uint64 // left plus the instructions executed since the CPU was made
	pause uint64 // what is left when something is to be looked at: the end or the clock
	extra uint64 // iterations of a repeated string instruction beyond the first
	once  bool   // a repeated string instruction is to stop after one iteration

	pages // caches of pages for loads and stores

	block *block // being executed

	// Where the last run stopped inside a block, so that stepping need not
	// look it up.
	resume   *block
	resumeAt int

	epoch     uint64   // the machine's, as of the last look
	gen       uint64   // the memory's, for which pages are
	stop      emu.Stop // why an operation answered fault or halt
	at        uint64   // the instruction being traced
	deadline  time.Duration
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
func (c *cpu) Run(lim emu.Limits) (stop emu.Stop) {
	// A gate or trap may run its own CPU: keep the outer run's bounds.
	left, pause, deadline := c.left, c.pause, c.deadline
	budget := lim.Insns
	if budget == 0 {
		budget = math.MaxUint64
	}
	c.total += budget - left
	c.left, c.pause, c.deadline = budget, 0, 0
	if lim.Time > 0 {
		c.deadline = c.m.now() + lim.Time
		c.setPause(clockInterval)
	}
	c.sync()
	c.flags.unpack(c.regs.Flags)

	if stop.Reason = c.loop(&lim); stop.Reason == 0 {
		stop = c.stop
	}

	c.packFlags()
	stop.RIP, stop.Insns = c.regs.RIP, budget-c.left
	c.total += left - c.left
	c.left, c.pause, c.deadline = left, pause, deadline
	return stop
}

// setPause makes the run look at the clock after n more instructions.
func (c *cpu) setPause(n uint64) { c.pause = c.left - min(c.left, n) }

// count is the number of instructions executed since the CPU was made. It is
// right at the beginning of a block.
func (c *cpu) count() uint64 { return c.total - c.left }

// sync takes notice of what Go code may have changed: it is called when a run
// begins and when a gate, a trap or a tracer has returned.
func (c *cpu) sync() {
	m := c.m
	if code, gates := m.mem.CodeVersion(), m.gates.Version(); code != m.code || gates != m.gatesVersion {
		m.code, m.gatesVersion = code, gates
		m.epoch++
	}
	c.epoch = m.epoch
	if gen := m.mem.Generation(); c.gen != gen {
		c.gen = gen
		c.flushPages()
	}
}

// leaveGo is called when Go code that the guest called has returned: it may
// have changed flags, memory or gates, and have taken any time.
func (c *cpu) leaveGo() {
	c.flags.unpack(c.regs.Flags)
	c.sync()
	if c.deadline != 0 {
		c.setPause(0)
	}
}

// packFlags brings regs.Flags up to date.
func (c *cpu) packFlags() {
	c.regs.Flags = c.regs.Flags&^emu.FlagsStatus | c.flags.pack() | emu.FlagsFixed
}

// loop executes blocks until something stops the run. It answers 0 where
// c.stop says what.
func (c *cpu) loop(lim *emu.Limits) emu.StopReason {
	traced := c.m.mask&(1<<trace.Insn|1<<trace.Branch|1<<trace.Mem) != 0
	useUntil, until := lim.UseUntil, lim.Until
	for first := true; ; first = false {
		rip := c.regs.RIP
		if c.interrupt.Load() {
			c.interrupt.Store(false)
			return emu.StopRequested
		}
		if useUntil && rip == until && !first {
			return emu.StopUntil
		}
		if c.left <= c.pause {
			if c.left == 0 {
				return emu.StopInsns
			}
			if c.m.now() >= c.deadline {
				return emu.StopTime
			}
			c.setPause(clockInterval)
		}

		b, i := c.resume, c.resumeAt
		if b == nil || b.ops[i].ip != rip || !c.good(b) {
			i = 0
			blocks := &c.m.blocks
			if b = blocks.slots[blocks.slot(rip)]; b == nil || b.start != rip || b.epoch != c.epoch {
				if b = c.find(rip); b == nil {
					return 0
				}
			}
		}
		ops := b.ops[i:]
		if uint64(len(ops)) > c.left {
			ops = ops[:c.left]
		}
		c.once = traced
		if useUntil && until-rip < b.end-rip {
			ops = upTo(ops, until)
			c.once = traced || until == rip // iterations are instructions: the second one is not executed
		}

		var n int
		var st status
		if b.gate != nil || traced {
			c.block = b
		}
		if traced {
			n, st = c.runTraced(ops)
		} else {
			n, st = c.run(ops)
		}
		c.left -= uint64(n)

		if st == jump {
			if c.resume != nil {
				c.resume = nil
			}
			continue
		}
		if st == next && i+n < len(b.ops) {
			if c.resumeAt = i + n; c.resume != b {
				c.resume = b
			}
		} else {
			c.resume = nil
		}
		switch st {
		case next, dirty:
			c.regs.RIP = ops[n-1].next
		case fault:
			c.regs.RIP = ops[n-1].ip
			c.left++
		}
		c.left -= c.extra
		c.extra = 0
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

// runTraced is run for a tracer of instructions, branches or accesses. A tracer
// may change code, for the instructions after the one it was told of.
func (c *cpu) runTraced(ops []op) (int, status) {
	for i := range ops {
		o := &ops[i]
		c.at = o.ip
		if c.block.gate == nil {
			c.traceInsn(o)
		}
		st := o.fn(c, o)
		if target := c.regs.RIP; st == jump && target != o.next && c.m.mask.Has(trace.Branch) {
			c.trace(trace.Event{Kind: trace.Branch, IP: o.ip, Addr: target})
			c.regs.RIP = target
		}
		if c.sync(); st == next && c.block.epoch != c.epoch {
			st = dirty
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
		code := c.block.code[o.ip-c.block.start : o.next-c.block.start]
		c.trace(trace.Event{Kind: trace.Insn, IP: o.ip, Size: len(code), New: code})
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
