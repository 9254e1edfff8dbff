package interp

import (
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/x86"
)

// Single flags.
var flagForms = []form{
	{x86asm.CLC, inside, simple(func(c *cpu) { c.flags.setCF(0) })},
	{x86asm.STC, inside, simple(func(c *cpu) { c.flags.setCF(1) })},
	{x86asm.CMC, inside, simple(func(c *cpu) { c.flags.setCF(c.flags.cfBit() ^ 1) })},
	{x86asm.CLD, inside, simple(func(c *cpu) { c.regs.Flags &^= emu.FlagDF })},
	{x86asm.STD, inside, simple(func(c *cpu) { c.regs.Flags |= emu.FlagDF })},
	{x86asm.CLI, inside, simple(func(c *cpu) { c.regs.Flags &^= emu.FlagIF })},
	{x86asm.STI, inside, simple(func(c *cpu) { c.regs.Flags |= emu.FlagIF })},
	{x86.OpCLAC, inside, simple(func(c *cpu) { c.regs.Flags &^= flagAC })},
	{x86.OpSTAC, inside, simple(func(c *cpu) { c.regs.Flags |= flagAC })},
	{x86asm.LAHF, inside, simple(func(c *cpu) {
		ah := c.flags.pack()&ahFlags | emu.FlagsFixed
		c.regs.GPR[emu.RAX] = c.regs.GPR[emu.RAX]&^0xff00 | ah<<8
	})},
	{x86asm.SAHF, inside, simple(func(c *cpu) {
		ah := c.regs.GPR[emu.RAX] >> 8 & ahFlags
		c.flags.unpack(c.flags.pack()&^ahFlags | ah)
	})},
}

// flagAC lets the kernel access user memory in spite of SMAP. It has no effect
// here, as IF has none.
const flagAC = 1 << 18

// ahFlags are the flags that lahf and sahf move.
const ahFlags = emu.FlagSF | emu.FlagZF | emu.FlagAF | emu.FlagPF | emu.FlagCF

// What has no effect here, and what identifies the processor.
var systemForms = []form{
	{x86asm.NOP, inside, buildNop},
	{x86.OpENDBR64, inside, buildNop},
	{x86.OpENDBR32, inside, buildNop},
	{x86asm.PAUSE, inside, buildNop},
	{x86asm.LFENCE, inside, buildNop},
	{x86asm.MFENCE, inside, buildNop},
	{x86asm.SFENCE, inside, buildNop},
	{x86asm.PREFETCHNTA, inside, buildNop},
	{x86asm.PREFETCHT0, inside, buildNop},
	{x86asm.PREFETCHT1, inside, buildNop},
	{x86asm.PREFETCHT2, inside, buildNop},
	{x86asm.PREFETCHW, inside, buildNop},

	{x86asm.CPUID, inside, simple(execCPUID)},
	{x86asm.RDTSC, alone, simple(execRDTSC)},
	{x86asm.RDTSCP, alone, simple(func(c *cpu) {
		execRDTSC(c)
		c.setReg(emu.RCX, uint64(c.id), 4)
	})},
	{x86.OpRDPID, inside, func(o *op, in *x86.Inst) bool {
		o.fn = func(c *cpu, o *op) status { return c.put(o, o.a, uint64(c.id)) }
		return o.oneOperand(in)
	}},
}

// What needs a state that the engine does not have: it stops the run.
var privilegedForms = []form{
	{x86asm.IN, last, buildPrivileged},
	{x86asm.OUT, last, buildPrivileged},
	{x86asm.RDMSR, last, buildPrivileged},
	{x86asm.WRMSR, last, buildPrivileged},
	{x86asm.SWAPGS, last, buildPrivileged},
	{x86asm.CLTS, last, buildPrivileged},
	{x86asm.INVD, last, buildPrivileged},
	{x86asm.WBINVD, last, buildPrivileged},
	{x86asm.INVLPG, last, buildPrivileged},
	{x86asm.LGDT, last, buildPrivileged},
	{x86asm.LIDT, last, buildPrivileged},
	{x86asm.LLDT, last, buildPrivileged},
	{x86asm.LTR, last, buildPrivileged},
	{x86asm.LMSW, last, buildPrivileged},
	{x86asm.SYSRET, last, buildPrivileged},
	{x86asm.IRETQ, last, buildPrivileged},
}

// simple builds an instruction without operands that cannot fail.
func simple(do func(*cpu)) func(*op, *x86.Inst) bool {
	return func(o *op, _ *x86.Inst) bool {
		o.fn = func(c *cpu, _ *op) status {
			do(c)
			return next
		}
		return true
	}
}

func buildNop(o *op, _ *x86.Inst) bool {
	o.fn, o.flow = func(*cpu, *op) status { return next }, keeps
	return true
}

func buildPrivileged(o *op, _ *x86.Inst) bool {
	o.fn = func(c *cpu, _ *op) status { return c.fail(emu.StopGeneral, 0, 0) }
	return true
}

// execRDTSC: time is the number of instructions the CPU has executed before.
func execRDTSC(c *cpu) {
	c.setReg(emu.RAX, c.count(), 4)
	c.setReg(emu.RDX, c.count()>>32, 4)
}

// cpuVendor is the processor's name in leaf 0.
const cpuVendor = "ftemu interp"

// execCPUID describes a processor with the instructions that the engine knows
// and no others: no floating point, no vectors.
func execCPUID(c *cpu) {
	var a, b, cx, d uint32
	switch uint32(c.regs.GPR[emu.RAX]) {
	case 0:
		a = 7
		b = binary.LittleEndian.Uint32([]byte(cpuVendor[0:4]))
		d = binary.LittleEndian.Uint32([]byte(cpuVendor[4:8]))
		cx = binary.LittleEndian.Uint32([]byte(cpuVendor[8:12]))
	case 1:
		a = 0x600                  // family 6
		b = uint32(c.id) << 24     // APIC id
		cx = 1<<13 | 1<<22 | 1<<23 // cx16, movbe, popcnt
		d = 1<<4 | 1<<8 | 1<<15    // tsc, cx8, cmov
	case 7:
		if uint32(c.regs.GPR[emu.RCX]) == 0 {
			b = 1<<3 | 1<<8 | 1<<19 // bmi1, bmi2, adx
			cx = 1 << 22            // rdpid
		}
	case 0x8000_0000:
		a = 0x8000_0001
	case 0x8000_0001:
		cx = 1<<0 | 1<<5 | 1<<8   // lahf in 64-bit mode, lzcnt, prefetchw
		d = 1<<20 | 1<<27 | 1<<29 // no-execute, rdtscp, long mode
	}
	c.setReg(emu.RAX, uint64(a), 4)
	c.setReg(emu.RBX, uint64(b), 4)
	c.setReg(emu.RCX, uint64(cx), 4)
	c.setReg(emu.RDX, uint64(d), 4)
}
