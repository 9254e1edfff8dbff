package interp

import (
	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/x86"
)

// Transfers of control but the conditional jumps, and what stops a run.
var controlForms = []form{
	{x86asm.JMP, last, buildJmp},
	{x86asm.CALL, last, buildCall},
	{x86asm.RET, last, buildRet},
	{x86asm.JRCXZ, last, buildCounter(func(c *cpu, o *op) bool { return c.counter(o) == 0 })},
	{x86asm.JECXZ, last, buildCounter(func(c *cpu, o *op) bool { return c.counter(o) == 0 })},
	{x86asm.LOOP, last, buildCounter(func(c *cpu, o *op) bool { return c.countDown(o) != 0 })},
	{x86asm.LOOPE, last, buildCounter(func(c *cpu, o *op) bool { return c.countDown(o) != 0 && c.flags.zf() })},
	{x86asm.LOOPNE, last, buildCounter(func(c *cpu, o *op) bool { return c.countDown(o) != 0 && !c.flags.zf() })},
	{x86asm.INT, alone, buildInt3},
	{x86asm.UD2, alone, buildUD2},
	{x86asm.UD1, alone, buildUD2}, // sanitisers of undefined behaviour stop by it
	{x86asm.HLT, alone, buildHlt},
}

func buildJmp(o *op, in *x86.Inst) bool {
	if rel, ok := in.Args[0].(x86asm.Rel); ok {
		o.imm = o.next + uint64(int64(rel))
		o.fn = func(c *cpu, o *op) status {
			c.regs.RIP = o.imm
			return jump
		}
		return true
	}
	if !o.oneOperand(in) || o.size != 8 {
		return false
	}
	o.fn = func(c *cpu, o *op) status {
		target, ok := c.get(o, o.a)
		if !ok {
			return fault
		}
		c.regs.RIP = target
		return jump
	}
	return true
}

func buildCall(o *op, in *x86.Inst) bool {
	if rel, ok := in.Args[0].(x86asm.Rel); ok {
		o.imm = o.next + uint64(int64(rel))
		o.fn = func(c *cpu, o *op) status {
			if c.push(o.next) == fault {
				return fault
			}
			c.regs.RIP = o.imm
			return jump
		}
		return true
	}
	if !o.oneOperand(in) || o.size != 8 {
		return false
	}
	o.fn = func(c *cpu, o *op) status {
		target, ok := c.get(o, o.a)
		if !ok || c.push(o.next) == fault {
			return fault
		}
		c.regs.RIP = target
		return jump
	}
	return true
}

// buildRet: an immediate is the number of bytes of arguments to drop.
func buildRet(o *op, in *x86.Inst) bool {
	if n, ok := in.Args[0].(x86asm.Imm); ok {
		o.imm = uint64(uint16(n))
	}
	o.imm += 8
	o.fn = func(c *cpu, o *op) status {
		target, ok := c.load(c.regs.GPR[emu.RSP], ^uint64(0))
		if !ok {
			return fault
		}
		c.regs.GPR[emu.RSP] += o.imm
		c.regs.RIP = target
		return jump
	}
	return true
}

// buildCounter makes a jump that depends on RCX, or ECX with a 67 prefix.
func buildCounter(taken func(*cpu, *op) bool) func(*op, *x86.Inst) bool {
	return func(o *op, in *x86.Inst) bool {
		rel, ok := in.Args[0].(x86asm.Rel)
		if !ok {
			return false
		}
		o.imm = o.next + uint64(int64(rel))
		o.size = addressSize(in)
		o.fn = func(c *cpu, o *op) status { return c.jumpIf(o, taken(c, o)) }
		return true
	}
}

// addressSize is the size in bytes of addresses and of the counter.
func addressSize(in *x86.Inst) uint8 {
	if in.Has67 {
		return 4
	}
	return 8
}

// counter is RCX or ECX.
func (c *cpu) counter(o *op) uint64 { return c.regs.GPR[emu.RCX] & sizeMask(o.size) }

// countDown decrements the counter and returns it. No flag changes.
func (c *cpu) countDown(o *op) uint64 {
	n := (c.counter(o) - 1) & sizeMask(o.size)
	c.setReg(emu.RCX, n, o.size)
	return n
}

// buildInt3: the one-byte form only. int n needs an interrupt table.
func buildInt3(o *op, in *x86.Inst) bool {
	if in.Opcode>>24 != x86.OpInt3 {
		return false
	}
	o.fn = func(c *cpu, o *op) status {
		if c.m.mask.Has(trace.Trap) {
			c.trace(trace.Event{Kind: trace.Trap, IP: o.ip, Vector: 3})
		}
		c.regs.RIP = o.next
		if c.m.trap != nil {
			c.packFlags()
			claimed := c.m.trap(c)
			c.leaveGo()
			if claimed {
				return moved
			}
		}
		c.stop = emu.Stop{Reason: emu.StopInt3}
		return halt
	}
	return true
}

func buildUD2(o *op, _ *x86.Inst) bool {
	o.fn = func(c *cpu, o *op) status {
		if c.m.mask.Has(trace.Trap) {
			c.trace(trace.Event{Kind: trace.Trap, IP: o.ip, Vector: 6})
		}
		return c.fail(emu.StopUD, 0, 0)
	}
	return true
}

func buildHlt(o *op, _ *x86.Inst) bool {
	o.fn = func(c *cpu, o *op) status {
		c.regs.RIP = o.next
		c.stop = emu.Stop{Reason: emu.StopHalt}
		return halt
	}
	return true
}
