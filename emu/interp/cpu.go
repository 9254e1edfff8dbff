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
	regs   emu.Regs
	flags  flags
	packed uint64 // what regs.Flags was when flags were last brought there
	mem    *emu.Memory
	m      *machine
	id     int

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
	event     trace.Event // reused for every event but those of instructions
	insn      trace.Event // reused for those
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

	unstepped // nothing was done, and there is nothing to say (an answer of cpu.step)
)

// Run implements emu.CPU.
func (c *cpu) Run(lim emu.Limits) (stop emu.Stop) {
	if lim.Insns == 1 && !lim.UseUntil && lim.Time == 0 {
		if st := c.step(); st != unstepped {
			if stop.Reason, stop.Insns = emu.StopInsns, 1; st == fault {
				stop = c.stop
			}
			stop.RIP = c.regs.RIP
			return stop
		}
	}
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
	if c.regs.Flags != c.packed {
		c.flags.unpack(c.regs.Flags)
	}

	if reason := c.loop(&lim); reason != 0 {
		stop.Reason = reason
	} else {
		stop = c.stop
	}

	c.packFlags()
	stop.RIP, stop.Insns = c.regs.RIP, budget-c.left
	c.total += left - c.left
	c.left, c.pause, c.deadline = left, pause, deadline
	return stop
}

// step executes one instruction if that is a simple matter: one that is decoded
// and needs no care, with nobody watching. Otherwise it does nothing and answers
// unstepped.
func (c *cpu) step() status {
	c.sync()
	b, i := c.resume, c.resumeAt
	if rip := c.regs.RIP; b == nil || b.ops[i].ip != rip || b.epoch != c.epoch {
		b, i = c.m.blocks.slots[c.m.blocks.slot(rip)], 0
		if b == nil || b.start != rip || b.epoch != c.epoch {
			return unstepped
		}
	}
	o := &b.ops[i]
	if o.place == alone || c.m.mask&cpuEvents != 0 || c.interrupt.Load() {
		return unstepped
	}
	if c.regs.Flags != c.packed {
		c.flags.unpack(c.regs.Flags)
	}
	st := o.fn(c, o)
	switch st {
	case next:
		c.regs.RIP = o.next
		if i++; i == len(b.ops) {
			b = nil
		}
	case dirty:
		c.regs.RIP = o.next
		b = nil
	case jump:
		b = nil
	}
	if st != fault {
		c.total++
	}
	c.resumeAt = i
	if c.resume != b {
		c.resume = b
	}
	if o.flow != keeps {
		c.packFlags()
	}
	return st
}

// Events that come from within instructions.
const (
	watchedEvents = 1<<trace.Insn | 1<<trace.Branch | 1<<trace.Mem // they take a run loop of their own
	cpuEvents     = watchedEvents | 1<<trace.Trap
)

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
	c.packed = c.regs.Flags
}

// loop executes blocks until something stops the run. It answers 0 where
// c.stop says what.
func (c *cpu) loop(lim *emu.Limits) emu.StopReason {
	traced := c.m.mask&watchedEvents != 0
	useUntil, until := lim.UseUntil, lim.Until
	b, i := c.resumed() // what is executed next: the rest of a block, or to be looked up
	for first := true; ; first = false {
		rip := c.regs.RIP
		if c.interrupt.Load() {
			c.interrupt.Store(false)
			return c.leave(b, i, emu.StopRequested)
		}
		if useUntil && rip == until && !first {
			return c.leave(b, i, emu.StopUntil)
		}
		if c.left <= c.pause {
			if c.left == 0 {
				return c.leave(b, i, emu.StopInsns)
			}
			if c.m.now() >= c.deadline {
				return c.leave(b, i, emu.StopTime)
			}
			c.setPause(clockInterval)
		}
		if b == nil {
			blocks := &c.m.blocks
			if b = blocks.slots[blocks.slot(rip)]; b == nil || b.start != rip || b.epoch != c.epoch {
				if b = c.find(rip); b == nil {
					return 0
				}
			}
		}

		ops := b.ops[i:]
		whole := true
		if uint64(len(ops)) > c.left {
			ops, whole = ops[:c.left], false
		}
		c.once = traced
		if useUntil && until-rip < b.end-rip {
			ops, whole = upTo(ops, until), false
			c.once = traced || until == rip // iterations are instructions: the second one is not executed
		}
		var n int
		var st status
		if b.gate != nil || traced {
			c.block = b
		}
		switch {
		case traced:
			n, st = c.runTraced(ops)
		case whole:
			b, i, n, st = c.runBlocks(b, i, useUntil, until)
			ops = b.ops[i:]
		default:
			n, st = c.run(ops)
		}
		c.left -= uint64(n)

		switch st {
		case jump:
			if b, i = nil, 0; useUntil && c.regs.RIP == until {
				return emu.StopUntil
			}
			continue
		case next:
			c.regs.RIP = ops[n-1].next
			if i += n; i == len(b.ops) {
				b, i = nil, 0
			}
		case dirty:
			c.regs.RIP = ops[n-1].next
			b, i = nil, 0
		case moved:
			b, i = nil, 0
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

// leave ends a run at the i-th operation of b, or anywhere if b is nil.
func (c *cpu) leave(b *block, i int, reason emu.StopReason) emu.StopReason {
	c.resume, c.resumeAt = b, i
	return reason
}

// resumed returns where the last run left, if this one begins there.
func (c *cpu) resumed() (*block, int) {
	b, i := c.resume, c.resumeAt
	if b == nil {
		return nil, 0
	}
	c.resume = nil
	if b.ops[i].ip != c.regs.RIP || !c.good(b) {
		return nil, 0
	}
	return b, i
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

// runBlocks executes the operations of b from the i-th on, and then whole blocks
// for as long as one jumps to the next and nothing else is to be looked at. It
// returns the last block, from where in it, how many operations of that it began
// and the last answer; those before it are off c.left.
func (c *cpu) runBlocks(b *block, i int, useUntil bool, until uint64) (*block, int, int, status) {
	for {
		ops := b.ops[i:]
		n, st := len(ops), next
		for j := range ops {
			o := &ops[j]
			if st = o.quick(c, o); st != next {
				n = j + 1
				break
			}
		}
		if st != jump {
			return b, i, n, st
		}
		rip := c.regs.RIP
		to := b.to
		if to == nil || to.start != rip {
			blocks := &c.m.blocks
			if to = blocks.slots[blocks.slot(rip)]; to == nil || to.start != rip {
				return b, i, n, st
			}
			b.to = to
		}
		left := c.left - uint64(n)
		if to.epoch != c.epoch || to.gate != nil || left <= c.pause || left < uint64(len(to.ops)) ||
			useUntil && until-rip < to.end-rip || c.interrupt.Load() {
			return b, i, n, st
		}
		c.left = left
		b, i = to, 0
	}
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
	insns := c.m.mask.Has(trace.Insn) && c.block.gate == nil
	branches := c.m.mask.Has(trace.Branch)
	for i := range ops {
		o := &ops[i]
		c.at = o.ip
		if insns {
			c.traceInsn(o)
		}
		st := o.fn(c, o)
		if target := c.regs.RIP; st == jump && branches && target != o.next {
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

// traceInsn announces the instruction o. This is trace with less to copy.
func (c *cpu) traceInsn(o *op) {
	c.packFlags()
	c.regs.RIP = o.ip
	ev := &c.insn
	ev.Kind, ev.CPU, ev.IP = trace.Insn, c.id, o.ip
	ev.New = c.block.code[o.ip-c.block.start : o.next-c.block.start]
	ev.Size = len(ev.New)
	c.m.tracer.Trace(ev)
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
