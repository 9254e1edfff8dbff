// Package abi executes trampolines on a machine and looks at what they do: it
// proves what a trampoline promises ([Check]), measures what it costs
// ([Measure]), and finds out what its stack frame holds ([Frame]).
//
// The trampoline is entered as if the site of a traced function had called it.
// Everything around it is a Go function that looks at the machine: the
// functions that it calls, which do to registers, flags and the stack below
// them whatever a C function is free to do; the body of the traced function;
// and the function that a livepatch has put in the body's place.
package abi

import (
	"math/rand/v2"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/trampoline"
	"ftemu/x86"
)

// Where things are, besides what the sample gives.
const (
	siteAddr    = trampoline.SampleSite
	bodyAddr    = trampoline.SampleBody
	insteadAddr = trampoline.SampleInstead
	parentAddr  = trampoline.SampleParent
	thunkAddr   = trampoline.SampleThunk
	textBase    = 0xffffffff81000000
	textSize    = 0x10000
	stackBase   = 0xffffc90000000000
	stackSize   = 0x8000

	// The return slot is placed at random this far from the stack's end, and
	// that much above it is the caller's frame to be left alone.
	callerFrame = 0x400
	slotRoom    = 0x400
)

// maxInsns bounds one run.
const maxInsns = 100_000

// A bench is one machine with one trampoline and its surroundings.
type bench struct {
	mem      *emu.Memory
	machine  emu.Machine
	cpu      emu.CPU
	gates    emu.Gates
	sample   trampoline.Sample
	placed   trampoline.Placed
	contract trampoline.Contract
	rng      *rand.Rand
	run      *run
	watch    watcher // nil: nobody
}

// A watcher looks at one run more closely than the bench does.
type watcher interface {
	insn(off uint64, code []byte, regs *emu.Regs)
	branch(from, to uint64)
	access(ev *trace.Event)
	gate(name string, ret uint64, result uint64)
}

// newBench makes the machine and places what m makes.
func newBench(engine emu.Engine, m trampoline.Maker, ret trampoline.Return) (*bench, error) {
	b := &bench{mem: engine.NewMemory(0), contract: m.Contract()}
	if err := b.build(engine, m, ret); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) build(engine emu.Engine, m trampoline.Maker, ret trampoline.Return) error {
	for _, r := range []struct {
		addr, size uint64
		perm       emu.Perm
		name       string
	}{{textBase, textSize, emu.PermRX, "text"}, {stackBase, stackSize, emu.PermRW, "stack"}} {
		if err := b.mem.Map(r.addr, r.size, r.perm, r.name); err != nil {
			return err
		}
	}
	if err := b.mem.Write(thunkAddr, []byte{x86.OpRet}); err != nil {
		return err
	}
	for addr, g := range map[uint64]struct {
		name string
		fn   func(*run)
	}{
		bodyAddr:                {"body", func(r *run) { r.original(bodyAddr) }},
		insteadAddr:             {"replacement", func(r *run) { r.original(insteadAddr) }},
		trampoline.SampleDirect: {"the direct trampoline", func(r *run) { r.wayOut("the direct trampoline") }},
	} {
		if err := b.gate(addr, g.name, g.fn); err != nil {
			return err
		}
	}
	var err error
	if b.placed, err = m.Make(b.sample.Env(ret)); err != nil {
		return err
	}
	for _, name := range b.sample.Names() {
		addr, err := b.sample.Symbol(name)
		if err != nil {
			return err
		}
		if err := b.gate(addr, name, func(r *run) { r.called(name) }); err != nil {
			return err
		}
	}
	if err := b.place(); err != nil {
		return err
	}
	b.machine, err = engine.NewMachine(emu.Config{Memory: b.mem, Gates: &b.gates, Tracer: b})
	if err != nil {
		return err
	}
	b.cpu = b.machine.CPU(0)
	return nil
}

// place maps the trampoline's memory.
func (b *bench) place() error {
	segments := b.placed.Segments
	if segments == nil {
		c := b.placed.Code
		segments = []trampoline.Segment{{Name: c.Name, Addr: c.Addr, Data: c.Bytes, Perm: emu.PermRX}}
	}
	for _, s := range segments {
		size := (uint64(len(s.Data)) + emu.PageSize - 1) &^ (emu.PageSize - 1)
		if err := b.mem.Map(s.Addr, size, s.Perm, s.Name); err != nil {
			return err
		}
		if err := b.mem.Write(s.Addr, s.Data); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) close() {
	if b.machine != nil {
		b.machine.Close()
	}
	b.mem.Close()
}

// gate puts fn at addr.
func (b *bench) gate(addr uint64, name string, fn func(*run)) error {
	return b.gates.Add(emu.Gate{Addr: addr, Name: name, Func: func(emu.CPU) error {
		fn(b.run)
		return b.run.halt
	}})
}

// own tells whether addr is in code that the trampoline brought along.
func (b *bench) own(addr uint64) bool {
	for _, s := range b.placed.Segments {
		if addr-s.Addr < uint64(len(s.Data)) && s.Perm&emu.PermX != 0 {
			return true
		}
	}
	return b.inCode(addr)
}

// inCode tells whether addr is in the trampoline's code.
func (b *bench) inCode(addr uint64) bool {
	return addr-b.placed.Code.Addr < uint64(len(b.placed.Code.Bytes))
}

// Mask implements trace.Tracer.
func (b *bench) Mask() trace.Mask { return trace.MaskOf(trace.Insn, trace.Branch, trace.Mem) }

// Trace implements trace.Tracer.
func (b *bench) Trace(ev *trace.Event) {
	r := b.run
	switch ev.Kind {
	case trace.Insn:
		if b.own(ev.IP) {
			r.at, r.sp = ev.IP, b.cpu.Regs().GPR[emu.RSP]
		}
		if b.inCode(ev.IP) {
			r.covered(ev.IP-b.placed.Code.Addr, ev.Size)
		}
		if b.watch != nil {
			b.watch.insn(ev.IP, ev.New, b.cpu.Regs())
		}
	case trace.Branch:
		if b.watch != nil {
			b.watch.branch(ev.IP, ev.Addr)
		}
	case trace.Mem:
		r.access(ev)
		if b.watch != nil {
			b.watch.access(ev)
		}
	}
}
