package report

import (
	"strings"

	"ftemu/trace"
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
	kind       string // class
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
	x := slice{name: name, role: category, kind: (*Recorder)(s).kindAt(name, category), cpu: cpu, depth: len(c.open[cpu]), from: s.now(false), open: true}
	c.open[cpu] = append(c.open[cpu], len(c.slices))
	c.slices = append(c.slices, x)
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
	x.to, x.open = s.now(true), false
	c.open[cpu] = open[:len(open)-1]
}

// now is the time at which a slice begins or ends: before the instruction that is
// about to execute, or behind the branch that has. A gate is looked at when it
// has been counted: it began before that.
func (s *slicer) now(end bool) uint64 {
	now := s.clock.Now() - s.call.from
	if s.last == trace.Branch || end && s.last != trace.Insn {
		return now
	}
	return max(now, 1) - 1
}

// kindAt says whose a callback or a trampoline is.
func (r *Recorder) kindAt(name, role string) string {
	switch id, own := strings.CutPrefix(name, trampOf); {
	case role == roleCallback || role == roleTramp && own:
		return r.frames.kind(id)
	case role == roleTramp:
		return kindShared
	}
	return role
}

// trampOf begins the name of an ops' own trampoline.
const trampOf = "trampoline of "

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
			name = trampOf + id
		}
	default:
		role = roleFunction
		if p := r.run.Place(addr); !strings.HasPrefix(p, "0x") {
			name = p
		}
	}
	return name, role, start
}
