// Package trace defines what happens in ftemu as events on one time line, and
// who may watch it.
//
// Everything that happens while a scenario runs (an instruction, a memory
// access, a poke of code, a registration, a callback) is one [Event]. A
// [Tracer] says by a [Mask] which kinds it wants; a producer tests the mask
// before it builds an event, so that a kind nobody asked for costs one bit
// test. Sinks that write events down live in sub-packages.
package trace

import (
	"fmt"
	"strings"
)

// A Kind names one kind of event.
type Kind uint8

// The kinds of events.
const (
	Insn     Kind = iota // an instruction is about to execute
	Branch               // control went somewhere else than to the next instruction
	Mem                  // the guest read or wrote memory
	Gate                 // a Go function ran in place of guest code
	Trap                 // the guest raised an exception, int3 for example
	Poke                 // bytes of code were changed
	Reg                  // a registration call returned (register, unregister, set_filter, ...)
	OpsFunc              // an ops_func answered
	Callback             // an ftrace_ops callback ran
	Warn                 // the core printed a WARNING
	Func                 // the function tracer noted the entry of a function
	Entry                // the function_graph tracer noted the entry of a function
	Exit                 // and its return
	numKinds
)

var kindNames = [numKinds]string{
	"insn", "branch", "mem", "gate", "trap", "poke", "reg", "opsfunc", "callback", "warn", "func", "entry", "exit",
}

var kindAbout = [numKinds]string{
	"an instruction is about to execute",
	"control goes somewhere else than to the next instruction",
	"the guest reads or writes memory",
	"a Go function runs in place of guest code",
	"the guest raises an exception, int3 for example",
	"bytes of code are changed",
	"a registration call returns",
	"an ops_func answers",
	"the callback of an ops runs",
	"ftrace prints a WARNING",
	"the function tracer notes the entry of a function",
	"the function_graph tracer notes the entry of a function",
	"the function_graph tracer notes the return of a function",
}

// Kinds lists the kinds there are.
func Kinds() []Kind {
	kinds := make([]Kind, numKinds)
	for i := range kinds {
		kinds[i] = Kind(i)
	}
	return kinds
}

// About says in a line what happens in an event of the kind.
func (k Kind) About() string {
	if k < numKinds {
		return kindAbout[k]
	}
	return ""
}

// String returns the name of the kind as flags spell it.
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// A Mask is a set of kinds.
type Mask uint32

// All holds every kind.
const All Mask = 1<<numKinds - 1

// Has tells whether k is in the set.
func (m Mask) Has(k Kind) bool { return m&(1<<k) != 0 }

// MaskOf returns the set of the given kinds.
func MaskOf(kinds ...Kind) Mask {
	var m Mask
	for _, k := range kinds {
		m |= 1 << k
	}
	return m
}

// ParseMask reads a comma-separated list of kind names. "all" is every kind,
// the empty string none.
func ParseMask(s string) (Mask, error) {
	var m Mask
	if s == "" {
		return 0, nil
	}
next:
	for _, name := range strings.Split(s, ",") {
		if name == "all" {
			m |= All
			continue
		}
		for k, n := range kindNames {
			if n == name {
				m |= 1 << k
				continue next
			}
		}
		return 0, fmt.Errorf("unknown event kind %q, expected %s or all", name, strings.Join(kindNames[:], ", "))
	}
	return m, nil
}

// An Event is one thing that happened. Which fields mean something depends on
// the kind; the others are zero.
type Event struct {
	Kind Kind
	CPU  int    // the CPU it happened on, 0 where no CPU is involved
	IP   uint64 // address of the instruction, gate or site

	// Addr is the address touched (Mem), the destination (Branch), the return
	// address (Gate, Callback, Func: the parent; Exit: what the function returned to).
	Addr uint64
	// Size is the number of bytes touched (Mem) or the instruction's length (Insn).
	Size int
	// Write tells a store from a load (Mem).
	Write bool
	// Value is what was read or written, zero-extended (Mem); how many functions
	// the tracer has left out so far for want of room (Exit).
	Value uint64
	// Depth is how many functions that the tracer follows are around this one
	// (Entry, Exit).
	Depth int
	// Vector is the exception's number (Trap).
	Vector int

	// Old and New are the bytes before and after (Poke); New holds the
	// instruction's bytes (Insn). A tracer that keeps them copies them.
	Old, New []byte

	// Name is the gate, the API function, the ops asked or called.
	Name string
	// Text says the rest: the command of an ops_func, the step of a poke.
	Text string
	// Ret is the result of a registration call or an ops_func, 0 or a negative errno.
	Ret int
}

// A Tracer watches. Trace is called on the goroutine of the run, with an event
// that is valid only during the call. The mask is asked when the tracer is
// attached and must not change afterwards.
type Tracer interface {
	Mask() Mask
	Trace(ev *Event)
}

// Fanout passes each event to those of its tracers that want it. The zero
// value wants nothing.
type Fanout struct {
	tracers []Tracer
	mask    Mask
}

// NewFanout returns a tracer that passes on to all of ts; nil ones are left out.
func NewFanout(ts ...Tracer) *Fanout {
	f := &Fanout{}
	for _, t := range ts {
		if t != nil {
			f.tracers = append(f.tracers, t)
			f.mask |= t.Mask()
		}
	}
	return f
}

// Mask is the union of the masks of all tracers.
func (f *Fanout) Mask() Mask { return f.mask }

// Trace passes ev to every tracer that wants its kind.
func (f *Fanout) Trace(ev *Event) {
	for _, t := range f.tracers {
		if t.Mask().Has(ev.Kind) {
			t.Trace(ev)
		}
	}
}
