package gdb

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"ftemu"
	"ftemu/emu"
	"ftemu/emu/interp"
	"ftemu/script"
	"ftemu/trace"
)

// surveyInsns bounds each call of a survey, in instructions.
const surveyInsns = 10_000_000

// manySymbols is how many symbols make a guest one of which only those functions
// are described that run.
const manySymbols = 10_000

// A piece is code that is entered at its start: a function, a trampoline.
type piece struct {
	names []string // several where memory was used again
	ran   []string // those of them whose code was entered
	addr  uint64
	size  uint64
	code  []byte // as it was first seen; nil where Go code runs in its place
	label bool   // a name inside of other code
	data  bool   // no code
}

// A survey is what a scenario has and makes in its course.
type survey struct {
	pieces  []*piece
	regions []emu.Region   // by address
	entered map[uint64]int // the destinations of branches, with the number of the last step that went there
	handler uint64         // return_to_handler; 0: there is none
	end     uint64         // where calls into the guest return to

	byAddr map[uint64]*piece
	seen   uint64 // changes of the symbols that were looked at
	step   int    // from 1
}

// newSurvey runs a scenario from beginning to end, as it will run again under the
// debugger, and notes what there is at some time: trampolines come and go.
func newSurvey(s *script.Script, opt ftemu.Options) (*survey, error) {
	v := &survey{entered: make(map[uint64]int), byAddr: make(map[uint64]*piece)}
	opt.Engine, opt.Tracer = interp.New(), v
	if opt.Limits.Insns == 0 || opt.Limits.Insns > surveyInsns {
		opt.Limits.Insns = surveyInsns
	}
	runner, err := script.NewRunner(s, opt)
	if err != nil {
		return nil, err
	}
	defer runner.Close()
	lab := runner.Lab()
	v.end = lab.ReturnIP()
	v.handler, _ = lab.Symbols.Lookup("return_to_handler")
	v.look(runner)
	crashed := false
	for _, step := range s.Steps {
		if crashed && step.Wants() == "" {
			break
		}
		v.step++
		res := runner.Run(step)
		crashed = crashed || res.Oops != ""
		v.look(runner)
	}
	return v, nil
}

// Mask implements trace.Tracer.
func (v *survey) Mask() trace.Mask { return trace.MaskOf(trace.Branch) }

// Trace implements trace.Tracer.
func (v *survey) Trace(ev *trace.Event) { v.entered[ev.Addr] = v.step }

// look notes what is there now.
func (v *survey) look(runner *script.Runner) {
	lab := runner.Lab()
	for _, reg := range lab.Mem.Regions() {
		i, found := slices.BinarySearchFunc(v.regions, reg.Addr, func(r emu.Region, a uint64) int { return cmp.Compare(r.Addr, a) })
		if !found {
			v.regions = slices.Insert(v.regions, i, reg)
		}
		if !lab.IsTransient(reg.Addr) {
			continue
		}
		name, _, ok := runner.SymbolAt(reg.Addr)
		if !ok {
			// That of an ops of the kernel's own.
			name = "tramp:" + strings.TrimPrefix(reg.Name, "trampoline of ")
		}
		v.note(lab, name, reg.Addr, reg.Size)
	}
	if now := lab.Symbols.Changes(); now != v.seen {
		v.seen = now
		all := lab.Symbols.All()
		for i, s := range all {
			if lab.IsTransient(s.Addr) {
				continue
			}
			for n := i + 1; s.Size == 0 && n < len(all); n++ {
				s.Size = all[n].Addr - s.Addr
			}
			p := v.note(lab, s.Name, s.Addr, s.Size)
			p.data = !s.Func
		}
	}
}

func (v *survey) note(lab *ftemu.Lab, name string, addr, size uint64) *piece {
	p := v.byAddr[addr]
	if p == nil {
		p = &piece{addr: addr, size: size}
		v.byAddr[addr] = p
		v.pieces = append(v.pieces, p)
		start, static := lab.StaticTrampoline(addr)
		whole := v.byAddr[start]
		switch p.label = static && whole != nil && whole != p; {
		case p.label:
			whole.read(lab, addr+size-start)
		case !lab.IsGate(addr):
			p.read(lab, size)
		}
	}
	if !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
	if v.step > 0 && v.entered[addr] == v.step && !slices.Contains(p.ran, name) {
		p.ran = append(p.ran, name)
	}
	return p
}

// maxCode bounds how much of a piece of code is looked at, in bytes.
const maxCode = 1 << 16

// read takes the code.
func (p *piece) read(lab *ftemu.Lab, size uint64) {
	code := make([]byte, min(size, maxCode))
	if lab.Mem.Read(p.addr, code) != nil {
		return
	}
	padding := ""
	switch {
	case lab.IsTransient(p.addr) || lab.IsDirectFunction(p.addr):
		// A trampoline has more room than it takes.
		padding = "\x00"
	case lab.Guest().Kernel != nil:
		// Symbols of a kernel reach to the next one. Its nops end in these bytes.
		padding = "\x00\x90\xcc"
	}
	if trimmed := bytes.TrimRight(code, padding); padding != "" && size <= maxCode {
		code, p.size = trimmed, uint64(len(trimmed))
	}
	p.code = code
}
