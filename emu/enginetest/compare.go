package enginetest

import (
	"bytes"
	"errors"
	"fmt"

	"ftemu/emu"
	"ftemu/trace"
)

// A Program is something to run on two engines.
type Program struct {
	Code      []byte   // at Code
	Regs      emu.Regs // at the start
	Undefined uint64   // flags that mean nothing at the end
	Limits    emu.Limits
	Chunk     uint64 // if not 0, run this many instructions at a time
	Traced    bool   // compare events too
}

// An Outcome is all that can be seen of a run.
type Outcome struct {
	Stop        emu.Stop
	Regs        emu.Regs
	Data, Stack []byte
	Events      []string
}

// A Subject is a machine of one engine that runs one program after the other,
// all of them over the same warm memory.
type Subject struct {
	mem *emu.Memory
	m   emu.Machine
}

// NewSubject makes a machine of e.
func NewSubject(e emu.Engine) (*Subject, error) {
	mem := e.NewMemory(1 << 20)
	if err := mapGuest(mem, nil); err != nil {
		return nil, err
	}
	m, err := e.NewMachine(emu.Config{Memory: mem, Trap: func(c emu.CPU) bool {
		c.Regs().GPR[emu.RBX]++
		return c.Regs().GPR[emu.RBX]&3 != 0
	}})
	if err != nil {
		return nil, err
	}
	return &Subject{mem, m}, nil
}

// Close releases the machine.
func (s *Subject) Close() error {
	err := s.m.Close()
	s.mem.Close()
	return err
}

// Observe runs p from a fresh state.
func (s *Subject) Observe(p *Program) (*Outcome, error) {
	o := &Outcome{Data: make([]byte, size), Stack: make([]byte, size)}
	code := make([]byte, size)
	copy(code, p.Code)
	if err := errors.Join(s.mem.Write(Code, code), s.mem.Write(Data, startData()),
		s.mem.Write(Stack, o.Stack), s.mem.WriteU64(Top-8, Done)); err != nil {
		return nil, err
	}
	rec := &Recorder{Want: trace.All}
	s.m.SetTracer(nil)
	if p.Traced {
		s.m.SetTracer(rec)
	}
	c := s.m.CPU(0)
	*c.Regs() = p.Regs
	lim := p.Limits
	for done := uint64(0); ; {
		if p.Chunk != 0 {
			lim.Insns = min(p.Chunk, p.Limits.Insns-done)
		}
		o.Stop = c.Run(lim)
		done += o.Stop.Insns
		o.Stop.Insns = done
		if p.Chunk == 0 || o.Stop.Reason != emu.StopInsns || done == p.Limits.Insns {
			break
		}
	}
	o.Regs, o.Events = *c.Regs(), rec.Events
	return o, errors.Join(s.mem.Read(Data, o.Data), s.mem.Read(Stack, o.Stack))
}

// Diff says what is different in two outcomes, "" if nothing is.
func Diff(a, b *Outcome, undefined uint64) string {
	var out bytes.Buffer
	report := func(what string, x, y any) {
		if sx, sy := fmt.Sprint(x), fmt.Sprint(y); sx != sy {
			fmt.Fprintf(&out, "%s: %s, other engine %s\n", what, sx, sy)
		}
	}
	for i := 0; i < max(len(a.Events), len(b.Events)); i++ {
		x, y := "nothing", "nothing"
		if i < len(a.Events) {
			x = a.Events[i]
		}
		if i < len(b.Events) {
			y = b.Events[i]
		}
		if x != y {
			report(fmt.Sprintf("event %d", i), x, y)
			break // the rest follows from it
		}
	}
	report("stop", describe(a.Stop), describe(b.Stop))
	report("count", a.Stop.Insns, b.Stop.Insns)
	for i := range a.Regs.GPR {
		report(emu.RegNames[i], fmt.Sprintf("%#x", a.Regs.GPR[i]), fmt.Sprintf("%#x", b.Regs.GPR[i]))
	}
	report("rip", fmt.Sprintf("%#x", a.Regs.RIP), fmt.Sprintf("%#x", b.Regs.RIP))
	report("flags", flagNames(a.Regs.Flags&^undefined), flagNames(b.Regs.Flags&^undefined))
	report("other flags", a.Regs.Flags&^emu.FlagsStatus, b.Regs.Flags&^emu.FlagsStatus)
	for i := range a.Data {
		if a.Data[i] != b.Data[i] {
			report(fmt.Sprintf("byte at %#x", Data+i), a.Data[i], b.Data[i])
		}
	}
	for i := range a.Stack {
		if a.Stack[i] != b.Stack[i] {
			report(fmt.Sprintf("byte at %#x", Stack+i), a.Stack[i], b.Stack[i])
		}
	}
	return out.String()
}

// describe is the whole of a stop but the count.
func describe(s emu.Stop) string {
	return fmt.Sprintf("%v (rip %#x, address %#x, size %d, bytes % x)", s, s.RIP, s.Addr, s.Size, s.Bytes)
}
