package gdb

import (
	"ftemu/emu"
	"ftemu/trampoline"
)

// An engine makes machines whose CPUs ask a run before each instruction.
type engine struct {
	emu.Engine
	run *Run
}

func (e engine) NewMachine(cfg emu.Config) (emu.Machine, error) {
	inner, err := e.Engine.NewMachine(cfg)
	if err != nil {
		return nil, err
	}
	m := &machine{Machine: inner}
	for i := range inner.NumCPU() {
		m.cpus = append(m.cpus, &cpu{CPU: inner.CPU(i), run: e.run, gates: cfg.Gates})
	}
	return m, nil
}

type machine struct {
	emu.Machine
	cpus []*cpu
}

func (m *machine) CPU(i int) emu.CPU { return m.cpus[i] }

// A cpu executes one instruction at a time on the engine's CPU. Time limits do
// not apply: who debugs takes as long as it takes.
type cpu struct {
	emu.CPU
	run   *Run
	gates *emu.Gates
	depth int // how many runs are under way, one inside the other
}

func (c *cpu) Run(lim emu.Limits) emu.Stop {
	c.depth++
	defer func() { c.depth-- }()
	insns := uint64(0)
	for first := true; ; first = false {
		rip := c.Regs().RIP
		switch {
		case !first && lim.UseUntil && rip == lim.Until:
			return emu.Stop{Reason: emu.StopUntil, RIP: rip, Insns: insns}
		case lim.Insns != 0 && insns >= lim.Insns:
			stop := emu.Stop{Reason: emu.StopInsns, RIP: rip, Insns: insns}
			c.run.broke(c, stop)
			return stop
		}
		kind := atInsn
		if first && c.depth == 1 {
			kind = atCall
		}
		if !c.run.pass(point{kind: kind, cpu: c.ID()}) {
			return emu.Stop{Reason: emu.StopRequested, RIP: rip, Insns: insns}
		}
		stop := c.step()
		insns += stop.Insns
		if stop.Reason != emu.StopInsns {
			stop.Insns = insns
			c.run.broke(c, stop)
			return stop
		}
	}
}

// step executes one instruction. A gate is handed this CPU instead of the
// engine's, so that guest code that the gate runs is seen too.
func (c *cpu) step() emu.Stop {
	if g := c.gates.At(c.Regs().RIP); g != nil {
		inner := g.Func
		g.Func = func(emu.CPU) error { return c.run.takes(c, inner) }
		defer func() { g.Func = inner }()
	}
	return c.CPU.Run(emu.Limits{Insns: 1})
}

// takes runs a gate and notes what function_graph takes from the stack in it. The
// kernel's callbacks find their registers through rcx.
func (r *Run) takes(c *cpu, gate emu.GateFunc) error {
	graph, regs := r.lab().Graph, c.Regs().GPR[emu.RCX]
	before := graph.Level(c.ID())
	if err := gate(c); err != nil || graph.Level(c.ID()) <= before {
		return err
	}
	slot, err := r.lab().Mem.ReadU64(regs + trampoline.RegsSP)
	if err == nil {
		r.taken[slot] = graph.Returns(c.ID())[0]
	}
	return err
}
