// Package interp is the execution engine in pure Go: an interpreter of x86-64
// integer code as a compiler for kernels emits it.
//
// Instructions are decoded once, basic block by basic block, into operations
// that are specialised by operand shape; a block is used for as long as the
// bytes it was made from are the bytes in memory. Loads and stores go through
// small caches of pages, one for each direction. A tracer that asks for
// instructions, branches or memory accesses selects a second run loop, so that
// the first one never looks for it.
//
// What the manuals leave undefined is fixed here: flags that an instruction
// leaves undefined read as zero unless said otherwise where it is implemented.
// The processor is in 64-bit mode at privilege level 0. It has no interrupts and
// no system registers: cli and sti change a flag, instructions that need more
// stop with [emu.StopGeneral].
package interp

import (
	"fmt"
	"time"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/x86"
)

// New returns the engine.
func New() emu.Engine { return &engine{} }

// An engine keeps what machines and memories need and can be used again by the
// next ones.
type engine struct {
	pool pool
}

func (*engine) Name() string { return "interp" }

func (e *engine) NewMemory(limit uint64) *emu.Memory {
	return emu.NewMemory(emu.MemoryOptions{Limit: limit, Alloc: e.pool.alloc, Free: e.pool.free})
}

func (e *engine) NewMachine(cfg emu.Config) (emu.Machine, error) {
	if cfg.Memory == nil {
		return nil, fmt.Errorf("interp: a machine needs memory")
	}
	if cfg.CPUs < 0 {
		return nil, fmt.Errorf("interp: %d CPUs, expected at least 1", cfg.CPUs)
	}
	m := &machine{mem: cfg.Memory, gates: cfg.Gates, trap: cfg.Trap, pool: &e.pool, epoch: 1}
	m.blocks.init()
	for i := range max(cfg.CPUs, 1) {
		c := &cpu{id: i, m: m, mem: cfg.Memory, gen: cfg.Memory.Generation()}
		c.pages.init()
		c.regs.Flags, c.packed = emu.FlagsReset, emu.FlagsReset
		c.flags.unpack(emu.FlagsReset)
		m.cpus = append(m.cpus, c)
	}
	if cfg.Tracer != nil {
		m.SetTracer(cfg.Tracer)
	}
	return m, nil
}

// A machine is the CPUs, what they share and who watches.
type machine struct {
	mem    *emu.Memory
	gates  *emu.Gates
	trap   func(emu.CPU) bool
	cpus   []*cpu
	blocks blockCache

	// The epoch changes whenever pages looked up and blocks decoded must be
	// looked at again, because of changes of code or of gates.
	epoch              uint64
	code, gatesVersion uint64

	born     time.Time // when the first time limit was set
	pool     *pool
	inst     x86.Inst         // being compiled
	building *[maxBlockOps]op // room for the block being built; nil until needed

	tracer trace.Tracer
	mask   trace.Mask // what tracer wants
}

func (m *machine) Memory() *emu.Memory { return m.mem }
func (m *machine) NumCPU() int         { return len(m.cpus) }
func (m *machine) CPU(i int) emu.CPU   { return m.cpus[i] }

// now is a clock for time limits.
func (m *machine) now() time.Duration {
	if m.born.IsZero() {
		m.born = time.Now()
	}
	return time.Since(m.born)
}

// scratch returns room to build a block in.
func (m *machine) scratch() *[maxBlockOps]op {
	if m.building == nil {
		m.building = m.pool.scratch()
	}
	return m.building
}

func (m *machine) SetTracer(t trace.Tracer) {
	m.tracer, m.mask = t, 0
	if t != nil {
		m.mask = t.Mask()
	}
	for _, c := range m.cpus {
		c.flushPages() // whether pages may be cached depends on the mask
	}
}

func (m *machine) Close() error {
	m.blocks = blockCache{}
	if m.building != nil {
		m.pool.giveBack(m.building)
		m.building = nil
	}
	return nil
}
