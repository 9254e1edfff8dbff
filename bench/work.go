package bench

import (
	"encoding/binary"
	"fmt"
)

// A Work is one line of the comparison of engines.
type Work struct {
	Name string // as arguments spell it
	Text string // what is done
	Unit string // what a time is for
	// AtLeast and Stretch are the ratios to reach: the other engine's time
	// divided by the interpreter's. AtLeast 0: the figure is only stated.
	AtLeast, Stretch float64

	kind    kind
	Program Program
}

type kind uint8

const (
	kindCall kind = iota
	kindStep
	kindTraced
	kindPatch
	kindFresh
	kindSnapshot
)

// A Program is guest code that begins at Text, and what it computes.
type Program struct {
	Code           []byte
	RDI, RSI       uint64 // on entry; RAX and RDX are 0
	RCX, R8        uint64
	RAX            uint64 // when it returns
	Insns          int    // that it executes
	PerInstruction bool   // times are for an instruction, not for a call
}

// units is how many of the work's units one run is.
func (w *Work) units() int {
	if w.Program.PerInstruction && w.kind != kindStep {
		return w.Program.Insns
	}
	return 1
}

// dataWord is the word at Data that patched works on.
const dataWord = 0x0123456789abcdef

// Works lists the lines of the comparison in their order.
func Works() []Work {
	const rdi, rsi = 5, 0x1234567
	mixedRAX, mixedInsns := mixedModel()
	shortCall := Program{Code: short, RDI: rdi, RSI: rsi, RAX: (rdi + rsi) ^ rsi, Insns: 4}
	mixedCode := Program{Code: mixed, RDI: Data, RSI: mixedWords, R8: Data + DataSize/2, RAX: mixedRAX, Insns: mixedInsns, PerInstruction: true}
	return []Work{
		{Name: "call", Text: "call of a 4-instruction function, registers set and read", Unit: "call",
			AtLeast: 30, Stretch: 60, kind: kindCall, Program: shortCall},
		{Name: "step", Text: "single step with RIP read", Unit: "step",
			AtLeast: 20, Stretch: 60, kind: kindStep, Program: mixedCode},
		{Name: "traced", Text: "every instruction traced to a Go tracer", Unit: "instruction",
			AtLeast: 3, Stretch: 8, kind: kindTraced, Program: mixedCode},
		{Name: "patch", Text: "patch a site and run 50 instructions through it", Unit: "patch and run",
			AtLeast: 6, Stretch: 20, kind: kindPatch,
			Program: Program{Code: patched(), RDI: Data, RSI: rsi, RAX: patchedModel(rsi, dataWord), Insns: 50}},
		{Name: "mixed", Text: "mixed code, untraced (loads, stores, calls)", Unit: "instruction",
			AtLeast: 2, Stretch: 4, kind: kindCall, Program: mixedCode},
		{Name: "fresh", Text: "a fresh machine with a small guest, one call, closed", Unit: "machine",
			AtLeast: 20, Stretch: 100, kind: kindFresh, Program: shortCall},
		{Name: "snapshot", Text: "snapshot, run a call that writes 4 pages, restore", Unit: "round",
			AtLeast: 3, Stretch: 10, kind: kindSnapshot,
			Program: Program{Code: writer, RDI: Data, RSI: rsi, RAX: rsi + 1, Insns: 6}},
		{Name: "arith", Text: "arithmetic in registers, untraced", Unit: "instruction",
			Stretch: 0.3, kind: kindCall,
			Program: Program{Code: arith(), RDI: rdi, RSI: rsi, RCX: arithRounds, RAX: arithModel(rdi, rsi), Insns: arithInsns, PerInstruction: true}},
	}
}

// initialData is what the guest's data holds before a work.
func initialData(p *Program) []byte {
	data := make([]byte, DataSize)
	if p.R8 == 0 {
		binary.LittleEndian.PutUint64(data, dataWord)
		return data
	}
	for i := range mixedWords {
		binary.LittleEndian.PutUint64(data[8*i:], mixedWord(i))
	}
	return data
}

// A Subject is an engine and the way it is driven.
type Subject interface {
	Name() string
	Loads
}

// Loads prepares each kind of work. The function that comes back does the work n
// times, and fails where the guest computed something else than it should.
type Loads interface {
	// Call calls the program.
	Call(p *Program) (*Load, error)
	// Step executes one instruction of the program and reads RIP; when the
	// program has returned it is called anew. A run of n is n steps.
	Step(p *Program) (*Load, error)
	// Traced calls the program and tells a Go function of every instruction.
	Traced(p *Program) (*Load, error)
	// Patch changes the program's first bytes to one of two states in turn and
	// calls it.
	Patch(p *Program, states [2][]byte) (*Load, error)
	// Fresh makes a machine, calls the program and ends the machine.
	Fresh(p *Program) (*Load, error)
	// Snapshot takes a snapshot, calls the program and brings the snapshot back.
	Snapshot(p *Program) (*Load, error)
}

// A Load is work that is ready to be done.
type Load struct {
	Run   func(n int) error
	Close func() error // may be nil
}

// Prepare makes the load of w on s.
func (w *Work) Prepare(s Subject) (*Load, error) {
	l, err := w.prepare(s)
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", w.Name, s.Name(), err)
	}
	return l, nil
}

func (w *Work) prepare(s Loads) (*Load, error) {
	p := &w.Program
	switch w.kind {
	case kindStep:
		return s.Step(p)
	case kindTraced:
		return s.Traced(p)
	case kindPatch:
		return s.Patch(p, [2][]byte{siteCall, siteNop})
	case kindFresh:
		return s.Fresh(p)
	case kindSnapshot:
		return s.Snapshot(p)
	}
	return s.Call(p)
}

// InitialData is what the guest's data holds when the program is prepared.
func (p *Program) InitialData() []byte { return initialData(p) }

// Check tells whether the program returned what it should.
func (p *Program) Check(rax uint64) error {
	if rax != p.RAX {
		return fmt.Errorf("the guest returned %#x, expected %#x", rax, p.RAX)
	}
	return nil
}

// CheckInsns tells whether as many instructions were seen as execute in n calls.
func (p *Program) CheckInsns(seen uint64, n int) error {
	if want := uint64(n) * uint64(p.Insns); seen != want {
		return fmt.Errorf("%d instructions were traced, expected %d", seen, want)
	}
	return nil
}

// PerUnit turns the time of one run into that of a unit of the work.
func (w *Work) PerUnit(ns float64) float64 { return ns / float64(w.units()) }
