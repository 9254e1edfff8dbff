package report

import (
	"strings"
)

// The roles of code in a call, in the order of lanes.
const (
	roleCaller   = "caller"
	roleFunction = "function"
	roleTramp    = "trampoline"
	roleKernel   = "kernel"
	roleCallback = "callback"
	roleDirect   = "direct"
	roleProgram  = "program"
)

// roles says what lanes are called.
var roles = [...]struct{ role, name string }{
	{roleCaller, "caller"},
	{roleFunction, "site, body"},
	{roleTramp, "trampoline"},
	{roleKernel, "C function"},
	{roleCallback, "callback"},
	{roleDirect, "direct"},
	{roleProgram, "BPF program"},
}

// A slice is a time during which one piece of code ran, or what it called.
type slice struct {
	name, role string
	cpu, depth int
	from, to   uint64
	open       bool
}

// A recording is the slices of one line.
type recording struct {
	from   uint64
	slices []slice
	open   map[int][]int // by CPU, of those that are open, innermost last; -1 for one left out
	lost   int
}

func (c *recording) used() bool { return c != nil && len(c.slices) > 0 }

// A slicer takes the slices of calls.
type slicer Recorder

// Begin implements trace.Slices.
func (s *slicer) Begin(cpu int, name, category string) bool {
	c := s.call
	if c == nil {
		return false
	}
	if len(c.slices) == maxSlices || !s.budgets.slices.take(1) {
		if len(c.slices) == maxSlices {
			s.budgets.slices.lost++
		}
		c.lost++
		return false
	}
	if c.open == nil {
		c.open = make(map[int][]int)
	}
	if category == "callback" {
		category = roleCallback
	} else if len(c.open[cpu]) == 0 {
		category = roleCaller
	}
	now := s.clock.Now() - c.from
	c.open[cpu] = append(c.open[cpu], len(c.slices))
	c.slices = append(c.slices, slice{name: name, role: category, cpu: cpu, depth: len(c.open[cpu]) - 1, from: max(now, 1) - 1, open: true})
	return true
}

// End implements trace.Slices.
func (s *slicer) End(cpu int) {
	c := s.call
	if c == nil || len(c.open[cpu]) == 0 {
		return
	}
	open := c.open[cpu]
	x := &c.slices[open[len(open)-1]]
	x.to, x.open = s.clock.Now()-c.from, false
	c.open[cpu] = open[:len(open)-1]
}

// codeAt names code by its address: what the page calls it, its role, and where
// it begins.
func (r *Recorder) codeAt(addr uint64) (name, role string, start uint64) {
	name, category, start := r.run.CodeAt(addr)
	switch category {
	case "gate":
		role = roleKernel
		if prog, ok := strings.CutPrefix(name, "bpf_prog_"); ok {
			name, role = prog, roleProgram
		}
	case "trampoline":
		role = roleTramp
		if direct, ok := r.run.Lab().DirectName(start); ok {
			name, role = direct, roleDirect
		} else if r.run.Lab().IsDirectFunction(start) {
			role = roleDirect
		}
		if id, ok := strings.CutPrefix(name, "tramp:"); ok {
			name = "trampoline of " + id
		}
	default:
		role = roleFunction
		if p := r.run.Place(start); p != "" && !strings.HasPrefix(p, "0x") {
			name = p
		}
	}
	return name, role, start
}
