package bench

import (
	"fmt"

	"ftemu/emu"
	"ftemu/trace"
)

// OnEngine drives an engine by the contract of package emu.
func OnEngine(e emu.Engine) Subject { return onEngine{e} }

type onEngine struct{ engine emu.Engine }

func (s onEngine) Name() string { return s.engine.Name() }

// A guestMachine is a machine with a program.
type guestMachine struct {
	mem     *emu.Memory
	machine emu.Machine
	cpu     emu.CPU
	program *Program
	entry   emu.Regs // all registers, as each call has them
	out     emu.Regs // and as the last one left them
}

// newGuest makes a machine and loads a program.
func (s onEngine) newGuest(p *Program, tracer trace.Tracer) (*guestMachine, error) {
	g := &guestMachine{mem: s.engine.NewMemory(0), program: p}
	if err := g.load(p); err != nil {
		g.mem.Close()
		return nil, err
	}
	m, err := s.engine.NewMachine(emu.Config{Memory: g.mem, Tracer: tracer})
	if err != nil {
		g.mem.Close()
		return nil, err
	}
	g.machine, g.cpu = m, m.CPU(0)
	g.entry = emu.Regs{RIP: Text, Flags: emu.FlagsReset}
	r := &g.entry.GPR
	r[emu.RSP], r[emu.RDI], r[emu.RSI], r[emu.RCX], r[emu.R8] = SP, p.RDI, p.RSI, p.RCX, p.R8
	g.enter()
	return g, nil
}

func (g *guestMachine) load(p *Program) error {
	for _, r := range []struct {
		addr, size uint64
		perm       emu.Perm
		name       string
	}{{Text, TextSize, emu.PermRX, "text"}, {Data, DataSize, emu.PermRW, "data"}, {Stack, StackSize, emu.PermRW, "stack"}} {
		if err := g.mem.Map(r.addr, r.size, r.perm, r.name); err != nil {
			return err
		}
	}
	if err := g.mem.Write(Text, p.Code); err != nil {
		return err
	}
	if err := g.mem.Write(Data, p.InitialData()); err != nil {
		return err
	}
	return g.mem.WriteU64(SP, Done)
}

func (g *guestMachine) close() error {
	err := g.machine.Close()
	g.mem.Close()
	return err
}

// enter sets the registers as a call has them.
func (g *guestMachine) enter() {
	*g.cpu.Regs() = g.entry
}

// call calls the program.
func (g *guestMachine) call() error {
	g.enter()
	if why := g.cpu.Run(emu.Limits{Until: Done, UseUntil: true}).Reason; why != emu.StopUntil {
		return g.stopped(why)
	}
	g.out = *g.cpu.Regs()
	return g.program.Check(g.out.GPR[emu.RAX])
}

// stopped is the error of a run that ended for a reason that it should not.
func (g *guestMachine) stopped(why emu.StopReason) error {
	return fmt.Errorf("at %#x: %s", g.cpu.Regs().RIP, why)
}

// repeat makes a load of something done n times.
func repeat(g *guestMachine, once func() error) *Load {
	return &Load{
		Run: func(n int) error {
			for range n {
				if err := once(); err != nil {
					return err
				}
			}
			return nil
		},
		Close: g.close,
	}
}

func (s onEngine) Call(p *Program) (*Load, error) {
	g, err := s.newGuest(p, nil)
	if err != nil {
		return nil, err
	}
	return repeat(g, g.call), nil
}

func (s onEngine) Step(p *Program) (*Load, error) {
	g, err := s.newGuest(p, nil)
	if err != nil {
		return nil, err
	}
	step := func() error {
		if why := g.cpu.Run(emu.Limits{Insns: 1}).Reason; why != emu.StopInsns {
			return g.stopped(why)
		}
		if g.cpu.Regs().RIP != Done {
			return nil
		}
		err := p.Check(g.cpu.Regs().GPR[emu.RAX])
		g.enter()
		return err
	}
	return repeat(g, step), nil
}

// A countingTracer counts instructions.
type countingTracer struct{ seen uint64 }

func (*countingTracer) Mask() trace.Mask     { return trace.MaskOf(trace.Insn) }
func (t *countingTracer) Trace(*trace.Event) { t.seen++ }

func (s onEngine) Traced(p *Program) (*Load, error) {
	var t countingTracer
	g, err := s.newGuest(p, &t)
	if err != nil {
		return nil, err
	}
	l := repeat(g, g.call)
	calls := l.Run
	l.Run = func(n int) error {
		t.seen = 0
		if err := calls(n); err != nil {
			return err
		}
		return p.CheckInsns(t.seen, n)
	}
	return l, nil
}

func (s onEngine) Patch(p *Program, states [2][]byte) (*Load, error) {
	g, err := s.newGuest(p, nil)
	if err != nil {
		return nil, err
	}
	i := 0
	return repeat(g, func() error {
		if err := g.mem.Write(Text, states[i]); err != nil {
			return err
		}
		i = 1 - i
		return g.call()
	}), nil
}

func (s onEngine) Fresh(p *Program) (*Load, error) {
	return &Load{Run: func(n int) error {
		for range n {
			g, err := s.newGuest(p, nil)
			if err != nil {
				return err
			}
			if err := g.call(); err != nil {
				return err
			}
			if err := g.close(); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

func (s onEngine) Snapshot(p *Program) (*Load, error) {
	g, err := s.newGuest(p, nil)
	if err != nil {
		return nil, err
	}
	return repeat(g, func() error {
		regs, snap := *g.cpu.Regs(), g.mem.Snapshot()
		if err := g.call(); err != nil {
			return err
		}
		err := g.mem.Restore(snap)
		*g.cpu.Regs() = regs
		g.mem.Discard()
		return err
	}), nil
}
